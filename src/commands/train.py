"""Train one stage of DELF: `tuning` (backbone and descriptor head), then `attn` (attention on the frozen backbone).

Stage `joint` trains both at once. `global` learns global descriptors by a metric loss, `delg` together with local ones,
`regional_attention` how much a region counts, `how` HOW's local features. A stopped or killed run goes on when the same
command is given again.
"""

import argparse
from typing import Optional, Sequence

from ..config import METRIC_STAGES, MetricConfig, ModelConfig, RunConfig, TrainingConfig, keys_of
from ..metric_config import DESCRIPTOR_KEYS, KEYS_OF_LOSSES, UNUSED_BY_STAGES, of_stage
from .command_line import Command, refuse_options

_METRIC_KEYS = (*keys_of(MetricConfig), *DESCRIPTOR_KEYS)
_KEYS = (*keys_of(RunConfig, ModelConfig, TrainingConfig, but=("engine", "precision")), *_METRIC_KEYS)
_SHOWN = (
    "train_state", "traindata_path", "save_ckpt", "checkpoint_path", "imagenet_checkpoint", "loss", "batch_size",
    "max_iters", "image_size", "initial_lr", "device_target", "config",
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


def _refuse_senseless(argv: Optional[Sequence[str]], training: TrainingConfig, metric: MetricConfig) -> None:
    """UserError for options without an effect on this stage, loss or schedule."""
    if training.optimizer == "adam":
        refuse_options(argv, ("momentum",), "has no effect with --optimizer adam: leave it out")
    if not training.cache_features:
        refuse_options(argv, ("cache_path",), "has no effect without --cache_features: leave it out")
    stage = training.train_state
    if stage not in METRIC_STAGES:
        refuse_options(argv, _METRIC_KEYS, f"has no effect on --train_state {stage}: leave it out")
        return
    refuse_options(argv, UNUSED_BY_STAGES[stage], f"has no effect on --train_state {stage}: leave it out")
    loss = of_stage(stage, metric).loss
    unused = [name for name, losses in KEYS_OF_LOSSES.items() if loss not in losses]
    refuse_options(argv, unused, f"has no effect with --loss {loss}: leave it out")
    if metric.schedule != "exponential":
        refuse_options(argv, ("rate_decay",), f"has no effect with --schedule {metric.schedule}: leave it out")
    if metric.class_balance is None:
        refuse_options(argv, ("balance_size",), "has no effect without --class_balance: leave it out")


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Train."""
    config, arguments = COMMAND.parse(argv)
    if arguments.print_key:
        print(config.values()[arguments.print_key])
        return
    _refuse_senseless(argv, config.training, config.metric)
    from ..training.stage import train

    train(config.run, config.model, config.training, config.metric, config.descriptor)
