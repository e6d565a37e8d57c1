"""Re-ranking by the graph of verified pairs, against hand-computed cases and a slow twin."""

import numpy as np
import pytest

from src.records import Candidates, Matches
from src.retrieval.graph import (
    MANY_INLIERS,
    GraphSearch,
    embed,
    graph_scores,
    inliers_by_chance,
    pair_similarity,
    strongest_steps,
)
from src.retrieval.ranking_file import PairMatches
from src.retrieval.superglobal import refined_by_nearest


def test_similarity_of_a_pair():
    assert pair_similarity(np.array([0, 5, 20, 50]), 5.0).tolist() == [0, 0, 0.5, 0.75]


def test_chance_is_what_the_lower_half_has():
    assert inliers_by_chance(np.array([80, 70, 9, 60, 10, 8, 7, 11, 5, 6])) == pytest.approx(8.6)  # of 5, 6, 7, 8, 9
    assert inliers_by_chance(np.array([90, 80, 70])) == 25 and inliers_by_chance(np.array([50, 0])) == 3
    assert inliers_by_chance(np.zeros(0)) == 3


def test_embedding_of_the_addendum():
    """Section E5: eigenvalues 1.714416, .920653, .364930; the first of them alone gives [.6728 .7341 .4024]."""
    table = np.array([[1, 0.6, 0.1], [0.6, 1, 0.3], [0.1, 0.3, 1]])
    vectors = embed(table)
    np.testing.assert_allclose(vectors @ vectors.T, table, atol=1e-12)
    np.testing.assert_allclose(np.square(vectors).sum(axis=0)[::-1], [1.714416, 0.920653, 0.364930], atol=1e-6)
    largest = vectors[:, -1:]
    np.testing.assert_allclose((largest @ largest.T)[0], [0.6728, 0.7341, 0.4024], atol=1e-4)


def test_negative_eigenvalues_are_left_out():
    table = np.array([[1, 0.9, 0], [0.9, 1, 0.9], [0, 0.9, 1]])  # smallest eigenvalue 1 - 0.9 sqrt(2) < 0
    values, vectors = np.linalg.eigh(table)
    made = embed(table)
    np.testing.assert_allclose(made @ made.T, sum(v * np.outer(e, e) for v, e in zip(values, vectors.T) if v > 0))


def slow_scores(table, k, beta):
    query, *photos = embed(table)
    refined = []
    for place, photo in enumerate(photos):
        others = [other for number, other in enumerate(photos) if number != place]
        nearest = sorted(others, key=lambda other: -photo @ other)[:k]
        weights = [beta * max(0, photo @ other) for other in nearest]
        refined.append((photo + sum(w * other for w, other in zip(weights, nearest))) / (1 + sum(weights)))
    first = [photo @ query for photo in refined]
    best = sorted(range(len(first)), key=lambda place: -first[place])[:10]
    expanded = sum(first[place] * refined[place] for place in best)
    return [s + 0.15 * (photo @ expanded) for s, photo in zip(first, refined)]


@pytest.mark.parametrize("count,k", [(2, 9), (14, 4), (40, 9)])
def test_scores_equal_a_slow_twin(count, k):
    drawn = np.random.default_rng(count).random((count, count)) * 0.4
    table = (drawn + drawn.T) / 2
    np.fill_diagonal(table, 1)
    np.testing.assert_allclose(graph_scores(table, k, 0.15), slow_scores(table, k, 0.15), rtol=1e-9)


def test_refined_vectors_are_those_of_the_addendum():
    """Section E1: M = 3, two nearest (itself and one other)."""
    angles = np.radians([10, 40, 80])
    photos = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    expected = [[0.959657, 0.227585], [0.791195, 0.588851], [0.234703, 0.949558]]
    np.testing.assert_allclose(refined_by_nearest(photos, 1, 0.15), expected, atol=1e-6)


def matches(count):
    """Of rows 0, 1, 2 ... of the photo (A) and 100, 101, 102 ... of the query, and three that are no inliers."""
    rows = np.arange(count + 3)
    return Matches(np.stack([rows, rows + 100], axis=1), np.zeros(count + 3), rows < count)


PAIRS = {(0, 3): 80, (1, 2): 6}  # of a collection of five photos; 3 shows the place of 0 from elsewhere


