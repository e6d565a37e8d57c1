import numpy as np
import pytest

from src.evaluation.metrics import (
    Labels,
    average_precision,
    compute_metrics,
    positive_ranks,
    precision_at,
    recall_at,
)


def labels(positives, junk=(), num_positives=None):
    return Labels(
        np.array(positives, int), np.array(junk, int), len(positives) if num_positives is None else num_positives
    )


def ranks(*values):
    return np.array(values, dtype=np.int64)


def test_reference_average_precision():
    # golden 'average_precision'; by hand: ((1+1) + (1/2+2/3) + (2/5+3/6)) / 2 / 3
    assert average_precision(ranks(0, 2, 5), 3) == pytest.approx(0.677778, abs=1e-6)
    assert average_precision(ranks(0, 2, 5), 3) == pytest.approx((2 + 7 / 6 + 9 / 10) / 6, abs=1e-12)


def test_average_precision_by_hand():
    assert average_precision(ranks(0), 1) == 1.0
    assert average_precision(ranks(1), 1) == 0.25  # precision goes 0 -> 1/2
    assert average_precision(ranks(0), 2) == 0.5  # the other positive is never found
    assert average_precision(ranks(), 3) == 0.0
    assert np.isnan(average_precision(ranks(), 0))


def test_junk_is_taken_out_of_the_ranking():
    # ranking: junk 7, positive 3, junk 1, negative 0, positive 2
    assert positive_ranks(ranks(7, 3, 1, 0, 2, 4, 5, 6), ranks(2, 3), ranks(1, 7)).tolist() == [0, 2]
    assert positive_ranks(ranks(2, 1, 0), ranks(1, 2), ranks(2)).tolist() == [0]  # junk wins
    assert positive_ranks(ranks(2, 1, 0), ranks(), ranks()).tolist() == []


def test_precision_stops_at_the_last_positive():
    found = ranks(0, 7)
    assert precision_at(found, 10) == 0.25  # reference docstring: 2 of 8, not 2 of 10
    assert precision_at(found, 5) == 0.2
    assert precision_at(found, 1) == 1.0
    assert precision_at(ranks(), 10) == 0.0


def test_recall():
    assert recall_at(ranks(0, 7), 2, 7) == 0.5
    assert recall_at(ranks(0, 7), 2, 8) == 1.0
    assert recall_at(ranks(0, 7), 4, 8) == 0.5
    assert np.isnan(recall_at(ranks(), 0, 5))


def test_queries_without_positives_are_left_out_of_the_means():
    metrics = compute_metrics(np.array([[0, 1, 2], [2, 1, 0]]), [labels([1]), labels([], [0])], [1, 2])
    assert metrics.num_valid == 1
    assert metrics.average_precisions[0] == 0.25 and np.isnan(metrics.average_precisions[1])
    assert np.isnan(metrics.precisions[1]).all() and np.isnan(metrics.recalls[1]).all()
    means = metrics.means()
    assert means.mean_average_precision == 0.25
    assert means.mean_precisions == (0.0, 0.5) and means.mean_recalls == (0.0, 1.0)


def test_no_query_has_positives():
    means = compute_metrics(np.array([[0, 1]]), [labels([])], [1]).means()
    assert np.isnan(means.mean_average_precision) and np.isnan(means.mean_precisions[0])


def test_depth_beyond_the_index():
    with pytest.raises(ValueError, match="2 images"):  # golden 'compute_metrics_rank_too_large'
        compute_metrics(np.array([[0, 1]]), [labels([0])], [3])
    with pytest.raises(ValueError, match="labels"):
        compute_metrics(np.array([[0, 1]]), [], [1])


def test_truncated_list():
    # positives 4, 9 and 2 of an index of ten; only the first three results are known: junk 7, positive 9, negative 0
    label = labels([2, 4, 9], [7])
    expected = 1 / 3  # (1 + 1) / 2 / 3: found at junk-free rank 0, the other two never
    for row in (ranks(7, 9, 0), ranks(7, 9, 0, -1, -1, -1, -1, -1, -1, -1)):
        metrics = compute_metrics([row], [label], (1, 5, 10), index_size=10)
        assert metrics.average_precisions[0] == pytest.approx(expected, abs=1e-15)
        assert metrics.precisions[0].tolist() == [1.0, 1.0, 1.0]  # P@k stops at the last positive found
        assert metrics.recalls[0].tolist() == pytest.approx([1 / 3] * 3)
    with pytest.raises(ValueError, match="3 images"):
        compute_metrics([ranks(7, 9, 0)], [label], (5,))


