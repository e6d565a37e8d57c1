"""One training step as a compiled graph: loss, gradients, their mean over the devices, clipping, update; its state."""

from typing import Any, Tuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from ..artifacts import PathLike
from ..config import TrainingConfig
from ..device import Device
from ..errors import reading
from ..model.checkpoint_file import read_checkpoint
from ..model.weights import save_weights

FIRST_LOSS_SCALE = 2.0**16  # of O2; halved at an overflow, doubled after LOSS_SCALE_WINDOW steps without one
LOSS_SCALE_WINDOW = 1000


def learning_rate(training: TrainingConfig, step: int) -> float:
    """Learning rate of the step that follows ``step`` steps: it falls linearly to 0, as ``TrainStep``'s schedule."""
    return training.initial_lr * (1 - step / training.max_iters)


class Losses(nn.Cell):
    """(images, labels, factor) -> (factor * weighted sum of the heads' losses, figures [2 * heads, B]).

    A head's loss is the mean softmax cross-entropy of its logits. The figures are each photo's losses, then whether
    each head is right about it.
    """

    def __init__(self, network: nn.Cell, training: TrainingConfig) -> None:
        super().__init__()
        self.network = network
        # Not ops.cross_entropy: on a CPU its last bit changes between a process's first calls and its later ones.
        self.cross_entropy = nn.SoftmaxCrossEntropyWithLogits(sparse=True, reduction="none")
        self.weights = tuple(training.attention_loss_weight if head == "attention" else 1.0 for head in network.HEADS)

    def construct(self, images: Tensor, labels: Tensor, factor: Tensor) -> Tuple[Tensor, Tensor]:
        total = 0.0
        losses = ()
        hits = ()
        for logits, weight in zip(self.network(images), self.weights):
            logits = logits.astype(ms.float32)
            loss = self.cross_entropy(logits, labels)
            total = total + loss.mean() * weight
            losses += (loss,)
            hits += ((logits.argmax(1) == labels).astype(ms.float32),)
        return total * factor, ops.stack(losses + hits)


_map = ops.HyperMap()  # a loop over two hundred gradients would take 15 s longer to compile


def _sum_of_squares(gradient: Tensor) -> Tensor:
    """Row by row: on a CPU, MindSpore sums all axes of a large tensor at once four times as slowly."""
    squares = ops.square(gradient)
    if gradient.ndim > 1:
        squares = ops.reshape(squares, (gradient.shape[0], -1)).sum(1)
    return squares.sum()


def _held(early: Tensor, gradient: Tensor, waiting: Tensor) -> Tensor:
    return gradient * (1 - early * waiting)


def clip_by_global_norm(
    gradients: Tuple[Tensor, ...], clip_norm: float, factor: Any = 1.0
) -> Tuple[Tuple[Tensor, ...], Tensor]:
    """Divide gradients by ``factor``, then shorten them together to a joint L2 norm of ``clip_norm`` at most.

    Returns:
        The gradients, and their norm before clipping (after the division).
    """
    norm = ops.sqrt(ops.addn(_map(_sum_of_squares, gradients))) / factor
    scale = clip_norm / (ops.maximum(norm, clip_norm) * factor)
    return _map(ops.partial(ops.mul, scale), gradients), norm


