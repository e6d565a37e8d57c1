"""The network of a training stage: built, given its starting weights, and described to whoever watches."""

import logging
from typing import Any, Dict, Mapping, Type

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from ..config import GlobalConfig, MetricConfig, ModelConfig, TrainingConfig
from ..errors import UserError
from ..metric_config import CLASS_LOSSES
from ..model.networks import AttentionNet, BackboneNet, JointNet, TuningNet
from ..model.own_head import OwnHead, read_own_head
from ..model.weight_files import read_weight_file
from ..model.weights import load_pretrained, load_weights
from .global_network import DelgNet, GlobalNet
from .global_pooling import l2
from .region_network import RegionalAttentionNet

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


def build_global_network(
    model: ModelConfig,
    training: TrainingConfig,
    metric: MetricConfig,
    descriptor: GlobalConfig,
    num_classes: int = 0,
) -> BackboneNet:
    """The network of stage global or delg with its starting weights, its frozen parts and its precision.

    Args:
        model, training, metric, descriptor: sections of the recipe; what ``descriptor`` leaves open is as the starting
            weights say, else GeM with p = 3 without a head, of block4 where they have conv5.
        num_classes: of the data set, for stage delg.

    Raises:
        UserError: a file that does not fit, block4 of weights without conv5, or nothing that would learn.
    """
    path = model.checkpoint_path or model.imagenet_checkpoint
    settings = _head_settings(path, model, metric, descriptor)
    is_delg = training.train_state == "delg"
    network = DelgNet(model, num_classes, **settings) if is_delg else GlobalNet(model, **settings)
    if path:
        load_pretrained(network, path, model.load_stem)
    power = getattr(network.descriptor_head.pooling, "p", None)
    if descriptor.gem_p is not None and isinstance(power, ms.Parameter):  # the file has one of its own
        power.set_data(Tensor(np.full(power.shape, descriptor.gem_p, np.float32)))
    network.freeze_stages(training.frozen_stages)
    if not metric.learn_statistics:
        network.freeze_statistics([network.backbone, network.descriptor_head])
    if not network.trainable_params() and metric.loss not in CLASS_LOSSES:
        raise UserError("nothing is left to learn: lower `frozen_stages`, or give `head` fc")
    if training.amp_level == "O2":
        _use_float16(network)
    return network


def build_region_network(
    model: ModelConfig, training: TrainingConfig, descriptor: GlobalConfig, num_classes: int
) -> RegionalAttentionNet:
    """The network of stage regional_attention: backbone and classifier are those of a checkpoint of stage tuning.

    Raises:
        UserError: a file that does not fit, or of another number of classes.
    """
    network = RegionalAttentionNet(model, num_classes, training, descriptor.rmac_levels or 5)
    load_weights(network, model.checkpoint_path, ["backbone", "descriptor_head"], model.load_stem)
    if training.amp_level == "O2":
        _use_float16(network)
    return network


def _head_settings(path: str, model: ModelConfig, metric: MetricConfig, descriptor: GlobalConfig) -> Dict[str, Any]:
    """Keywords of ``VectorHead``."""
    said = read_own_head(path) if path else OwnHead()
    pooling = said.said.get("pooling", "gem") if descriptor.pooling == "auto" else descriptor.pooling
    head = said.head if descriptor.head == "auto" else descriptor.head
    dimension = len(said.layer[1]) if said.layer and head == said.head else 0
    power = descriptor.gem_p or (float(said.gem_p.mean()) if said.gem_p is not None else 3.0)
    has_block4 = not path or any("conv5." in name for name in read_weight_file(path, model.load_stem).tensors)
    layer = descriptor.descriptor_layer
    if layer == "block4" and not has_block4:
        raise UserError(f"{path}: lacks conv5, and so block4; give `descriptor_layer` block3, or weights with conv5")
    return {
        "pooling": pooling,
        "gem_p": power,
        "gem_power": metric.gem_power,
        "rmac_levels": descriptor.rmac_levels or said.said.get("rmac_levels", 3),
        "head": head,
        "head_dim": metric.head_dim or dimension,
        "layer": ("block4" if has_block4 else "block3") if layer == "auto" else layer,
        "is_unit": metric.loss != "n_pair",
    }


class AsTrained(nn.Cell):
    """Images as streams give them, (RGB - 128) / 128, to a network whose weights want other numbers.

    Args:
        network: its ``architecture`` says what it takes; style keras the same numbers.
    """

    def __init__(self, network: BackboneNet) -> None:
        super().__init__()
        self.network = network
        self.HEADS = getattr(network, "HEADS", ("descriptor",))
        self.is_same = network.architecture.style.name == "keras"
        offset, scale = (
            np.broadcast_to(np.float64(each), 3).reshape(1, 3, 1, 1)
            for each in (network.architecture.pixel_offset, network.architecture.pixel_scale)
        )
        self.factor = Tensor((128 / scale).astype(np.float32))
        self.shift = Tensor(((128 - offset) / scale).astype(np.float32))

    def set_train(self, mode: bool = True) -> "AsTrained":
        """As of the network."""
        super().set_train(mode)
        self.network.set_train(mode)
        return self

    def construct(self, images: Tensor) -> Any:
        return self.network(images if self.is_same else images * self.factor + self.shift)


class Describing(nn.Cell):
    """Images -> descriptors of unit length, of a learner whose only or last output they are, of any length."""

    def __init__(self, learner: AsTrained) -> None:
        super().__init__()
        self.learner = learner

    def set_train(self, mode: bool = True) -> "Describing":
        """As of the network."""
        super().set_train(mode)
        self.learner.set_train(mode)
        return self

    def construct(self, images: Tensor) -> Tensor:
        found = self.learner(images)
        return l2(found[-1] if isinstance(found, tuple) else found)


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
