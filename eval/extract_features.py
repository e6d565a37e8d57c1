"""Extract local features of photos, or of the queries of a ground truth, into an HDF5 file.

Run the same command again after a kill: it goes on. Photos that cannot be used are left out with a warning, which does
not change the exit status; OUTPUT.failed.txt lists them with the reasons.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.commands.command_line import parse_command_line, run_command
from src.device import parse_devices
from src.errors import UserError
from src.evaluation.protocols import PROTOCOLS
from src.evaluation.ground_truth import BY_NAMES


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
        help="how queries are chosen and cropped (default: modelzoo for a text folder, for a file the one it belongs "
        "to); holidays and ukbench need no --gt_path",
    )
    parser.add_argument("--name_prefix", default="", help="put before the photos' names, such as distractors/")
    parser.add_argument(
        "--shard", default="", help="only a part of the photos, 2/8 = the second of eight, for several machines"
    )
    parser.add_argument(
        "--devices", default="0", help="device ids such as 0, 01 or 03, one worker each (default: %(default)s)"
    )


def _choose_photos(arguments, seed: int) -> tuple:
    """The photos asked for and the protocol that cropped them, '' for none."""
    from src.features.photos import photos_of_folder, photos_of_list, photos_of_queries

    by_truth = bool(arguments.gt_path) or arguments.protocol in BY_NAMES
    if arguments.protocol and not by_truth:
        raise UserError("--protocol says how queries are cropped; give it together with --gt_path")
    ways = ["gt_path" if arguments.gt_path else "protocol"] if by_truth else []
    ways += [name for name in ("list_images_path", "num_images") if getattr(arguments, name)]
    if len(ways) > 1:
        raise UserError(f"--{ways[0]} and --{ways[1]} both choose the photos; give one of them")
    if arguments.name_prefix and by_truth:
        raise UserError("--name_prefix goes with no ground truth: queries keep the names that they have there")
    if by_truth:
        return photos_of_queries(arguments.images_path, arguments.gt_path, arguments.protocol)
    if arguments.list_images_path:
        return photos_of_list(arguments.images_path, arguments.list_images_path), ""
    return photos_of_folder(arguments.images_path, arguments.num_images, seed), ""


def main(argv=None) -> None:
    config, arguments = parse_command_line(__doc__, ("run", "model", "extraction"), _arguments, argv)
    devices = parse_devices(arguments.devices)
    if arguments.num_images < 0:
        raise UserError(f"--num_images is {arguments.num_images}; give a number above 0, or 0 for all")
    from src.features.extract_to_file import extract_to_file
    from src.features.photos import with_prefix

    photos, protocol = _choose_photos(arguments, config.seed)
    photos = with_prefix(photos, arguments.name_prefix)
    extract_to_file(photos, protocol, arguments.output, config, devices, shard=arguments.shard)


if __name__ == "__main__":
    run_command(main)
