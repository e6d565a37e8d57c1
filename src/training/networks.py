"""The network of a training stage: built, given its starting weights, and described to whoever watches."""

import logging
from typing import Any, Dict

from ..artifacts import require_file, sha256_of
from ..config import Config
from ..errors import UserError

logger = logging.getLogger(__name__)


def starting_weights(config: Config) -> Dict[str, str]:
    """SHA-256 of the file that the weights start from, under the name of its option; empty for random weights.

    Raises:
        UserError: stage attn without a checkpoint, or no such file.
    """
    if config.train_state == "attn" and not config.checkpoint_path:
        raise UserError("stage attn needs the checkpoint that stage tuning wrote: give `checkpoint_path`")
    # A checkpoint holds a backbone already; attn never starts from ImageNet's.
    name = "checkpoint_path" if config.checkpoint_path else "imagenet_checkpoint"
    path = getattr(config, name)
    return {f"{name}_sha256": sha256_of(require_file(path, f"--{name}"))} if path else {}


def build_network(config: Config, num_classes: int) -> Any:
    """The stage's network with its starting weights and precision; UserError for a file that does not fit."""
    from ..model.checkpoint import load_weights
    from ..model.delf import AttentionNet, JointNet, TuningNet
    from ..model.pretrained import load_pretrained

    if config.train_state == "attn":
        network = AttentionNet(config, num_classes)
        load_weights(network, config.checkpoint_path, ["backbone"])
    else:
        network = (JointNet if config.train_state == "joint" else TuningNet)(config, num_classes)
        start = config.checkpoint_path or config.imagenet_checkpoint
        if start:
            load_pretrained(network, start, config.load_stem)
    if config.amp_level == "O2":
        _use_float16(network)
    return network


def _use_float16(network: Any) -> None:
    """Convolutions and dense layers compute in float16; weights, BatchNorm, attention and losses stay float32.

    Not ``mindspore.amp.auto_mixed_precision``: its O2 wraps BatchNorm, which renames the parameters of checkpoints.
    """
    import mindspore as ms
    from mindspore import nn

    for _, cell in network.cells_and_names():
        if isinstance(cell, (nn.Conv2d, nn.Dense)):
            cell.to_float(ms.float16)
        elif isinstance(cell, nn.BatchNorm2d):
            cell.to_float(ms.float32)


def describe_network(network: Any) -> None:
    """Log, part by part, how many parameters train and how many are frozen."""
    for name, part in network.name_cells().items():
        sizes = [(parameter.size, parameter.requires_grad) for parameter in part.get_parameters()]
        training = sum(size for size, trains in sizes if trains)
        # BatchNorm's moving statistics are kept with the parameters, and no optimizer moves them.
        statistics = sum(parameter.size for parameter in part.get_parameters() if "moving_" in parameter.name)
        frozen = sum(size for size, _ in sizes) - training - (statistics if training else 0)
        fate = "trains" if training else "frozen"
        logger.info("  %-16s %s: %11s parameters train, %11s frozen", name, fate, f"{training:,}", f"{frozen:,}")