def test_truncated_list_without_any_positive():
    for row in (ranks(1, 2), ranks(7, 1, -1), ranks(-1, -1), ranks()):
        metrics = compute_metrics([row], [labels([4], [7])], (1, 10), index_size=10)
        assert metrics.average_precisions[0] == 0.0
        assert metrics.precisions[0].tolist() == [0.0, 0.0] and metrics.recalls[0].tolist() == [0.0, 0.0]


def test_lists_of_different_lengths():
    metrics = compute_metrics([ranks(0), ranks(1, 0)], [labels([0])] * 2, (1,), index_size=5)
    assert metrics.average_precisions.tolist() == [1.0, 0.25]


def test_junk_on_top():
    # five junk photos, then the positives 0 and 1: they stand at ranks 0 and 1
    metrics = compute_metrics([ranks(2, 3, 4, 5, 6, 0, 1, 7)], [labels([0, 1], range(2, 7))], (1, 5))
    assert metrics.average_precisions[0] == 1.0 and metrics.precisions[0].tolist() == [1.0, 1.0]
    # all that is left is junk
    assert compute_metrics([ranks(2, 3)], [labels([], [2, 3], 1)], (1,)).average_precisions[0] == 0.0


def test_positives_missing_from_the_index_count():
    # two of four positives are in the index, at ranks 0 and 2: (1 + 1 + 1/2 + 2/3) / 2 / 4
    metrics = compute_metrics([ranks(5, 1, 4, 0, 2, 3)], [labels([4, 5], (), 4)], (5,))
    assert metrics.average_precisions[0] == pytest.approx((2 + 7 / 6) / 8, abs=1e-15)
    assert metrics.recalls[0, 0] == 0.5


def test_numbers_beyond_the_listed_ones_and_beyond_int32():
    row = np.array([10**6, 3, 5 * 10**5], dtype=np.int32)
    assert positive_ranks(row, ranks(3), ranks()).tolist() == [1]
    assert positive_ranks(row, ranks(5 * 10**5, 10**6), ranks(3)).tolist() == [0, 1]


def slow_metrics(ranking, positives, junk, num_positives, depths):
    """The definitions, literally: walk the list, count, integrate."""
    kept = [name for name in ranking if name not in junk]
    hits = [position + 1 for position, name in enumerate(kept) if name in positives]
    area = 0.0
    for count, position in enumerate(hits, start=1):
        before = (count - 1) / (position - 1) if position > 1 else 1.0
        area += (before + count / position) / 2 * (1 / num_positives)
    precisions, recalls = [], []
    for depth in depths:
        depth_used = min(depth, hits[-1]) if hits else depth
        precisions.append(sum(position <= depth_used for position in hits) / depth_used)
        recalls.append(sum(position <= depth for position in hits) / num_positives)
    return area, precisions, recalls


@pytest.mark.parametrize("seed", range(5))
def test_against_a_slow_implementation(seed):
    random = np.random.default_rng(seed)
    size, depths = 60, (1, 5, 10, 60)
    for _ in range(20):
        chosen = random.permutation(size)[: random.integers(1, 40)]
        split = random.integers(1, len(chosen) + 1)
        label = labels(chosen[:split], chosen[split:], split + int(random.integers(0, 3)))
        ranking = random.permutation(size)
        metrics = compute_metrics(ranking[None], [label], depths)
        expected = slow_metrics(ranking, set(label.positives), set(label.junk), label.num_positives, depths)
        np.testing.assert_allclose(metrics.average_precisions[0], expected[0], atol=1e-12)
        np.testing.assert_allclose(metrics.precisions[0], expected[1], atol=1e-12)
        np.testing.assert_allclose(metrics.recalls[0], expected[2], atol=1e-12)
