"""Draw where the attention of two networks lies over the same photos, such as before and after training."""

import argparse
from typing import Optional, Sequence

from ..errors import UserError
from .command_line import NETWORK_KEYS, Command


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images_path", required=True, help="folder of photos")
    parser.add_argument("--compared_checkpoint_path", required=True, help="the second checkpoint, as --checkpoint_path")
    parser.add_argument("--num_images", type=int, default=6, help="photos drawn at random; 0 = all (default: 6)")
    parser.add_argument("--output_image", default="attention.png", help="picture to write (default: %(default)s)")


COMMAND = Command(
    __doc__, "--images_path photos --checkpoint_path imagenet.h5 --compared_checkpoint_path trained.ckpt",
    keys=(*NETWORK_KEYS, "image_scales", "max_image_size", "min_image_size", "resize_factor", "use_square_images"),
    shown=(
        "images_path", "checkpoint_path", "compared_checkpoint_path", "num_images", "output_image", "image_scales",
        "max_image_size", "engine", "seed",
    ),
    add_arguments=_arguments,
)  # fmt: skip


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Parse and draw."""
    config, arguments = COMMAND.parse(argv)
    if arguments.num_images < 0:
        raise UserError("--num_images is 0 or more")
    from ..artifacts import require_file
    from ..features.attention_picture import compare_attention
    from ..replaceable import require_picture_place

    require_picture_place(arguments.output_image)
    second = require_file(arguments.compared_checkpoint_path, "compared_checkpoint_path")
    sections = config.run, config.model, config.extraction
    count = compare_attention(arguments.images_path, arguments.output_image, *sections, second, arguments.num_images)
    print(f"{arguments.output_image}: {count} photos")