class TrainStep(nn.Cell):
    """(images [B, 3, S, S], labels [B] int32, stop []) -> figures [2 * heads, B], [2], and the update of the weights.

    The figures are those of ``Losses``; the second output is ``stop`` and the norm of the gradients before clipping.
    All but the norm are means over the devices. SGD with momentum, or Adam (Kingma and Ba, 0.9 and 0.999), no weight
    decay (the reference declares one and never applies it); gradients are averaged over the devices, then clipped (the
    reference, which has SGD alone, clips on each device first).

    Args:
        network: one of ``networks.NETWORKS``.
        training: ``amp_level`` O2 scales the loss dynamically and skips a step whose gradients overflow.
        ranks: number of devices.
    """

    def __init__(self, network: nn.Cell, training: TrainingConfig, ranks: int = 1) -> None:
        super().__init__()
        self.losses = Losses(network, training)
        self.clip_norm = training.clip_norm
        self.ranks = ranks
        # From the optimizer's own step, which is part of the state, so that resuming continues it.
        schedule = nn.PolynomialDecayLR(training.initial_lr, 0.0, training.max_iters, 1.0)
        parameters = network.trainable_params()
        if training.optimizer == "adam":
            self.optimizer = nn.Adam(parameters, schedule)
        else:
            self.optimizer = nn.Momentum(parameters, schedule, training.momentum)
        self.head_steps = training.head_steps
        in_backbone = {id(p) for name, p in network.parameters_and_names() if name.startswith("backbone.")}
        self.waiting = tuple(
            Tensor(float(id(p) in in_backbone), ms.float32) for p in parameters
        )  # 1: until the head leads
        self.backward = ops.value_and_grad(self.losses, None, self.optimizer.parameters, has_aux=True)
        self.scaler = None
        if training.amp_level == "O2":
            self.scaler = ms.amp.DynamicLossScaler(FIRST_LOSS_SCALE, 2, LOSS_SCALE_WINDOW)
            self.loss_scale = self.scaler.scale_value  # named here to be part of the state
            self.steps_at_scale = self.scaler.counter
        if ranks > 1:
            self.sum_over_ranks = ops.AllReduce()
            self.mean_gradients = nn.DistributedGradReducer(self.optimizer.parameters, True, ranks)

    def set_train(self, mode: bool = True) -> "TrainStep":
        """Training mode where the network wants it: a frozen backbone stays out of it."""
        super().set_train(mode)
        self.losses.network.set_train(mode)
        return self

    def construct(self, images: Tensor, labels: Tensor, stop: Tensor) -> Tuple[Tensor, Tensor]:
        factor = self.scaler.scale_value if self.scaler is not None else 1.0
        (_, figures), gradients = self.backward(images, labels, factor)
        if self.ranks > 1:
            gradients = self.mean_gradients(gradients)
            figures = self.sum_over_ranks(figures) / self.ranks
            stop = self.sum_over_ranks(stop) / self.ranks
        if self.head_steps:  # a gradient that has been 0 from the first step on moves nothing
            early = (self.optimizer.global_step < self.head_steps).astype(ms.float32)
            gradients = _map(ops.partial(_held, early), gradients, self.waiting)
        gradients, norm = clip_by_global_norm(gradients, self.clip_norm, factor)
        figures = ops.depend(figures, self._update(gradients, norm))
        return figures, ops.stack((stop, norm))

    def _update(self, gradients: Tuple[Tensor, ...], norm: Tensor) -> Tensor:
        if self.scaler is None:
            return self.optimizer(gradients)
        finite = ops.isfinite(norm)
        done = self.scaler.adjust(finite)
        if finite:
            done = ops.depend(done, self.optimizer(gradients))
        return done


def average_statistics(network: nn.Cell, device: Device) -> None:
    """Give BatchNorm's moving statistics, each rank's own, their mean over the ranks, as Keras does when it saves.

    A frozen layer's are the same on every rank and stay, bit for bit. Call it on all ranks, in training mode.
    """
    if device.ranks == 1:
        return
    layers = [cell for _, cell in network.cells_and_names() if isinstance(cell, nn.BatchNorm2d) and cell.training]
    statistics = [parameter for layer in layers for parameter in (layer.moving_mean, layer.moving_variance)]
    sums = device.sum_over_ranks(np.concatenate([np.zeros(0), *(each.asnumpy() for each in statistics)]))
    ends = np.cumsum([each.size for each in statistics])
    for parameter, mean in zip(statistics, np.split(sums / device.ranks, ends[:-1])):
        ops.assign(parameter, Tensor(mean.astype(np.float32)))  # set_data does not reach a compiled graph


def save_state(step_cell: TrainStep, steps_done: int, path: PathLike) -> None:
    """Write the state after ``steps_done`` steps atomically, as a file that ``mindspore.load_checkpoint`` reads.

    The weights, the moving statistics, the momentum and the optimizer's step are parameters of the cell. The data
    position and all random numbers follow from the number of steps (see ``data.reader.TrainingStream``); the
    network draws none.
    """
    save_weights(step_cell, path, {"steps_done": steps_done})


def load_state(step_cell: TrainStep, path: PathLike) -> int:
    """Set every parameter of ``step_cell`` and return how many steps were done; UserError for a damaged file."""
    fix = "the run cannot go on; give `resume` false to start anew"
    with reading(path, fix):
        stored = read_checkpoint(path, fix)
        for name, parameter in step_cell.parameters_and_names():
            if stored[name].shape != parameter.shape:  # set_data would take it
                raise ValueError(f"{name} is {stored[name].shape}, the network's is {parameter.shape}")
            parameter.set_data(Tensor(stored[name].copy()))
        steps_done = int(stored["steps_done"])
        if steps_done < 0:
            raise ValueError(f"{steps_done} steps are done")
        return steps_done
