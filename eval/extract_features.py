"""Extract local features of photos, or of the queries of a ground truth, into an HDF5 file."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.command import run_command
from src.config import parse_command_line
from src.errors import UserError
from src.evaluation.protocols import PROTOCOLS


def _arguments(parser) -> None:
    parser.add_argument("--images_path", required=True, help="folder of photos")
    parser.add_argument("--output", default="features.h5", help="feature file to write (default: %(default)s)")
    parser.add_argument("--list_images_path", default="", help="text file: only these photos, one relative path a line")
    parser.add_argument("--num_images", type=int, default=0, help="only so many photos, drawn at random (default: all)")
    parser.add_argument("--gt_path", default="", help="ground truth: only its queries, cropped as the protocol says")
    parser.add_argument(
        "--protocol",
        default="",
        choices=PROTOCOLS,
        help="how queries are cropped (default: revisited for a pickle, modelzoo for a folder)",
    )
    parser.add_argument(
        "--devices", default="0", help="device ids such as 0, 01 or 03, one worker each (default: %(default)s)"
    )


def _choose_photos(arguments, seed: int) -> tuple:
    """The photos asked for and the protocol that cropped them, '' for none."""
    from src.features.photos import photos_of_folder, photos_of_list, photos_of_queries

    ways = [name for name in ("gt_path", "list_images_path", "num_images") if getattr(arguments, name)]
    if len(ways) > 1:
        raise UserError(f"--{ways[0]} and --{ways[1]} both choose the photos; give one of them")
    if arguments.protocol and not arguments.gt_path:
        raise UserError("--protocol says how queries are cropped; give it together with --gt_path")
    if arguments.gt_path:
        return photos_of_queries(arguments.images_path, arguments.gt_path, arguments.protocol)
    if arguments.list_images_path:
        return photos_of_list(arguments.images_path, arguments.list_images_path), ""
    return photos_of_folder(arguments.images_path, arguments.num_images, seed), ""


def main(argv=None) -> None:
    config, arguments = parse_command_line(__doc__, ("run", "model", "extraction"), _arguments, argv)
    if not (arguments.devices.isascii() and arguments.devices.isdigit()):
        raise UserError(f"--devices is {arguments.devices!r}; give digits such as 0, 01 or 03")
    if arguments.num_images < 0:
        raise UserError(f"--num_images is {arguments.num_images}; give a number above 0, or 0 for all")
    from src.features.extract_to_file import extract_to_file

    photos, protocol = _choose_photos(arguments, config.seed)
    extract_to_file(photos, protocol, arguments.output, config, [int(digit) for digit in arguments.devices])


if __name__ == "__main__":
    run_command(main)
