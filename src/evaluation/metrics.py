"""Retrieval metrics: pure functions of the ranks of the positives. Ranks count from 0."""

from dataclasses import dataclass
from typing import NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..precision_recall import average_precision


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
        ranks: [N] index numbers, best first, each once; a list that ends early may be filled up with -1.
        positives: [P] index numbers.
        junk: [J] index numbers; one that is a positive too is taken out.

    Returns:
        [<= P] rising ranks.
    """
    positives, junk = np.asarray(positives, dtype=np.int64), np.asarray(junk, dtype=np.int64)
    listed = max(positives.max(initial=-1), junk.max(initial=-1)) + 1
    codes = np.zeros(listed + 1, dtype=np.int8)  # the last stands for all numbers beyond, and for -1
    codes[positives] = 1
    codes[junk] = 2
    ranked = codes[np.minimum(ranks, listed)]
    found, removed = np.flatnonzero(ranked == 1), np.flatnonzero(ranked == 2)
    return found - np.searchsorted(removed, found)


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


def compute_metrics(
    ranks: Sequence[np.ndarray], labels: Sequence[Labels], pr_ranks: Sequence[int], index_size: Optional[int] = None
) -> Metrics:
    """Metrics of every query.

    Args:
        ranks: Q rows of index numbers, best first, as ``positive_ranks`` takes them.
        labels: Q labels.
        pr_ranks: depths of precision and recall, counted from 1, at most ``index_size``.
        index_size: photos in the index; None = the length of the rows, which then must be whole.

    Raises:
        ValueError: a depth is outside 1..index_size, or the number of labels is not Q.
    """
    if len(labels) != len(ranks):
        raise ValueError(f"{len(labels)} labels for {len(ranks)} queries")
    size = max(map(len, ranks), default=0) if index_size is None else index_size
    if any(not 1 <= depth <= size for depth in pr_ranks):
        raise ValueError(f"precision and recall are asked at {list(pr_ranks)}, but the index holds {size} images")
    average_precisions = np.full(len(ranks), np.nan)
    precisions = np.full((len(ranks), len(pr_ranks)), np.nan)
    recalls = np.full((len(ranks), len(pr_ranks)), np.nan)
    for query, (positives, junk, num_positives) in enumerate(labels):
        if num_positives == 0:
            continue
        found = positive_ranks(ranks[query], positives, junk)
        average_precisions[query] = average_precision(found, num_positives)
        precisions[query] = [precision_at(found, depth) for depth in pr_ranks]
        recalls[query] = [recall_at(found, num_positives, depth) for depth in pr_ranks]
    return Metrics(tuple(pr_ranks), average_precisions, precisions, recalls)
