"""Features and index of a folder of one's own photos in one command; run again, it adds the photos that are new.

Photos longer than 1024 pixels are shrunk to that, unless --max_image_size says otherwise.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.commands.command_line import parse_command_line, run_command
from src.device import parse_devices

_MAX_IMAGE_SIZE = 1024  # of the reference's DELG recipes; cameras take photos that scale 2 of the pyramid cannot hold


def _arguments(parser) -> None:
    parser.add_argument("--images_path", required=True, help="folder of photos, searched with its sub-folders")
    parser.add_argument("--output", required=True, help="folder to make, for tools/search_images.py")
    parser.add_argument(
        "--devices", default="0", help="device ids such as 0, 01 or 03, one worker each (default: %(default)s)"
    )


def main(argv=None) -> None:
    config, arguments = parse_command_line(__doc__, ("run", "model", "extraction", "retrieval"), _arguments, argv)
    devices = parse_devices(arguments.devices)
    if config.max_image_size < 0:
        config = config.replace(max_image_size=_MAX_IMAGE_SIZE)
    from src.retrieval.build_collection import build_collection
    from src.retrieval.index import describe_size

    collection = build_collection(arguments.images_path, arguments.output, config, devices)
    print(f"{arguments.output}: {describe_size(collection.index)}")


if __name__ == "__main__":
    run_command(main)
