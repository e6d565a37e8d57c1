"""A stage of training from its recipe: what can be said without MindSpore comes before it is imported."""

import logging
from contextlib import nullcontext
from pathlib import Path
from typing import Dict, Optional

from tqdm.contrib.logging import logging_redirect_tqdm

from ..artifacts import require_file, sha256_of
from ..config import METRIC_STAGES, GlobalConfig, MetricConfig, ModelConfig, RunConfig, TrainingConfig
from ..data.summary import dataset_info
from ..device import leads_ranks, ranks_started, set_up_training_device
from ..errors import UserError
from ..metric_config import CLASS_LOSSES, DESCRIPTOR_KEYS, of_stage
from .run_folder import RunFolder

logger = logging.getLogger(__name__)


def starting_weights(stage: str, model: ModelConfig) -> Dict[str, str]:
    """SHA-256 of the file that the weights start from, under the name of its key; empty for random weights.

    Raises:
        UserError: stage attn or regional_attention without a checkpoint, or no such file.
    """
    if stage in ("attn", "regional_attention") and not model.checkpoint_path:
        others = ", or ImageNet weights (.h5)" if stage == "attn" else ""
        raise UserError(f"stage {stage} needs the checkpoint that stage tuning wrote{others}: give `checkpoint_path`")
    # A checkpoint holds a backbone already, and these stages take it from nowhere else.
    name = "checkpoint_path" if model.checkpoint_path else "imagenet_checkpoint"
    path = getattr(model, name)
    return {f"{name}_sha256": sha256_of(require_file(path, name))} if path else {}


_STAGES_OF = {  # keys of TrainingConfig that not every stage has
    "tuning_head": ("tuning", "regional_attention"),
    "frozen_statistics": ("tuning",),
    "frozen_stages": ("tuning", "global", "delg", "how"),
    "head_steps": ("tuning", "global", "delg"),
}


def _refuse_senseless(training: TrainingConfig, metric: MetricConfig) -> None:
    stage = training.train_state
    if training.cache_features and (stage != "attn" or training.use_augmentation):
        needed = "`train_state` attn" if stage != "attn" else "`use_augmentation` false"
        raise UserError(f"`cache_features` keeps what a frozen backbone makes of whole photos: give {needed}")
    for name, stages in _STAGES_OF.items():
        if stage not in stages and getattr(training, name) != getattr(TrainingConfig(), name):
            of = "stage tuning alone" if len(stages) == 1 else f"stages {', '.join(stages)}"
            raise UserError(f"`{name}` is of {of}; leave it out, or give `train_state` tuning")
    if stage == "delg" and metric.loss != "arcface":
        raise UserError(f"stage delg learns by `loss` arcface, not {metric.loss}: leave it out")
    if stage == "how" and metric.loss not in (MetricConfig().loss, "contrastive"):
        raise UserError(f"stage how learns by `loss` contrastive, not {metric.loss}: leave it out")
    if stage in METRIC_STAGES and training.head_steps and metric.weight_decay:
        raise UserError("`head_steps` holds the backbone, which `weight_decay` moves: leave out one of them")
    used = of_stage(stage, metric)
    if stage in ("global", "how") and used.loss not in CLASS_LOSSES:
        _refuse_for_large_batches(training, used)


def _refuse_for_large_batches(training: TrainingConfig, metric: MetricConfig) -> None:
    """What the two passes of ``MultiStageStep`` do not do."""
    others = "" if training.train_state == "how" else f", or give `loss` {' or '.join(CLASS_LOSSES)}"
    if ranks_started() > 1:
        raise UserError(f"`loss` {metric.loss} learns on one device; start one process{others}")
    if training.amp_level != "O0":
        raise UserError(f"`loss` {metric.loss} computes in float32: give `amp_level` O0{others}")
    if metric.learn_statistics:
        raise UserError(f"`loss` {metric.loss} needs frozen statistics: leave out `learn_statistics`")
    if training.head_steps:
        raise UserError(f"`head_steps` lets the classes begin, and `loss` {metric.loss} has none: leave it out")
    if metric.loss == "n_pair" and training.batch_size % 2:
        raise UserError(f"`loss` n_pair takes pairs of photos: `batch_size` is {training.batch_size}, give an even one")


def train(
    run: RunConfig,
    model: ModelConfig,
    training: TrainingConfig,
    metric: MetricConfig = MetricConfig(),  # noqa: B008
    descriptor: GlobalConfig = GlobalConfig(),  # noqa: B008
) -> Optional[Path]:
    """Train one stage, from the start or from where a stopped run of the same settings was.

    Args:
        run, model, training: sections of the recipe.
        metric, descriptor: of stages that learn global descriptors.

    Returns:
        The last checkpoint; None in the scheduler process of a run on several devices.

    Raises:
        UserError: bad input, settings that differ from those of the run in ``save_ckpt``, another process that trains
            there, or a loss that is not finite.
        Interrupted: SIGINT or SIGTERM came; the state is saved.
    """
    stage = training.train_state
    _refuse_senseless(training, metric)
    metric = of_stage(stage, metric)
    info = dataset_info(training.traindata_path)
    sources, more = {"dataset": info.fingerprint, **starting_weights(stage, model)}, {}
    if stage in METRIC_STAGES:
        more = {**metric.values(), **{name: getattr(descriptor, name) for name in DESCRIPTOR_KEYS}}
        if metric.pairs_path:
            sources["pairs_sha256"] = sha256_of(require_file(metric.pairs_path, "pairs_path"))
    folder = RunFolder(run, model, training, sources, ranks_started(), more)
    with folder.locked() if leads_ranks() else nullcontext():
        finished = folder.finished()
        if finished:
            logger.info("%s: already trained", finished)
            return finished
        device = set_up_training_device(run.device_target, run.seed, training.amp_level)
        if device is None:
            return None
        from .how_parts import how_parts
        from .parts import delf_parts, delg_parts, global_parts
        from .trainer import Trainer

        if not device.is_first:
            logging.getLogger().setLevel(logging.WARNING)  # only the first rank reports
        with logging_redirect_tqdm():  # log lines go above the progress bar, not into it
            if stage in METRIC_STAGES:
                make = {"global": global_parts, "how": how_parts}.get(stage, delg_parts)
                parts = make(run, model, training, metric, descriptor, info, device)
            else:
                parts = delf_parts(run, model, training, sources, info, device)
            return Trainer(parts.network, parts.step_cell, device, folder, parts.stream, parts.validation).run_steps()
