"""Train one stage of DELF: `tuning` (backbone and descriptor head), then `attn` (attention on the frozen backbone).

Stage `joint` trains both at once. A stopped or killed run goes on when the same command is given again.
"""

import argparse
from typing import Optional, Sequence

from ..config import ModelConfig, RunConfig, TrainingConfig, keys_of
from .command_line import Command, refuse_options

_KEYS = keys_of(RunConfig, ModelConfig, TrainingConfig, but=("engine", "precision"))
_SHOWN = (
    "train_state", "traindata_path", "save_ckpt", "checkpoint_path", "imagenet_checkpoint", "batch_size", "max_iters",
    "image_size", "initial_lr", "device_target", "config",
)  # fmt: skip


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--print_key", choices=_KEYS, metavar="KEY", help="print this key of the recipe, and no more")


COMMAND = Command(
    __doc__,
    "--train_state=tuning --traindata_path=mindrecord/train.mindrecord000 --save_ckpt=tuning",
    keys=_KEYS,
    shown=_SHOWN,
    add_arguments=_arguments,
)


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Train."""
    config, arguments = COMMAND.parse(argv)
    if arguments.print_key:
        print(config.values()[arguments.print_key])
        return
    if config.training.optimizer == "adam":
        refuse_options(argv, ("momentum",), "has no effect with --optimizer adam: leave it out")
    if not config.training.cache_features:
        refuse_options(argv, ("cache_path",), "has no effect without --cache_features: leave it out")
    from ..training.stage import train

    train(config.run, config.model, config.training)
