"""Retrieval metrics: pure functions of the ranks of the positives. Ranks count from 0."""

from dataclasses import dataclass
from typing import NamedTuple, Sequence, Tuple

import numpy as np


class Labels(NamedTuple):
    """What one query's results are.

    Attributes:
        positives: [P] index numbers to be found.
        junk: [J] index numbers that are taken out of the ranking; they win over ``positives``.
        num_positives: positives that count in recall; above P when some are not in the index.
    """

    positives: np.ndarray
    junk: np.ndarray
    num_positives: int


class MeanMetrics(NamedTuple):
    """Means over queries, as fractions: mAP, and precision and recall at each of ``pr_ranks``."""

    mean_average_precision: float
    pr_ranks: Tuple[int, ...]
    mean_precisions: Tuple[float, ...]
    mean_recalls: Tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Metrics:
    """Metrics of each query, as fractions; NaN for a query without positives.

    Attributes:
        pr_ranks: K depths at which precision and recall are taken.
        average_precisions: [Q].
        precisions: [Q, K].
        recalls: [Q, K].
    """

    pr_ranks: Tuple[int, ...]
    average_precisions: np.ndarray
    precisions: np.ndarray
    recalls: np.ndarray

    @property
    def num_valid(self) -> int:
        """Queries with positives: those the means are taken over."""
        return int((~np.isnan(self.average_precisions)).sum())

    def means(self) -> MeanMetrics:
        """Means over the queries with positives; NaN when there is none."""
        valid = ~np.isnan(self.average_precisions)
        if not valid.any():
            nothing = (float("nan"),) * len(self.pr_ranks)
            return MeanMetrics(float("nan"), self.pr_ranks, nothing, nothing)
        return MeanMetrics(
            float(self.average_precisions[valid].mean()),
            self.pr_ranks,
            tuple(self.precisions[valid].mean(axis=0).tolist()),
            tuple(self.recalls[valid].mean(axis=0).tolist()),
        )


def positive_ranks(ranks: np.ndarray, positives: np.ndarray, junk: np.ndarray) -> np.ndarray:
    """Ranks of the positives after the junk is taken out.

    Args:
        ranks: [N] index numbers, best first, each once.
        positives: [P] index numbers.
        junk: [J] index numbers; one that is a positive too is taken out.

    Returns:
        [<= P] rising ranks.
    """
    size = len(ranks)
    is_positive, is_junk = np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)
    is_positive[np.asarray(positives, dtype=np.int64)] = True
    is_junk[np.asarray(junk, dtype=np.int64)] = True
    kept = ranks[~is_junk[ranks]]
    return np.flatnonzero(is_positive[kept])


def average_precision(found: np.ndarray, num_positives: int) -> float:
    """Area under the precision-recall curve by the trapezoidal rule (compute_ap.cpp, reference TF DELF).

    Args:
        found: rising junk-free ranks of the positives that were found.
        num_positives: positives in total; those not found add nothing.
    """
    if num_positives == 0:
        return float("nan")
    order = np.arange(len(found))
    before = np.where(found == 0, 1.0, order / np.maximum(found, 1))  # precision just above the positive
    after = (order + 1) / (np.asarray(found) + 1)  # precision with it
    return float((before + after).sum() / 2 / num_positives)


def precision_at(found: np.ndarray, depth: int) -> float:
    """Share of positives among the first min(depth, rank of the last one found) results; 0 when none was found.

    The shorter depth is the revisited benchmark's: a query with three positives, all in front, reaches 1 at depth 10.
    """
    if len(found) == 0:
        return 0.0
    depth = min(depth, int(found[-1]) + 1)
    return float((found < depth).sum() / depth)


def recall_at(found: np.ndarray, num_positives: int, depth: int) -> float:
    """Share of all positives found among the first ``depth`` results; NaN without positives."""
    return float((found < depth).sum() / num_positives) if num_positives else float("nan")


def compute_metrics(ranks: np.ndarray, labels: Sequence[Labels], pr_ranks: Sequence[int]) -> Metrics:
    """Metrics of every query.

    Args:
        ranks: [Q, N] index numbers, best first.
        labels: Q labels.
        pr_ranks: depths of precision and recall, counted from 1, at most N.

    Raises:
        ValueError: a depth is outside 1..N, or the number of labels is not Q.
    """
    num_queries, index_size = ranks.shape
    if len(labels) != num_queries:
        raise ValueError(f"{len(labels)} labels for {num_queries} queries")
    if any(not 1 <= depth <= index_size for depth in pr_ranks):
        raise ValueError(f"precision and recall are asked at {list(pr_ranks)}, but the index holds {index_size} images")
    average_precisions = np.full(num_queries, np.nan)
    precisions = np.full((num_queries, len(pr_ranks)), np.nan)
    recalls = np.full((num_queries, len(pr_ranks)), np.nan)
    for query, (positives, junk, num_positives) in enumerate(labels):
        if num_positives == 0:
            continue
        found = positive_ranks(ranks[query], positives, junk)
        average_precisions[query] = average_precision(found, num_positives)
        precisions[query] = [precision_at(found, depth) for depth in pr_ranks]
        recalls[query] = [recall_at(found, num_positives, depth) for depth in pr_ranks]
    return Metrics(tuple(pr_ranks), average_precisions, precisions, recalls)
