"""Losses on descriptors, as pure functions of tensors: softmax, ArcFace, contrastive, triplets, N-pair.

Tuples are (query, positive, negative 1 .. negative N), as in cirtorch. All run in graph mode and can be differentiated;
they compute in the type of their input. Average precision is in ``average_precision.py``.
"""

import math
from typing import Tuple

from mindspore import Tensor, ops

_DISTANCE_EPSILON = 1e-6  # added to each difference, as torch does: no gradient of a square root at 0
_LARGEST_COSINE = 1 - 1e-7  # the gradient of an angle has no bound at 1


def cross_entropies(logits: Tensor, targets: Tensor) -> Tensor:
    """Softmax cross-entropy of each row, [B].

    Args:
        logits: [B, C].
        targets: [B, C], rows that add up to 1.
    """
    return ops.logsumexp(logits, 1) - (logits * targets).sum(1)


def softmax(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean softmax cross-entropy of logits [B, C] with labels [B] int."""
    return cross_entropies(logits, _one_hot(logits, labels)).mean()


def arcface_logits(cosines: Tensor, labels: Tensor, scale: float, margin: float) -> Tensor:
    """Logits whose true class has to win by an angle (Deng et al., CVPR 2019): scale * cos(angle + margin).

    Cosines are clamped to +-(1 - 1e-7). An angle above pi - margin gets no margin, as in the TensorFlow code of DELG.

    Args:
        cosines: [B, C] of unit descriptors and unit class weights.
        labels: [B] int.
        scale: of all logits; DELG's is 45.25.
        margin: in radians, 0 to pi; 0 = a softmax of cosines.

    Returns:
        [B, C].
    """
    cosines = ops.clamp(cosines, -_LARGEST_COSINE, _LARGEST_COSINE)
    sines = ops.sqrt((1 - cosines) * (1 + cosines))
    turned = math.cos(margin) * cosines - math.sin(margin) * sines
    turned = ops.where(cosines >= -math.cos(margin), turned, cosines)
    return scale * ops.where(_one_hot(cosines, labels) > 0, turned, cosines)


def contrastive(vectors: Tensor, margin: float) -> Tensor:
    """cirtorch's: sum over tuples of d(q, p)^2 / 2 + sum over negatives of max(0, margin - d(q, n))^2 / 2.

    A sum, not a mean: the gradient grows with the number of tuples.

    Args:
        vectors: [T, 2 + N, D], unit rows.
        margin: 0.7 in cirtorch, 0.85 in its paper, 0.8 in HOW.
    """
    positive, negatives = _distances(vectors)
    return 0.5 * ops.square(positive).sum() + 0.5 * ops.square(ops.relu(margin - negatives)).sum()


def triplet(vectors: Tensor, margin: float) -> Tensor:
    """cirtorch's, on squared distances: sum over tuples and negatives of max(0, |q-p|^2 - |q-n|^2 + margin).

    Args:
        vectors: [T, 2 + N, D], unit rows.
        margin: 0.1 in cirtorch, 0.5 in its recipes.
    """
    squared = ops.square(vectors[:, :1] - vectors[:, 1:]).sum(2)
    return ops.relu(squared[:, :1] - squared[:, 1:] + margin).sum()


def triplet_margin(vectors: Tensor, margin: float) -> Tensor:
    """dirtorch's, on distances: mean over tuples and negatives of max(0, d(q, p) - d(q, n) + margin).

    Args:
        vectors: [T, 2 + N, D], unit rows.
        margin: 1 in torch.
    """
    positive, negatives = _distances(vectors)
    return ops.relu(positive - negatives + margin).mean()


def triplet_log_exp(vectors: Tensor) -> Tensor:
    """dirtorch's without a margin: mean over tuples and negatives of log(1 + exp(d(q, p) - d(q, n))).

    Args:
        vectors: [T, 2 + N, D], unit rows.
    """
    positive, negatives = _distances(vectors)
    return ops.log(1 + ops.exp(positive - negatives)).mean()


def n_pair(anchors: Tensor, positives: Tensor, labels: Tensor, l2_weight: float = 0.002) -> Tensor:
    """Multi-class N-pair loss (Sohn, NIPS 2016), as TensorFlow has it.

    Softmax cross-entropy of anchors' products with all positives; the target of a row is shared among the positives
    of its label. Lengths are held by l2_weight / 4 times the mean squared norms.

    Args:
        anchors, positives: [B, D]; row i of both is of label i. Not of unit length.
        labels: [B] int.
        l2_weight: of the lengths.
    """
    logits = ops.matmul(anchors, positives.T)
    same = ops.equal(labels.reshape(-1, 1), labels.reshape(1, -1)).astype(logits.dtype)
    targets = same / same.sum(1, keepdims=True)
    norms = ops.square(anchors).sum(1).mean() + ops.square(positives).sum(1).mean()
    return cross_entropies(logits, targets).mean() + 0.25 * l2_weight * norms


def _distances(vectors: Tensor) -> Tuple[Tensor, Tensor]:
    """Of the query to its positive [T, 1] and to its negatives [T, N]."""
    differences = vectors[:, :1] - vectors[:, 1:] + _DISTANCE_EPSILON
    distances = ops.sqrt(ops.square(differences).sum(2))
    return distances[:, :1], distances[:, 1:]


def _one_hot(logits: Tensor, labels: Tensor) -> Tensor:
    classes = ops.arange(logits.shape[1]).astype(labels.dtype)
    return ops.equal(labels.reshape(-1, 1), classes.reshape(1, -1)).astype(logits.dtype)
