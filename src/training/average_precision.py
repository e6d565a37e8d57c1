"""Average precision as a loss: ranks by quantised scores (Revaud et al., ICCV 2019), tie-aware forms, by distance.

Scores fall into bins with triangular borders, so that a score moves its counts gradually. Each row is a query. The
functions hold [rows, bins, scores] numbers at once: give large batches in blocks of rows, and add up ``loss_sum``.
"""

from typing import Optional

from mindspore import Tensor, ops

FORMS = ("ap", "simplified", "full")
_COUNT_EPSILON = 1e-16  # of dirtorch, in an empty bin's precision
_TIE_EPSILON = 1e-8


def as_distance(scores: Tensor) -> Tensor:
    """dirtorch's 1 - sqrt(2.001 - 2 s) of cosines: 1 minus the Euclidean distance, from -1 to about 0.97."""
    return 1 - ops.sqrt(2.001 - 2 * scores)


def average_precisions(
    scores: Tensor,
    positives: Tensor,
    bins: int = 20,
    least: float = -1.0,
    most: float = 1.0,
    form: str = "ap",
    by_distance: bool = False,
) -> Tensor:
    """Average precision of each row, [N]; 0 where it has no positive.

    The centres of the bins go from ``most`` down to ``least`` at equal steps. A score counts in the two bins around
    it, by its nearness; beyond the ends it counts whole in the last bin, without a gradient.

    Args:
        scores: [N, M].
        positives: [N, M], 1 = of the query's label (the query itself too, if it is among the M), else 0.
        bins: 2 or more; 20 or 25 usually.
        least, most: scores of the last and of the first bin's centre.
        form: "ap" treats a bin as one rank. "simplified" and "full" average over the orders inside a bin.
        by_distance: True for ``as_distance`` of the scores.
    """
    if by_distance:
        scores = as_distance(scores)
    step = (most - least) / (bins - 1)
    centres = most - step * ops.arange(bins).astype(scores.dtype)
    nearness = ops.abs(ops.expand_dims(ops.clamp(scores, least, most), 1) - centres.reshape(1, -1, 1)) / step
    membership = ops.relu(1 - nearness)  # [N, bins, M]
    positives = positives.astype(scores.dtype)
    found = membership.sum(2)
    hits = (membership * ops.expand_dims(positives, 1)).sum(2)
    precisions = _precisions(found, hits, form)
    return (hits * precisions).sum(1) / ops.maximum(positives.sum(1), 1.0)


def _precisions(found: Tensor, hits: Tensor, form: str) -> Tensor:
    """Precision at each bin [N, bins] from the scores and the positives that it holds."""
    all_found, all_hits = ops.cumsum(found, 1), ops.cumsum(hits, 1)
    if form == "ap":
        return all_hits / (_COUNT_EPSILON + all_found)
    before, hits_before = all_found - found, all_hits - hits
    if form == "simplified":
        return (hits_before + all_hits + 1) / (before + all_found + 1)
    share = ops.relu(hits - 1) / (ops.relu(found - 1) + _TIE_EPSILON)
    logarithm = ops.log1p(found / (before + 1))
    return (found * share + (hits_before + 1 - share * (before + 1)) * logarithm) / (found + _TIE_EPSILON)


def loss_sum(
    scores: Tensor,
    positives: Tensor,
    bins: int = 20,
    least: float = -1.0,
    most: float = 1.0,
    form: str = "ap",
    by_distance: bool = False,
    query_weights: Optional[Tensor] = None,
    counted: Optional[Tensor] = None,
) -> Tensor:
    """Sum over the rows that count of 1 - weight * average precision.

    Args:
        scores, positives, bins, least, most, form, by_distance: see ``average_precisions``.
        query_weights: [N]; None = 1.
        counted: [N], 1 for a row that counts, else 0; None = every row with a positive. Where the query is among the
            M, a label of one photo should not count: its gradient is noise.
    """
    if counted is None:
        counted = positives.sum(1) > 0
    precisions = average_precisions(scores, positives, bins, least, most, form, by_distance)
    if query_weights is not None:
        precisions = precisions * query_weights
    return ((1 - precisions) * counted.astype(precisions.dtype)).sum()


def average_precision_loss(
    scores: Tensor,
    positives: Tensor,
    bins: int = 20,
    least: float = -1.0,
    most: float = 1.0,
    form: str = "ap",
    by_distance: bool = False,
    query_weights: Optional[Tensor] = None,
    counted: Optional[Tensor] = None,
) -> Tensor:
    """1 - mean over the rows that count of weight * average precision; 0 where none counts. See ``loss_sum``."""
    if counted is None:
        counted = positives.sum(1) > 0
    total = loss_sum(scores, positives, bins, least, most, form, by_distance, query_weights, counted)
    return total / ops.maximum(counted.astype(total.dtype).sum(), 1.0)
