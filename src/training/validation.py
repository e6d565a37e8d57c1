"""Loss and accuracy on the held-out photos."""

from typing import Any, Dict

import mindspore as ms
import numpy as np
from mindspore import nn

from ..data.reader import TrainingStream
from ..device import Device
from .step import Losses


class Validation:
    """Measures a network on the validation shards; BatchNorm uses its moving statistics meanwhile."""

    def __init__(self, network: nn.Cell, stream: TrainingStream, device: Device) -> None:
        self.heads = network.HEADS
        self.stream = stream
        self.device = device
        # a graph of its own: the training step's has BatchNorm in training mode
        self.losses = Losses(network, stream.training)

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
