"""Features and index of a folder of one's own photos in one command; run again, it follows what changed in the folder.

Photos longer than 1024 pixels are shrunk to that, unless --max_image_size or the recipe says otherwise.
"""

import argparse
from typing import Optional, Sequence

from ..config import ExtractionConfig, keys_of
from .command_line import NETWORK_KEYS, Command

_MAX_IMAGE_SIZE = 1024  # of the reference's DELG recipes; cameras take photos that scale 2 of the pyramid cannot hold


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images_path", required=True, help="folder of photos, searched with its sub-folders")
    parser.add_argument("--output", required=True, help="folder to make, for search_images")
    parser.add_argument(
        "--devices", default="0", help="device ids such as 0, 01 or 03, one worker each (default: %(default)s)"
    )


COMMAND = Command(
    __doc__, "--images_path photos --checkpoint_path delf.ckpt --output photo_index",
    keys=(*NETWORK_KEYS, *keys_of(ExtractionConfig), "index_type", "num_workers", "overwrite"),
    shown=(
        "images_path", "output", "devices", "checkpoint_path", "pca_path", "max_image_size", "max_feature_num",
        "engine", "num_workers", "overwrite",
    ),
    add_arguments=_arguments, defaults={"max_image_size": _MAX_IMAGE_SIZE},
)  # fmt: skip


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Build, and print the index's size."""
    config, arguments = COMMAND.parse(argv)
    from ..device import parse_devices
    from ..retrieval.index_folder import describe_size
    from ..retrieval.photo_index import build_photo_index

    devices, index_type = parse_devices(arguments.devices), config.retrieval.index_type
    files, sections = (arguments.images_path, arguments.output), (config.run, config.model, config.extraction)
    made = build_photo_index(*files, *sections, index_type, devices)
    print(f"{arguments.output}: {describe_size(made.index)}")