class FakeSearch:
    """Five photos; four are verified. A query is a tuple of the photos' inliers, one of the index its number."""

    names = ["a", "b", "c", "d", "e"]

    def pair(self, query, candidates, photo):
        """Points are the rows of the features."""
        rows = np.repeat(np.arange(1000)[:, None], 2, axis=1)
        return PairMatches.of(candidates.matches(photo), rows, rows)

    def __init__(self):
        self.asked = []

    def rank(self, query):
        if isinstance(query, int):
            self.asked.append(query)
            query = tuple(PAIRS.get((query, other), 0) for other in range(5))  # only one of the two finds the other
        photos = np.argsort(-np.array(query), kind="stable")
        verified = {photo: matches(query[photo]) for photo in photos[:4].tolist()}
        return Candidates(photos, np.array(query, float)[photos], None, verified)


@pytest.fixture
def graph():
    return GraphSearch(FakeSearch(), lambda photo: photo, k=9, beta=0.15)


def test_a_photo_is_found_through_another_one(graph):
    found = graph.rank((40, 4, 4, 3, 0))
    assert found.photos.tolist() == [0, 3, 1, 2, 4]  # 3 has 3 inliers of its own
    assert (np.diff(found.scores) <= 0).all() and found.verified[3].num_inliers == 3
    graph.rank((40, 4, 4, 3, 0))
    assert graph._search.asked == [0, 1, 2, 3]  # each photo once, and 4 is not verified


def test_a_photo_of_many_inliers_stays_first(graph):
    found = graph.rank((40, 30, 6, 5, MANY_INLIERS))
    assert found.photos[0] == 4 and found.scores[0] > 3


def test_a_photo_that_looks_alike_takes_the_place_of_a_verified_one():
    """Chance gives 3.9, so 3 has no similarity by inliers; 4 was not verified, and has the cosine 0.9."""
    made = GraphSearch(FakeSearch(), int, 9, 0.15, lambda query, photos: np.eye(5), lambda query: np.eye(5)[4] * 0.9)
    found = made.rank((40, 4, 4, 3, 0))
    assert sorted(found.photos[:4].tolist()) == [0, 1, 2, 4] and found.photos[4] == 3
    assert (np.diff(found.scores) <= 0).all()


def test_through_which_photo_is_said_with_both_steps(graph):
    found = graph.rank((40, 4, 4, 3, 0))
    assert found.through == {3: 0}  # 1 and 2 match each other alone
    there, back = graph.step(0, 3), graph.step(3, 0)  # 0 has found 3, and not the other way round
    assert there.verified and there.correspondences == back.correspondences == 83
    assert there.points[:2].tolist() == [[100, 100, 0, 0], [101, 101, 1, 1]] and len(there.points) == 80
    assert back.points[:2].tolist() == [[0, 0, 100, 100], [1, 1, 101, 101]]
    assert not graph.rank((40, 4, 4, 70, 0)).through  # 3 has enough of its own


def test_the_strongest_two_steps():
    """By hand, rows of query, 0, 1, 2: to 2 by 0 0.9 x 0.5, by 1 0.6 x 0.8; to 1 by 0 0.9 x 0.7 = 0.63 above 0.6."""
    table = np.array([[1, 0.9, 0.6, 0.1], [0.9, 1, 0.7, 0.5], [0.6, 0.7, 1, 0.8], [0.1, 0.5, 0.8, 1]])
    assert strongest_steps(table, np.ones(3, bool)) == {1: 0, 2: 1}
    assert strongest_steps(table, np.array([True, False, True])) == {2: 1}
    assert strongest_steps(np.eye(4), np.ones(3, bool)) == {}


def test_nothing_to_rank():
    class Empty(FakeSearch):
        def rank(self, query):
            return Candidates(np.zeros(0, np.int64), np.zeros(0), None)

    assert len(GraphSearch(Empty(), int, 9, 0.15).rank(())) == 0


def test_similarities_are_the_mean_of_inliers_and_global_descriptors():
    """The query has 40 inliers in photo 0 and none elsewhere, so c = 3; 0 has 80 in 3, whose list gives c = 3 too."""
    angles = np.radians([0, 30, 60, 80, 120])  # of the query and the four photos that are verified
    cosines = np.cos(angles[:, None] - angles)
    made = GraphSearch(FakeSearch(), lambda photo: photo, 9, 0.15, lambda query, photos: cosines)
    found = made.rank((40, 0, 0, 0, 0))
    table = np.eye(5)
    for a, b, inliers in ((0, 1, 40), (1, 4, 80), (2, 3, 6)):  # places in the table of query, 0, 1, 2, 3
        table[a, b] = table[b, a] = (inliers - 3) / (inliers + 6)
    expected = slow_scores((table + np.maximum(0, cosines)) / 2, 9, 0.15)
    order = sorted(range(4), key=lambda photo: -expected[photo])
    assert found.photos[:4].tolist() == order
    np.testing.assert_allclose(found.scores[:4], sorted(expected, reverse=True), atol=1e-6)
