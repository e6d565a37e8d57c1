"""One training step of many photos whose loss needs all descriptors at once, in memory that does not grow with them.

Multi-stage backpropagation (Revaud et al., ICCV 2019, section 3.2): (1) the descriptors of all photos, chunk by chunk,
without a graph; (2) the loss and its gradient with respect to the descriptors; (3) each chunk once more through the
network, now with a graph, whose parameters' gradients add up to those of the whole. That is exact because both passes
see the same pixels and BatchNorm keeps its statistics.
"""

from typing import Any, List, Optional, Tuple

import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from ..config import TrainingConfig
from .optimizers import Group, make_optimizer
from .schedule import Schedule
from .step import Made, clip_by_global_norm
from .streams import LargeBatch
from .validation import describe_padded
from .vector_losses import VectorLoss

_map = ops.HyperMap()


class _Product(nn.Cell):
    """Images and a gradient [B, D] -> sum of gradient times descriptors, whose own gradient is what is wanted."""

    def __init__(self, network: nn.Cell) -> None:
        super().__init__()
        self.network = network

    def construct(self, images: Tensor, gradient: Tensor) -> Tensor:
        return (self.network(images) * gradient).sum()


def _add(total: Parameter, gradient: Tensor) -> Tensor:
    return ops.assign_add(total, gradient)


def _clear(total: Parameter) -> Tensor:
    return ops.assign(total, ops.zeros_like(total))


class _Backward(nn.Cell):
    """A chunk's share of the parameters' gradients, added to ``sums``."""

    def __init__(self, network: nn.Cell, parameters: ParameterTuple, sums: ParameterTuple) -> None:
        super().__init__()
        self.sums = sums
        self.gradient = ops.grad(_Product(network), None, parameters)

    def construct(self, images: Tensor, gradient: Tensor) -> Any:
        return _map(_add, self.sums, self.gradient(images, gradient))


class _Update(nn.Cell):
    """Clip ``sums``, move the weights, and clear ``sums`` -> norm [] before clipping."""

    def __init__(self, optimizer: nn.Optimizer, sums: ParameterTuple, clip_norm: float) -> None:
        super().__init__()
        self.optimizer = optimizer
        self.sums = sums
        self.clip_norm = clip_norm

    def construct(self) -> Tensor:
        gradients, norm = clip_by_global_norm(self.sums, self.clip_norm)
        norm = ops.depend(norm, self.optimizer(gradients))
        return ops.depend(norm, _map(_clear, ops.depend(self.sums, norm)))


class _Kept(nn.Cell):
    """What a stopped run needs: the network, the optimizer, and the tuples of the epoch where there are some."""

    def __init__(self, network: nn.Cell, optimizer: nn.Optimizer, tuples: Optional[nn.Cell]) -> None:
        super().__init__()
        self.network = network
        self.optimizer = optimizer
        if tuples is not None:
            self.tuples = tuples


class MultiStageStep(nn.Cell):
    """Makes steps of large batches; has the interface of ``TrainStep``, on one device and in float32.

    Args:
        network: images -> unit vectors [B, D]; its BatchNorm keeps its statistics.
        training: section of the recipe.
        loss: of the vectors of a batch.
        chunk_size: photos that pass the network at once.
        schedule: of the learning rate.
        groups: of parameters, see ``make_optimizer``.
        tuples: cell whose parameters are kept with the state.
    """

    overflows = False
    heads = ("descriptor",)

    def __init__(
        self,
        network: nn.Cell,
        training: TrainingConfig,
        loss: VectorLoss,
        chunk_size: int,
        schedule: Schedule,
        groups: List[Group],
        tuples: Optional[nn.Cell] = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.chunk_size = chunk_size
        self.schedule = schedule
        optimizer = make_optimizer(network.trainable_params(), schedule, training, groups)
        self.state = _Kept(network, optimizer, tuples)
        parameters = optimizer.parameters
        sums = ParameterTuple(
            Parameter(np.zeros(each.shape, np.float32), f"sum.{place}", requires_grad=False)
            for place, each in enumerate(parameters)
        )
        self.backward = _Backward(network, parameters, sums)
        self.update = _Update(optimizer, sums, training.clip_norm)

    def set_train(self, mode: bool = True) -> "MultiStageStep":
        """The network never is in training mode, so that both passes agree."""
        super().set_train(mode)
        self.network.set_train(False)
        return self

    def gradient(self, batch: LargeBatch) -> Tuple[np.ndarray, np.ndarray]:
        """The first two stages: figures [2] of the loss, and its gradient [N, D]."""
        vectors = [describe_padded(self.network, images, self.chunk_size) for images in batch.chunks()]
        return self.loss(np.concatenate(vectors), batch.labels)

    def accumulate(self, batch: LargeBatch) -> np.ndarray:
        """All three stages: the parameters' gradients are in ``backward.sums`` then; figures [2] of the loss."""
        figures, gradient = self.gradient(batch)
        first = 0
        for images in batch.chunks():
            places = np.arange(self.chunk_size) % len(images)  # fills the last chunk up, with photos of gradient 0
            share = np.zeros((self.chunk_size, gradient.shape[1]), np.float32)
            share[: len(images)] = gradient[first : first + len(images)]
            self.backward(Tensor(images[places]), Tensor(share))
            first += len(images)
        return figures

    def make(self, batch: LargeBatch, asked: bool) -> Made:
        """Make one step of a batch; ``asked`` is whether this rank shall stop."""
        figures = self.accumulate(batch)
        return Made(figures.tolist(), asked, float(self.update().asnumpy()))
