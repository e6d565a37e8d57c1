"""The network of a training stage: built, given its starting weights, and described to whoever watches."""

import logging
from typing import Mapping, Type

import mindspore as ms
from mindspore import nn

from ..config import ModelConfig, TrainingConfig
from ..model.networks import AttentionNet, JointNet, TuningNet
from ..model.weights import load_pretrained, load_weights

logger = logging.getLogger(__name__)

# A network names the heads that it learns through in HEADS and returns the logits of each; Losses takes any number.
NETWORKS: Mapping[str, Type[nn.Cell]] = {"tuning": TuningNet, "attn": AttentionNet, "joint": JointNet}


def build_network(model: ModelConfig, training: TrainingConfig, num_classes: int) -> nn.Cell:
    """The network of a stage with its starting weights and precision; UserError for a file that does not fit."""
    stage = training.train_state
    network = NETWORKS[stage](model, num_classes, training)
    if stage == "attn":
        load_weights(network, model.checkpoint_path, ["backbone"], model.load_stem)
    elif model.checkpoint_path or model.imagenet_checkpoint:
        load_pretrained(network, model.checkpoint_path or model.imagenet_checkpoint, model.load_stem)
    if training.amp_level == "O2":
        _use_float16(network)
    return network


def _use_float16(network: nn.Cell) -> None:
    """Convolutions and dense layers compute in float16; weights, BatchNorm, attention and losses stay float32.

    Not ``mindspore.amp.auto_mixed_precision``: its O2 wraps BatchNorm, which renames the parameters of checkpoints.
    """
    for _, cell in network.cells_and_names():
        if isinstance(cell, (nn.Conv2d, nn.Dense)):
            cell.to_float(ms.float16)
        elif isinstance(cell, nn.BatchNorm2d):
            cell.to_float(ms.float32)


def describe_network(network: nn.Cell) -> None:
    """Log, part by part, how many parameters train and how many are frozen."""
    for name, part in network.name_cells().items():
        sizes = [(parameter.size, parameter.requires_grad) for parameter in part.get_parameters()]
        training = sum(size for size, trains in sizes if trains)
        # BatchNorm's moving statistics are kept with the parameters, and no optimizer moves them.
        statistics = sum(parameter.size for parameter in part.get_parameters() if "moving_" in parameter.name)
        frozen = sum(size for size, _ in sizes) - training - (statistics if training else 0)
        fate = "trains" if training else "frozen"
        logger.info("  %-16s %s: %11s parameters train, %11s frozen", name, fate, f"{training:,}", f"{frozen:,}")
