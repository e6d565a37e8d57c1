"""Loss and accuracy on the held-out photos, and how well their descriptors find each other."""

from typing import Any, Dict, Optional, Protocol

import mindspore as ms
import numpy as np
from mindspore import nn

from ..data.reader import TrainingStream
from ..device import Device
from ..precision_recall import average_precision

_BLOCK = 256  # queries ranked at a time


class Measures(Protocol):
    """What ``Trainer`` validates with."""

    def measure(self) -> Dict[str, Any]:
        """Figures for metrics.jsonl; ``validation_map`` (best = highest) or ``validation_losses`` is among them."""
        ...


class Validation:
    """Measures a network on the validation shards; BatchNorm uses its moving statistics meanwhile.

    Args:
        losses: see ``step.Losses``; one of its own, as the graph of a training step has BatchNorm in training mode.
        stream: gives the photos.
        device: of this process.
    """

    def __init__(self, losses: nn.Cell, stream: TrainingStream, device: Device) -> None:
        self.heads = losses.HEADS
        self.stream = stream
        self.device = device
        self.losses = losses

    def measure(self) -> Dict[str, Any]:
        """Mean loss and accuracy of each head over the first ``eval_photos`` validation photos, all ranks together."""
        sums = np.zeros(2 * len(self.heads) + 1)
        self.losses.set_train(False)
        size = self.stream.training.batch_size
        for batch in self.stream.validation_batches():
            photos = len(batch.labels)
            places = np.arange(size) % photos  # fills an incomplete batch up: one graph serves all
            images, labels = ms.Tensor(batch.images[places]), ms.Tensor(batch.labels[places])
            _, figures = self.losses(images, labels, ms.Tensor(np.float32(1)))
            sums += np.append(figures.asnumpy()[:, :photos].sum(1, dtype=np.float64), photos)
        sums = self.device.sum_over_ranks(sums)
        losses, accuracies = (sums[:-1] / sums[-1]).reshape(2, -1).tolist()
        return {
            "validation_losses": dict(zip(self.heads, losses)),
            "validation_accuracies": dict(zip(self.heads, accuracies)),
        }


class RetrievalValidation:
    """Measures descriptors: each validation photo is a query, and looks for the others of its class among all.

    Args:
        describe: images -> unit vectors, without a gradient.
        stream: gives the photos; all ranks together see each once.
        device: of this process.
        losses: gives further figures; None = none.
    """

    def __init__(
        self, describe: nn.Cell, stream: TrainingStream, device: Device, losses: Optional[Validation] = None
    ) -> None:
        self.describe = describe
        self.stream = stream
        self.device = device
        self.losses = losses

    def measure(self) -> Dict[str, Any]:
        """``validation_map``: mean average precision, 0 to 1, over the photos that are not alone in their class."""
        self.describe.set_train(False)
        numbers, found, labels = self.stream.validation_numbers(), [], []
        for batch in self.stream.validation_batches():
            found.append(describe_padded(self.describe, batch.images, self.stream.photos_a_pass))
            labels.append(batch.labels)
        own_vectors, own_labels = np.concatenate(found), np.concatenate(labels)
        total = len(self.stream.all_validation_numbers())
        vectors, classes = np.zeros((total, own_vectors.shape[1]), np.float32), np.zeros(total, np.float32)
        vectors[numbers], classes[numbers] = own_vectors, own_labels
        vectors, classes = self.device.sum_over_ranks(vectors), self.device.sum_over_ranks(classes)
        measured = {"validation_map": mean_average_precision(vectors, classes)}
        return {**measured, **(self.losses.measure() if self.losses else {})}


def describe_padded(describe: nn.Cell, images: np.ndarray, size: int) -> np.ndarray:
    """Vectors of at most ``size`` images, which are filled up to that many: one graph serves all."""
    places = np.arange(size) % len(images)
    return describe(ms.Tensor(images[places])).asnumpy()[: len(images)]


def mean_average_precision(vectors: np.ndarray, labels: np.ndarray) -> float:
    """Each vector is a query that ranks all others by dot product; those of its label are its positives.

    Args:
        vectors: [N, D].
        labels: [N].

    Returns:
        Mean over the vectors that have a positive, by the trapezoidal rule; NaN where none has. Equal products count
        as the worst order, so that descriptors that are all the same do not score.
    """
    precisions = []
    for first in range(0, len(vectors), _BLOCK):
        products = vectors[first : first + _BLOCK] @ vectors.T
        for query, row in enumerate(products, first):
            is_positive = np.delete(labels == labels[query], query)
            order = np.lexsort((is_positive, -np.delete(row, query)))
            found = np.flatnonzero(is_positive[order])
            if len(found):
                precisions.append(average_precision(found, len(found)))
    return float(np.mean(precisions)) if precisions else float("nan")
