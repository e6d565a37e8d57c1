"""SGD with momentum, or Adam, whose groups of parameters have rates and weight decays of their own."""

from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from mindspore import Parameter, nn

from ..config import MetricConfig, TrainingConfig
from .schedule import Schedule


class Group(NamedTuple):
    """Parameters with a factor of the learning rate, and a weight decay (times the weight, added to the gradient)."""

    parameters: List[Parameter]
    factor: float = 1.0
    weight_decay: float = 0.0


def make_optimizer(
    parameters: Sequence[Parameter],
    schedule: Schedule,
    training: TrainingConfig,
    groups: Optional[Sequence[Group]] = None,
) -> nn.Optimizer:
    """The optimizer that the recipe names.

    Args:
        parameters: that train.
        schedule: of the learning rate.
        training: section of the recipe.
        groups: of all ``parameters``; None = one, without weight decay.
    """
    rate, learnt = schedule.cell(), list(parameters)
    if groups is not None:
        learnt = [
            {"params": group.parameters, "lr": schedule.cell(group.factor), "weight_decay": group.weight_decay}
            for group in groups
            if group.parameters
        ]
    if training.optimizer == "adam":
        return nn.Adam(learnt, rate)
    return nn.Momentum(learnt, rate, training.momentum)


def metric_groups(learner: nn.Cell, metric: MetricConfig) -> List[Group]:
    """The power of GeM and the backbone at rates of their own; weight decay of weights alone.

    It leaves out the power, biases and BatchNorm, which are vectors all of them.
    """
    groups: Dict[Tuple[float, float], List[Parameter]] = {}
    for name, each in learner.parameters_and_names():
        if not each.requires_grad:
            continue
        factor = metric.backbone_rate if "backbone" in name.split(".") else 1.0
        kind = factor, metric.weight_decay if each.ndim >= 2 else 0.0
        groups.setdefault((metric.power_rate, 0.0) if is_power(name) else kind, []).append(each)
    return [Group(parameters, *kind) for kind, parameters in groups.items()]


def is_power(name: str) -> bool:
    """Whether a parameter of this name is the power of GeM."""
    return name.split(".")[-1] == "p"
