"""Pairs and pools of an epoch, and hard negatives against a walk written out."""

import numpy as np
import pytest

from src.data.tuples import PairSource, mine_negatives
from src.errors import UserError

CLUSTERS = np.array([4, 4, 7, 7, 7, 9, 2, 2, -1, -1])


def rng(epoch=0):
    return np.random.default_rng((3, epoch))


def walk(query, own, pool, clusters, num):
    """cirtorch's loop, one query."""
    ranks = sorted(range(len(pool)), key=lambda place: (-float(np.dot(query, pool[place])), place))
    taken, negatives = [own], []
    for place in ranks:
        if len(negatives) == num:
            break
        if clusters[place] not in taken:
            taken.append(clusters[place])
            negatives.append(place)
    return negatives


def vectors(draw, *shape):
    """Whole numbers, so that products are exact and many are equal."""
    return draw.integers(-2, 3, shape).astype(np.float32)


def test_negatives_are_those_of_the_walk():
    for seed in range(30):
        draw = np.random.default_rng(seed)
        clusters = draw.integers(0, 12, 60)
        pool, queries, own = vectors(draw, 60, 3), vectors(draw, 300, 3), draw.integers(0, 14, 300)  # two blocks
        mined = mine_negatives(queries, own, pool, clusters, 5)
        expected = [walk(query, mine, pool, clusters, 5) for query, mine in zip(queries, own)]
        assert mined.places.tolist() == expected
        distances = [np.linalg.norm(queries[q] - pool[n]) for q, row in enumerate(expected) for n in row]
        assert mined.distance == pytest.approx(np.mean(distances), rel=1e-6)


def test_negatives_by_hand():
    angles = np.radians([0, 10, 20, 30, 40, 90])
    pool = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    mined = mine_negatives(pool[:1], np.array([1]), pool, np.array([1, 2, 2, 1, 3, 4]), 2)
    assert mined.places.tolist() == [[1, 4]]
    assert mined.distance == pytest.approx((2 * np.sin(np.radians(5)) + 2 * np.sin(np.radians(20))) / 2, rel=1e-5)


@pytest.mark.parametrize("own, held", [(0, 3), (5, 2)])
def test_a_pool_of_too_few_classes_is_told(own, held):
    clusters = np.arange(held)
    with pytest.raises(UserError, match=f"pool of {held} photos holds {held} classes, too few for 3 negatives"):
        mine_negatives(np.eye(3)[:1], np.array([own]), np.eye(3)[:held], clusters, 3)


def test_descriptors_that_are_not_finite_are_told():
    with pytest.raises(UserError, match="not finite.*lower `initial_lr`"):
        mine_negatives(np.array([[np.nan]]), np.array([0]), np.ones((2, 1)), np.array([1, 2]), 1)


def test_pairs_by_labels():
    source = PairSource(CLUSTERS)
    assert source.num_queries == 7
    seen = set()
    for epoch in range(60):
        drawn = source.draw(5, 6, 1, rng(epoch))
        assert drawn.pairs.shape == (5, 2) and len(set(drawn.pairs[:, 0].tolist())) == 5
        assert (CLUSTERS[drawn.pairs[:, 0]] == CLUSTERS[drawn.pairs[:, 1]]).all()
        assert (drawn.pairs[:, 0] != drawn.pairs[:, 1]).all()
        assert len(set(drawn.pool.tolist())) == 6 and drawn.pool.max() < 8
        seen.update(map(tuple, drawn.pairs.tolist()))
    pairs = [(q, p) for q in range(10) for p in range(10) if q != p and CLUSTERS[q] == CLUSTERS[p] >= 0]
    assert sorted(seen) == pairs


def test_given_pairs_are_drawn_without_replacement():
    pairs = np.array([[0, 1], [2, 3], [4, 2], [6, 7]])
    source = PairSource(CLUSTERS, pairs)
    drawn = source.draw(3, 0, 2, rng())
    assert len({tuple(pair) for pair in drawn.pairs.tolist()} & {tuple(pair) for pair in pairs.tolist()}) == 3
    assert sorted(drawn.pool.tolist()) == list(range(8))
    everything = source.draw(0, 100, 2, rng())
    assert sorted(everything.pairs.tolist()) == pairs.tolist() and source.num_queries == 4


def test_an_epoch_is_the_same_whenever_asked():
    for source in (PairSource(CLUSTERS), PairSource(CLUSTERS, np.array([[0, 1], [2, 3], [6, 7]]))):
        epochs = [source.draw(2, 6, 1, rng(epoch)) for epoch in (0, 1, 0)]
        assert all(np.array_equal(one, other) for one, other in zip(epochs[0], epochs[2]))
        assert not all(np.array_equal(one, other) for one, other in zip(epochs[0], epochs[1]))


def test_what_cannot_be_drawn_is_told_before_any_photo_is_looked_at():
    with pytest.raises(UserError, match="no two training photos show the same"):
        PairSource(np.array([1, 2, 3, -1, -1])).draw(1, 2, 1, rng())
    with pytest.raises(UserError, match="holds 4 classes, too few for 4 negatives.*raise `pool_size`, or lower `num_"):
        PairSource(CLUSTERS).draw(2, 0, 4, rng())
