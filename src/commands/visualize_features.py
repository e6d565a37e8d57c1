"""Draw the keypoints and the attention of photos, one PNG each; or how much each region counts."""

import argparse
import sys
from typing import Optional, Sequence

from ..config import ExtractionConfig, keys_of
from ..errors import UserError
from .command_line import NETWORK_KEYS, PCA_KEYS, Command, refuse_options

_SELECTION_KEYS = ("max_feature_num", "score_threshold", "iou_threshold")
_EXTRACTION_KEYS = (
    *(name for name in NETWORK_KEYS if name != "seed"), *keys_of(ExtractionConfig, but=(*PCA_KEYS, "half")),
)  # fmt: skip


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images_path", required=True, help="folder of photos")
    parser.add_argument("--features", default="", help="feature file: its keypoints, instead of newly extracted ones")
    parser.add_argument("--output", default="features", help="folder for the pictures (default: %(default)s)")
    parser.add_argument("--num_images", type=int, default=0, help="only so many photos, drawn at random (default: all)")
    parser.add_argument(
        "--num_shown", type=int, help="strongest ones drawn (default: 200 keypoints, with --regions 5 regions)"
    )
    parser.add_argument(
        "--regions", action="store_true", help="draw regions, of a checkpoint of train --train_state regional_attention"
    )


COMMAND = Command(
    __doc__, "--images_path photos --checkpoint_path net.ckpt --output pictures --num_images 20",
    keys=(*_EXTRACTION_KEYS, "seed"),
    shown=(
        "images_path", "features", "output", "num_images", "num_shown", "regions", "checkpoint_path", "image_scales",
        "max_image_size", "max_feature_num",
    ),
    add_arguments=_arguments,
)  # fmt: skip


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Parse and draw."""
    argv = list(sys.argv[1:] if argv is None else argv)
    config, arguments = COMMAND.parse(argv)
    if not (arguments.features or config.model.checkpoint_path):
        raise UserError("give --checkpoint_path to extract the features, or --features to draw those of a file")
    if not config.model.checkpoint_path:
        why = "has no effect together with --features, without --checkpoint_path: leave it out"
        refuse_options(argv, _EXTRACTION_KEYS, why)
    if arguments.features:
        refuse_options(argv, _SELECTION_KEYS, "has no effect together with --features: leave it out")
    if arguments.regions:
        unused = ("features", "image_scales", "use_square_images", *_SELECTION_KEYS)
        refuse_options(argv, unused, "has no effect together with --regions: leave it out")
    num_shown = (5 if arguments.regions else 200) if arguments.num_shown is None else arguments.num_shown
    if arguments.num_images < 0 or num_shown < 0:
        raise UserError("--num_images and --num_shown are 0 or more")
    from ..artifacts import require_place
    from ..features.region_picture import visualize_regions
    from ..features.visualize import visualize

    require_place(arguments.output, "output", folder=True)
    counts = arguments.num_images, num_shown
    places, sections = (arguments.images_path, arguments.output), (config.run, config.model, config.extraction)
    if arguments.regions:
        count = visualize_regions(*places, *sections, *counts)
    else:
        count = visualize(*places, *sections, arguments.features, *counts)
    print(f"{arguments.output}: {count} pictures")
