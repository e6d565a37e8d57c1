"""Loss and accuracy on the held-out photos."""

from typing import Any, Dict, Tuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from src.config import Config
from src.data.reader import Batch, DatasetInfo, validation_batches
from src.device import Device


class EvaluationStep(nn.Cell):
    """(images [B, 3, S, S], labels [B], present [B]) -> [2 * heads]: summed losses, summed hits of each head.

    ``present`` is 1.0 for a photo and 0.0 for the filling of an incomplete batch, so that one graph serves all batches.
    """

    def __init__(self, network: nn.Cell) -> None:
        super().__init__()
        self.network = network

    def construct(self, images: Tensor, labels: Tensor, present: Tensor) -> Tensor:
        losses = ()
        hits = ()
        for logits in self.network(images):
            logits = logits.astype(ms.float32)
            losses += ((ops.cross_entropy(logits, labels, reduction="none") * present).sum(),)
            hits += (((logits.argmax(1) == labels).astype(ms.float32) * present).sum(),)
        return ops.stack(losses + hits)


def _filled(batch: Batch, size: int) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images, labels and presence of a batch, repeated from its start up to ``size`` photos."""
    places = np.arange(size) % len(batch.labels)
    return batch.images[places], batch.labels[places], (np.arange(size) < len(batch.labels)).astype(np.float32)


class Validation:
    """Measures a network on the validation shards; BatchNorm uses its moving statistics meanwhile."""

    def __init__(self, network: nn.Cell, config: Config, info: DatasetInfo, device: Device) -> None:
        self.network = network
        self.config = config
        self.info = info
        self.device = device
        self.step = EvaluationStep(network)

    def measure(self) -> Dict[str, Any]:
        """Mean loss and accuracy of each head over the first ``eval_photos`` validation photos, all ranks together."""
        heads = len(self.network.HEADS)
        sums = np.zeros(2 * heads + 1, np.float64)
        self.step.set_train(False)
        for batch in validation_batches(self.config, self.info, self.device.rank, self.device.ranks):
            inputs = _filled(batch, self.config.batch_size)
            sums[:-1] += self.step(*map(ms.Tensor, inputs)).asnumpy()
            sums[-1] += len(batch.labels)
        means = self.device.sum_over_ranks(sums)
        means = means[:-1] / means[-1]
        return {
            "validation_losses": dict(zip(self.network.HEADS, means[:heads].tolist())),
            "validation_accuracies": dict(zip(self.network.HEADS, means[heads:].tolist())),
        }
