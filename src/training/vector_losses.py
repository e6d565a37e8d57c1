"""Losses of all descriptors of a batch with their gradients, for ``MultiStageStep``."""

from typing import Optional, Protocol, Tuple

import numpy as np
from mindspore import Tensor, nn, ops

from ..config import MetricConfig
from ..data.class_samples import queries_with_positive
from .average_precision import loss_sum
from .metric_losses import contrastive, n_pair, triplet, triplet_log_exp, triplet_margin

MARGINS = {"arcface": 0.1, "contrastive": 0.7, "triplet": 0.1, "triplet_margin": 1.0}  # DELG, cirtorch, torch
_ROWS = 64  # queries whose average precision is computed at a time: 64 x bins x photos numbers


def margin_of(metric: MetricConfig) -> float:
    """The margin of the recipe's loss, 0 where it has none."""
    return MARGINS.get(metric.loss, 0.0) if metric.margin is None else metric.margin


class VectorLoss(Protocol):
    """Vectors [N, D] and labels [N] -> figures [2] (loss, a share of what is right), gradient [N, D] float32."""

    def __call__(self, vectors: np.ndarray, labels: np.ndarray) -> Tuple[np.ndarray, np.ndarray]: ...


class _Rows(nn.Cell):
    """Loss of some queries: rows [R, D], vectors [N, D], positives [R, N], counted [R] -> []."""

    def __init__(self, metric: MetricConfig) -> None:
        super().__init__()
        self.bins = metric.ap_bins
        self.form = metric.ap_form
        self.by_distance = metric.ap_by_distance

    def construct(self, rows: Tensor, vectors: Tensor, positives: Tensor, counted: Tensor) -> Tensor:
        scores = ops.matmul(rows, vectors.T)
        return loss_sum(
            scores, positives, self.bins, -1.0, 1.0, self.form, self.by_distance, counted=counted
        )  # fmt: skip


class _Gradient(nn.Cell):
    """A loss with its gradients with respect to its first inputs."""

    def __init__(self, loss: nn.Cell, inputs: Tuple[int, ...]) -> None:
        super().__init__()
        self.both = ops.value_and_grad(loss, inputs, None)

    def construct(self, *inputs: Tensor) -> Tuple[Tensor, Tuple[Tensor, ...]]:
        return self.both(*inputs)


class AveragePrecisionLoss:
    """1 - mean average precision, each photo of the batch a query; block by block of queries.

    The other figure is the share of queries whose nearest other photo is of their class. A photo that is alone in its
    class is no query.
    """

    def __init__(self, metric: MetricConfig) -> None:
        self._gradient = _Gradient(_Rows(metric), (0, 1))

    def __call__(self, vectors: np.ndarray, labels: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """See ``VectorLoss``."""
        labels = np.asarray(labels)
        counted, total = queries_with_positive(labels), np.zeros(vectors.shape, np.float64)
        loss, right, queries = 0.0, 0, max(int(counted.sum()), 1)
        for first in range(0, len(vectors), _ROWS):
            rows = np.arange(first, first + _ROWS) % len(vectors)  # fills the last block up
            counts = counted[rows] & (np.arange(first, first + _ROWS) < len(vectors))
            positives = (labels[rows, None] == labels).astype(np.float32)
            inputs = vectors[rows], vectors, positives, counts.astype(np.float32)
            value, (of_rows, of_all) = self._gradient(*map(Tensor, inputs))
            loss += float(value.asnumpy())
            total += of_all.asnumpy()
            np.add.at(total, rows, of_rows.asnumpy())
            scores = vectors[rows] @ vectors.T
            scores[np.arange(_ROWS), rows] = -np.inf
            right += int((labels[scores.argmax(1)] == labels[rows])[counts].sum())
        return np.array([loss, right]) / queries, (total / queries).astype(np.float32)


class _Tuples(nn.Cell):
    """Loss of tuples [T, 2 + N, D] -> []."""

    def __init__(self, loss: str, margin: float) -> None:
        super().__init__()
        self.loss = loss
        self.margin = margin

    def construct(self, vectors: Tensor) -> Tensor:
        if self.loss == "contrastive":
            return contrastive(vectors, self.margin)
        if self.loss == "triplet":
            return triplet(vectors, self.margin)
        if self.loss == "triplet_margin":
            return triplet_margin(vectors, self.margin)
        return triplet_log_exp(vectors)


class TupleLoss:
    """A loss of tuples (query, positive, negatives); the other figure is the share whose positive is the nearest.

    Args:
        metric: names the loss, and gives its margin and the number of negatives.
    """

    def __init__(self, metric: MetricConfig) -> None:
        self._size = 2 + metric.num_negatives
        self._gradient = _Gradient(_Tuples(metric.loss, margin_of(metric)), (0,))

    def __call__(self, vectors: np.ndarray, labels: Optional[np.ndarray] = None) -> Tuple[np.ndarray, np.ndarray]:
        """See ``VectorLoss``; the vectors of a tuple stand beside each other."""
        tuples = vectors.reshape(-1, self._size, vectors.shape[1])
        value, gradients = self._gradient(Tensor(tuples))
        scores = np.einsum("td,tnd->tn", tuples[:, 0], tuples[:, 1:])
        right = (scores[:, :1] > scores[:, 1:]).all(1).mean()
        gradient = gradients[0] if isinstance(gradients, tuple) else gradients
        return np.array([float(value.asnumpy()), right]), gradient.asnumpy().reshape(vectors.shape)


class _Pairs(nn.Cell):
    """N-pair loss of vectors [2 P, D], two of a class beside each other, with labels [P] -> []."""

    def construct(self, vectors: Tensor, labels: Tensor) -> Tensor:
        pairs = ops.reshape(vectors, (-1, 2, vectors.shape[1]))
        return n_pair(pairs[:, 0], pairs[:, 1], labels)


class NPairLoss:
    """N-pair loss of a batch of pairs; the other figure is the share of anchors whose own class answers most."""

    def __init__(self) -> None:
        self._gradient = _Gradient(_Pairs(), (0,))

    def __call__(self, vectors: np.ndarray, labels: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """See ``VectorLoss``; the vectors are of any length, and the two of a pair stand beside each other."""
        own = np.asarray(labels)[::2].astype(np.int32)
        value, gradients = self._gradient(Tensor(vectors), Tensor(own))
        right = (own[(vectors[::2] @ vectors[1::2].T).argmax(1)] == own).mean()
        gradient = gradients[0] if isinstance(gradients, tuple) else gradients
        return np.array([float(value.asnumpy()), right]), gradient.asnumpy()


def make_vector_loss(metric: MetricConfig) -> VectorLoss:
    """The loss that the recipe names: of average precision, of pairs, or of tuples."""
    if metric.loss == "n_pair":
        return NPairLoss()
    return AveragePrecisionLoss(metric) if metric.loss == "ap" else TupleLoss(metric)
