"""Training of the learned matcher, by the ``Trainer`` of every stage: from a feature file to a matcher file."""

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Mapping, Sequence

import numpy as np
from tqdm.contrib.logging import logging_redirect_tqdm

from ..artifacts import PathLike, digest, is_made, require_file, sha256_of
from ..config import RunConfig, TrainingConfig
from ..data.summary import DatasetInfo
from ..device import ranks_started, set_up_training_device
from ..errors import UserError, reading
from ..features.feature_file import FeatureFile
from ..features.kinds import LOCAL, part_of
from ..matching.matcher import Matcher, weight_shapes
from ..matching.matcher_file import load_matcher, save_matcher
from ..model.checkpoint_file import read_checkpoint
from ..records import Provenance
from ..section import Section, key
from .matcher_pairs import MatchStream, Photos, split_pairs
from .run_folder import RunFolder

logger = logging.getLogger(__name__)

_WARMUP = 0.1  # share of the steps
_USED = (  # keys that a run depends on, or that say what is kept of it
    "train_state", "save_ckpt", "save_ckpt_step", "keep_checkpoint_max", "resume", "eval_steps", "tensorboard",
    "batch_size", "max_iters", "initial_lr", "optimizer", "clip_norm", "report_steps", "num_descriptors",
)  # fmt: skip
# Settings of the matcher file; where a run is kept and how often it reports changes nothing
_OF_RESULT = ("batch_size", "max_iters", "initial_lr", "optimizer", "clip_norm", "eval_steps", "num_descriptors")


@dataclass(frozen=True)
class MatcherTraining(TrainingConfig):
    """The recipe of a matcher: that of a stage, of which a part is used; ``batch_size`` is in pairs."""

    train_state: str = key("matcher", "what is trained", choices=("matcher",))
    num_descriptors: int = key(300, "best descriptors of a photo that take part", least=2)

    def values(self) -> Dict[str, Any]:
        """See ``Section``; of what is used."""
        return {name: value for name, value in super().values().items() if name in _USED}


def train_matcher(
    features: PathLike,
    classes: Mapping[str, Sequence[str]],
    output: PathLike,
    run: RunConfig,
    training: MatcherTraining,
    pairs_path: PathLike = "",
) -> Matcher:
    """Train a matcher and write it, from the start or from where a stopped run of the same settings was.

    What is written are the weights of the best validation, or the last ones where labels are too few for any.

    Args:
        features: feature file with local features.
        classes: names of its photos of each label.
        output: matcher to write (.npz).
        run: seed, device and ``overwrite``.
        training: the recipe; ``save_ckpt`` is the folder of the run.
        pairs_path: pairs of the same place, see ``data.training_pairs``; '' = any two photos of a label.

    Returns:
        The matcher.

    Raises:
        UserError: bad input, another file at ``output``, or a run under other settings in the folder.
        Interrupted: SIGINT or SIGTERM came; the state is saved.
    """
    output = Path(output)
    if output.suffix != ".npz":
        raise UserError(f"{output}: a matcher is a .npz file; give `output` a name that ends in .npz")
    if training.batch_size % 2:
        raise UserError(f"`pairs_a_step` is {training.batch_size}, half of which are of the same place: give an even")
    if ranks_started() > 1:
        raise UserError("a matcher learns on one device; start one process")
    with FeatureFile(features, "features") as source:
        made = part_of(source.provenance, LOCAL)
        sources = {
            "features": digest({**made.sources, **made.settings}),
            "classes": digest(classes),
            "pairs_sha256": sha256_of(require_file(pairs_path, "pairs")) if str(pairs_path) else "",
        }
        settings = {name: value for name, value in training.values().items() if name in _OF_RESULT}
        wanted = Provenance(made.weights, made.encoder, {**settings, "seed": run.seed}, sources)
        if not is_made(output, wanted, lambda path: load_matcher(path, "output").provenance, run.overwrite):
            meant = {"weights": made.weights, "encoder": digest(made.encoder)}
            folder = RunFolder(run, Section(), training, {**sources, **meant})
            with folder.locked():
                photos = Photos(source, classes, training.num_descriptors)
                last = folder.finished() or _run(photos, pairs_path, folder, run, training)
                checkpoint = folder.best_checkpoint() or last
                notes = {"checkpoint": checkpoint.name, "labels": len(classes), "photos": len(photos.names)}
                save_matcher(output, _read(checkpoint, training, dataclasses.replace(wanted, notes=notes)))
            logger.info("%s: the weights of %s", output, checkpoint.name)
    return load_matcher(output, "output")


def _run(photos: Photos, pairs_path: PathLike, folder: RunFolder, run: RunConfig, training: MatcherTraining) -> Path:
    """Make the remaining steps; the last checkpoint."""
    train, validation = split_pairs(photos, pairs_path, run.seed)
    counts = (len(np.unique(photos.labels)), len(train.photos), len(validation.photos))
    info = DatasetInfo(photos.path, *counts, (), (), "")
    stream = MatchStream(training, info, photos, train, validation, run.seed)
    device = set_up_training_device(run.device_target, run.seed, training.amp_level)
    from .matcher_network import MatcherNet, MatchLosses
    from .schedule import Schedule
    from .step import TrainStep
    from .trainer import Trainer
    from .validation import Validation

    network = MatcherNet(photos.dimension)
    warmup = round(_WARMUP * training.max_iters)
    schedule = Schedule(training.initial_lr, training.max_iters, "cosine", warmup=warmup)
    step_cell = TrainStep(network, training, losses=MatchLosses(network), schedule=schedule)
    measures = Validation(MatchLosses(network), stream, device) if validation.source.num_queries else None
    with logging_redirect_tqdm():
        return Trainer(network, step_cell, device, folder, stream, measures).run_steps()


def _read(checkpoint: Path, training: MatcherTraining, provenance: Provenance) -> Matcher:
    """The matcher of a checkpoint."""
    fix = "give `overwrite` to train again"
    tensors = read_checkpoint(checkpoint, fix)
    with reading(checkpoint, fix):
        names = weight_shapes(tensors["project.weight"].shape[1])
        return Matcher({name: tensors[name] for name in names}, training.num_descriptors, provenance)
