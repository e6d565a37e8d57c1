"""Copy a folder of photos and turn those that a list names.

Some photos of Holidays lie on their side; that benchmark is often judged with these made upright.
"""

import argparse
from typing import Optional, Sequence

from .command_line import Command


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images_path", required=True, help="folder of photos")
    parser.add_argument(
        "--list_path",
        required=True,
        help="text file, a photo a line: its name, and the degrees counter-clockwise (90, 180, 270) to turn it upright",
    )
    parser.add_argument("--output", required=True, help="folder to make")


COMMAND = Command(
    __doc__,
    "--images_path holidays/jpg --list_path sideways.txt --output holidays/upright",
    keys=("overwrite",),
    shown=("images_path", "list_path", "output", "overwrite"),
    add_arguments=_arguments,
)


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Parse, copy and print."""
    config, arguments = COMMAND.parse(argv)
    from ..evaluation.upright import rotate_photos  # imports OpenCV

    turned = rotate_photos(arguments.images_path, arguments.list_path, arguments.output, config.run.overwrite)
    print(f"{arguments.output}: {turned} photos turned")
