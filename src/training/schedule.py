"""Learning rates by step: linear or a half cosine to 0, exponential by epochs, or constant, with a warm-up."""

import math
from dataclasses import dataclass

import mindspore as ms
from mindspore import Tensor, nn, ops

from ..config import MetricConfig, TrainingConfig


@dataclass(frozen=True)
class Schedule:
    """The learning rate of every step.

    Attributes:
        initial: rate of the first step after the warm-up.
        max_iters: steps of the run.
        kind: "linear" and "cosine" fall to 0 at ``max_iters``; "exponential" is multiplied by ``decay`` after each
            epoch; "constant".
        decay: see above.
        steps_per_epoch: see above.
        warmup: in the first steps, counted from 0, the rate is (step + 1) / warmup of what it would be.
    """

    initial: float
    max_iters: int
    kind: str = "linear"
    decay: float = 1.0
    steps_per_epoch: int = 1
    warmup: int = 0

    def at(self, step: int) -> float:
        """Rate of the step that follows ``step`` steps."""
        rate = self.initial * min(1.0, (step + 1) / self.warmup if self.warmup else 1.0)
        if self.kind == "linear":
            return rate * (1 - step / self.max_iters)
        if self.kind == "cosine":
            return rate * (1 + math.cos(math.pi * min(1.0, step / self.max_iters))) / 2
        return rate * self.decay ** (step // self.steps_per_epoch) if self.kind == "exponential" else rate

    def cell(self, factor: float = 1.0) -> nn.Cell:
        """The same for an optimizer, times ``factor``, from the optimizer's own step."""
        if self.kind == "linear" and not self.warmup:
            return nn.PolynomialDecayLR(self.initial * factor, 0.0, self.max_iters, 1.0)
        return _Rate(self, factor)


class _Rate(nn.learning_rate_schedule.LearningRateSchedule):
    """step [] int32 -> rate [] float32."""

    def __init__(self, schedule: Schedule, factor: float) -> None:
        super().__init__()
        self.initial = schedule.initial * factor
        self.kind = schedule.kind
        self.last = float(schedule.max_iters)
        self.decay = schedule.decay
        self.steps_per_epoch = schedule.steps_per_epoch
        self.warmup = float(schedule.warmup)

    def construct(self, step: Tensor) -> Tensor:
        done = step.astype(ms.float32)
        rate = ops.ones_like(done) * self.initial
        if self.warmup:
            rate = rate * ops.minimum((done + 1) / self.warmup, ops.ones_like(done))
        if self.kind == "linear":
            rate = rate * ops.maximum(1 - done / self.last, ops.zeros_like(done))
        elif self.kind == "cosine":
            rate = rate * (1 + ops.cos(math.pi * ops.minimum(done / self.last, ops.ones_like(done)))) / 2
        elif self.kind == "exponential":
            epoch = ops.floor_divide(step, self.steps_per_epoch).astype(ms.float32)
            rate = rate * ops.pow(ops.ones_like(done) * self.decay, epoch)
        return rate


def linear_schedule(training: TrainingConfig) -> Schedule:
    """That of the stages of DELF."""
    return Schedule(training.initial_lr, training.max_iters)


def metric_schedule(training: TrainingConfig, metric: MetricConfig, steps_per_epoch: int) -> Schedule:
    """That of the recipe for stages that learn global descriptors."""
    return Schedule(
        training.initial_lr,
        training.max_iters,
        metric.schedule,
        metric.rate_decay,
        steps_per_epoch,
        metric.warmup_steps,
    )
