"""The learning rate."""

from mindspore import Tensor
from mindspore.nn.learning_rate_schedule import LearningRateSchedule


class LinearToZero(LearningRateSchedule):
    """initial_lr * (1 - step / max_iters), never below 0, from the global step, so that resuming continues it."""

    def __init__(self, initial_lr: float, max_iters: int) -> None:
        super().__init__()
        self.initial_lr = initial_lr
        self.max_iters = max_iters

    def construct(self, global_step: Tensor) -> Tensor:
        return self.initial_lr * (1.0 - global_step / self.max_iters).clip(0.0, 1.0)
