"""Train a matcher of local descriptors: it learns from a feature file which pairs of photos show the same place.

--rerank learned then ranks photos by its soft votes. A run that was stopped goes on where it was, in --save_ckpt.
"""

import argparse
from pathlib import Path
from typing import Optional, Sequence

from .command_line import Command

_KEYS = (
    "max_iters", "initial_lr", "eval_steps", "save_ckpt", "save_ckpt_step", "keep_checkpoint_max", "resume",
    "report_steps", "clip_norm", "tensorboard", "optimizer",
)  # fmt: skip


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--features", required=True, help="feature file with local features of the photos (.h5)")
    parser.add_argument(
        "--labels", default="",
        help="labels of its photos: a .csv of path,label, a folder with a sub-folder for each label, or a data set "
        "(default: the first folder of a photo's name)",
    )  # fmt: skip
    parser.add_argument(
        "--pairs", default="",
        help="pairs of photos of the same place, a csv as of mine_pairs (default: any two photos of a label)",
    )  # fmt: skip
    parser.add_argument("--output", type=Path, default=Path("matcher.npz"), help="file to write (default: matcher.npz)")
    parser.add_argument("--onnx", type=Path, help="write the matcher as ONNX too (.onnx)")
    parser.add_argument(
        "--num_descriptors", type=int, default=300, help="best descriptors of a photo that take part (default: 300)"
    )
    parser.add_argument("--pairs_a_step", type=int, default=16, help="half of them of the same place (default: 16)")


COMMAND = Command(
    __doc__, "--features train.h5 --pairs pairs.csv --output matcher.npz",
    keys=(*_KEYS, "device_target", "seed", "overwrite"),
    shown=(
        "features", "labels", "pairs", "output", "onnx", "num_descriptors", "pairs_a_step", "max_iters", "initial_lr",
        "save_ckpt", "eval_steps", "overwrite",
    ),
    add_arguments=_arguments,
    defaults={
        "max_iters": 1000, "initial_lr": 1e-3, "eval_steps": 100, "save_ckpt": "matcher_run", "save_ckpt_step": 100,
        "keep_checkpoint_max": 1, "optimizer": "adam",
    },
)  # fmt: skip


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Parse, read the labels, train, and export on request."""
    config, arguments = COMMAND.parse(argv)
    from ..data.photo_labels import label_photos
    from ..features.feature_file import FeatureFile
    from ..training.matcher_stage import MatcherTraining, train_matcher

    training = MatcherTraining(
        num_descriptors=arguments.num_descriptors, batch_size=arguments.pairs_a_step,
        **{name: getattr(config.training, name) for name in _KEYS},
    )  # fmt: skip
    with FeatureFile(arguments.features, "features") as source:
        classes = label_photos(source.names, arguments.labels)
    matcher = train_matcher(arguments.features, classes, arguments.output, config.run, training, arguments.pairs)
    if arguments.onnx:
        from ..matching.matcher_onnx import export_matcher

        export_matcher(arguments.onnx, matcher)
    print(f"{arguments.output}: a matcher for descriptors of {matcher.dimension} numbers")
