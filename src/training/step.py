"""One training step as a compiled graph: loss, gradients, their mean over the devices, clipping, update; its state."""

from typing import Any, List, NamedTuple, Optional, Tuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from ..artifacts import PathLike
from ..config import TrainingConfig
from ..data.reader import Batch
from ..device import Device
from ..errors import reading
from ..model.checkpoint_file import read_checkpoint
from ..model.weights import save_weights
from .optimizers import Group, make_optimizer
from .schedule import Schedule, linear_schedule

FIRST_LOSS_SCALE = 2.0**16  # of O2; halved at an overflow, doubled after LOSS_SCALE_WINDOW steps without one
LOSS_SCALE_WINDOW = 1000


class Made(NamedTuple):
    """What a step tells: means of its figures (losses of the heads, then accuracies), whether any rank was asked to
    stop, and the gradients' norm before clipping."""

    figures: List[float]
    asked: bool
    norm: float


class Losses(nn.Cell):
    """(images, labels, factor) -> (factor * weighted sum of the heads' losses, figures [2 * heads, B]).

    A head's loss is the mean softmax cross-entropy of its logits. The figures are each photo's losses, then whether
    each head is right about it.
    """

    def __init__(self, network: nn.Cell, training: TrainingConfig) -> None:
        super().__init__()
        self.HEADS = network.HEADS
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
        losses: what the network learns through, in place of ``Losses``; its ``network`` is ``network``.
        schedule: of the learning rate, in place of the linear one.
        groups: of parameters, for ``make_optimizer``, in place of all that train.
    """

    def __init__(
        self,
        network: nn.Cell,
        training: TrainingConfig,
        ranks: int = 1,
        losses: Optional[nn.Cell] = None,
        schedule: Optional[Schedule] = None,
        groups: Optional[List[Group]] = None,
    ) -> None:
        super().__init__()
        self.losses = Losses(network, training) if losses is None else losses
        self.heads = self.losses.HEADS
        self.clip_norm = training.clip_norm
        self.ranks = ranks
        # From the optimizer's own step, which is part of the state, so that resuming continues it.
        self.schedule = linear_schedule(training) if schedule is None else schedule
        self.optimizer = make_optimizer(network.trainable_params(), self.schedule, training, groups)
        self.head_steps = training.head_steps
        in_backbone = {id(p) for name, p in network.parameters_and_names() if "backbone" in name.split(".")}
        self.waiting = tuple(
            Tensor(float(id(p) in in_backbone), ms.float32) for p in self.optimizer.parameters
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

    @property
    def state(self) -> nn.Cell:
        """Whose parameters are all that a stopped run needs."""
        return self

    @property
    def overflows(self) -> bool:
        """Whether a gradient without bound is normal: the scale of the loss goes down then."""
        return self.scaler is not None and bool(self.scaler.scale_value.asnumpy() > 1)

    def make(self, batch: Batch, asked: bool) -> Made:
        """Make one step of a batch; ``asked`` is whether this rank shall stop."""
        outputs = self(Tensor(batch.images), Tensor(batch.labels), Tensor(np.float32(asked)))
        any_asked, norm = outputs[1].asnumpy().tolist()
        return Made(outputs[0].asnumpy().mean(1, dtype=np.float64).tolist(), any_asked > 0, norm)

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
    if not statistics:
        return
    sums = device.sum_over_ranks(np.concatenate([np.zeros(0), *(each.asnumpy() for each in statistics)]))
    ends = np.cumsum([each.size for each in statistics])
    for parameter, mean in zip(statistics, np.split(sums / device.ranks, ends[:-1])):
        ops.assign(parameter, Tensor(mean.astype(np.float32)))  # set_data does not reach a compiled graph


def save_state(step_cell: nn.Cell, steps_done: int, path: PathLike) -> None:
    """Write the state after ``steps_done`` steps atomically, as a file that ``mindspore.load_checkpoint`` reads.

    The weights, the moving statistics, the momentum and the optimizer's step are parameters of the cell. The data
    position and all random numbers follow from the number of steps (see ``data.reader.TrainingStream``); the
    network draws none.
    """
    save_weights(step_cell, path, {"steps_done": steps_done})


def load_state(step_cell: nn.Cell, path: PathLike) -> int:
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
