"""Write the network as it starts, before any training: the baseline that a trained one has to beat.

Its numbers are the initial values of a seed, or, with --imagenet_checkpoint, those of ImageNet and an untrained
attention.
"""

import argparse
from pathlib import Path
from typing import Optional, Sequence

from .command_line import Command


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", required=True, type=Path, help="checkpoint to write (.ckpt)")


COMMAND = Command(
    __doc__, "--output untrained.ckpt",
    keys=(
        "architecture", "weights_style", "imagenet_checkpoint", "load_stem", "kernel_init", "kernel_init_gain",
        "residual_gamma", "attention_init", "device_target", "seed", "overwrite",
    ),
    shown=("output", "architecture", "imagenet_checkpoint", "kernel_init", "attention_init", "seed", "overwrite"),
    add_arguments=_arguments,
)  # fmt: skip


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Write the checkpoint."""
    config, arguments = COMMAND.parse(argv)
    from ..device import set_up_device
    from ..model.weights import write_untrained

    set_up_device(config.run.device_target, config.run.seed)
    write_untrained(config.model, arguments.output, config.run.overwrite)
