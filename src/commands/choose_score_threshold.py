"""Propose the attention score that keeps so many features a photo, and draw the histogram of a model's scores."""

import argparse
import sys
from typing import Any, Optional, Sequence

from ..config import MOST_FEATURES, Config, ExtractionConfig, keys_of
from ..errors import UserError
from .command_line import NETWORK_KEYS, PCA_KEYS, Command, refuse_options

_NOT_ALL = (*PCA_KEYS, "half", "score_threshold")
# what extraction alone uses, and how the network is run; which network it is matters to --save too
_EXTRACTION_KEYS = (
    *keys_of(ExtractionConfig, but=(*_NOT_ALL, "max_feature_num")), "num_workers", "engine", "precision",
    "device_target",
)  # fmt: skip
_IDENTITY_KEYS = tuple(name for name in NETWORK_KEYS if name not in (*_EXTRACTION_KEYS, "seed"))


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images_path", default="", help="folder of photos; needs --checkpoint_path")
    parser.add_argument("--num_images", type=int, default=200, help="photos drawn at random (default: 200; 0 = all)")
    parser.add_argument(
        "--features",
        default="",
        help="instead: feature file made with --score_threshold 0 and a large --max_feature_num",
    )
    parser.add_argument("--features_per_photo", type=float, default=300, help="features to keep (default: 300)")
    parser.add_argument("--output_image", default="score_threshold.png", help="histogram (default: %(default)s)")
    parser.add_argument(
        "--save", action="store_true", help="save the threshold beside --checkpoint_path, where extraction finds it"
    )


COMMAND = Command(
    __doc__, "--images_path photos --checkpoint_path net.ckpt --features_per_photo 300 --save",
    keys=(*NETWORK_KEYS, *keys_of(ExtractionConfig, but=_NOT_ALL), "num_workers", "overwrite"),
    shown=(
        "images_path", "num_images", "features", "features_per_photo", "output_image", "save", "checkpoint_path",
        "image_scales", "max_image_size", "max_feature_num", "overwrite",
    ),
    add_arguments=_arguments,
)  # fmt: skip


def _sample(config: Config, arguments: argparse.Namespace) -> Any:
    from ..features.extraction import photos_of_folder
    from ..features.score_threshold import scores_of_file, scores_of_photos

    seed, max_feature_num = config.run.seed, config.extraction.max_feature_num or MOST_FEATURES
    if arguments.features:
        return scores_of_file(arguments.features, max_feature_num, arguments.num_images, seed)
    photos = photos_of_folder(arguments.images_path, arguments.num_images, seed)
    return scores_of_photos(photos, config.run, config.model, config.extraction)


def _save(config: Config, arguments: argparse.Namespace, sample: Any, threshold: float) -> None:
    from ..engines import weights_identity
    from ..features.score_threshold import save_threshold

    if weights_identity(config.run, config.model) != sample.weights:
        raise UserError(f"{arguments.features}: made with another checkpoint than {config.model.checkpoint_path}")
    record = {
        "checkpoint_sha256": sample.weights,
        "score_threshold": threshold,
        "features_per_photo": arguments.features_per_photo,
        "num_photos": len(sample.scores),
    }
    print(f"saved: {save_threshold(config.model.checkpoint_path, record, config.run.overwrite)}")


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Parse, sample, draw, print and save."""
    argv = list(sys.argv[1:] if argv is None else argv)
    config, arguments = COMMAND.parse(argv)
    if bool(arguments.features) == bool(arguments.images_path):
        raise UserError("give one of --features, a feature file, and --images_path, a folder of photos")
    if arguments.num_images < 0 or not 0 < arguments.features_per_photo <= (
        config.extraction.max_feature_num or MOST_FEATURES
    ):
        raise UserError("--num_images is 0 or more, --features_per_photo above 0 and at most --max_feature_num")
    if arguments.save and not config.model.checkpoint_path:
        raise UserError("--save needs the checkpoint that the threshold is for: give --checkpoint_path")
    if arguments.features:
        refuse_options(argv, _EXTRACTION_KEYS, "has no effect together with --features: leave it out")
    if not arguments.save:
        refuse_options(argv, ("overwrite",), "has no effect without --save: leave it out")
        if arguments.features:
            refuse_options(argv, _IDENTITY_KEYS, "has no effect together with --features, without --save: leave it out")
    from ..features.drawing import draw_scores
    from ..replaceable import require_picture_place

    require_picture_place(arguments.output_image)
    sample = _sample(config, arguments)
    threshold = sample.threshold_for(arguments.features_per_photo)
    draw_scores(sample, threshold, arguments.output_image)
    print(f"{'threshold':>12}  {'features a photo':>16}  {'photos without':>14}")
    for row, features, without in sample.table(threshold):
        print(f"{row:12.6g}  {features:16.1f}  {without:14.1%}{'   <- proposed' if row == threshold else ''}")
    if threshold == 0:
        print(f"every score is kept: the photos have no {arguments.features_per_photo:g} features on average")
    print(f"histogram: {arguments.output_image}")
    if arguments.save:
        _save(config, arguments, sample, threshold)
