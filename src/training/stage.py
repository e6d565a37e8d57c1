"""A stage of training from its recipe: what can be said without MindSpore comes before it is imported."""

import logging
from contextlib import nullcontext
from pathlib import Path
from typing import Dict, Optional

from tqdm.contrib.logging import logging_redirect_tqdm

from ..artifacts import require_file, sha256_of
from ..config import ModelConfig, RunConfig, TrainingConfig
from ..data.reader import TrainingStream
from ..data.summary import dataset_info
from ..device import leads_ranks, ranks_started, set_up_training_device
from ..errors import UserError
from .run_folder import RunFolder

logger = logging.getLogger(__name__)


def starting_weights(stage: str, model: ModelConfig) -> Dict[str, str]:
    """SHA-256 of the file that the weights start from, under the name of its key; empty for random weights.

    Raises:
        UserError: stage attn without a checkpoint, or no such file.
    """
    if stage == "attn" and not model.checkpoint_path:
        raise UserError(
            "stage attn needs the checkpoint that stage tuning wrote, or ImageNet weights (.h5): give `checkpoint_path`"
        )
    # A checkpoint holds a backbone already, and attn takes it from nowhere else.
    name = "checkpoint_path" if model.checkpoint_path else "imagenet_checkpoint"
    path = getattr(model, name)
    return {f"{name}_sha256": sha256_of(require_file(path, name))} if path else {}


def _refuse_keys_of_tuning(training: TrainingConfig) -> None:
    for name in ("tuning_head", "frozen_stages", "frozen_statistics", "head_steps"):
        if getattr(training, name) != getattr(TrainingConfig(), name):
            raise UserError(f"`{name}` is of stage tuning alone; leave it out, or give `train_state` tuning")


def train(run: RunConfig, model: ModelConfig, training: TrainingConfig) -> Optional[Path]:
    """Train one stage, from the start or from where a stopped run of the same settings was.

    Returns:
        The last checkpoint; None in the scheduler process of a run on several devices.

    Raises:
        UserError: bad input, settings that differ from those of the run in ``save_ckpt``, another process that trains
            there, or a loss that is not finite.
        Interrupted: SIGINT or SIGTERM came; the state is saved.
    """
    stage = training.train_state
    if training.cache_features and (stage != "attn" or training.use_augmentation):
        needed = "`train_state` attn" if stage != "attn" else "`use_augmentation` false"
        raise UserError(f"`cache_features` keeps what a frozen backbone makes of whole photos: give {needed}")
    if stage != "tuning":
        _refuse_keys_of_tuning(training)
    info = dataset_info(training.traindata_path)
    sources = {"dataset": info.fingerprint, **starting_weights(stage, model)}
    folder = RunFolder(run, model, training, sources, ranks_started())
    with folder.locked() if leads_ranks() else nullcontext():
        finished = folder.finished()
        if finished:
            logger.info("%s: already trained", finished)
            return finished
        device = set_up_training_device(run.device_target, run.seed, training.amp_level)
        if device is None:
            return None
        from .networks import build_network
        from .trainer import Trainer

        if not device.is_first:
            logging.getLogger().setLevel(logging.WARNING)  # only the first rank reports
        stream = TrainingStream(training, info, run.seed, run.num_workers, device.rank, device.ranks)
        network = build_network(model, training, info.num_classes)
        with logging_redirect_tqdm():  # log lines go above the progress bar, not into it
            learner = network
            if training.cache_features:
                from .feature_cache import OnMaps, cached_stream

                learner, stream = OnMaps(network), cached_stream(stream, network, sources, run, model, device)
            return Trainer(network, learner, device, folder, stream).run_steps()
