"""Copy a folder of photos and turn those that a list names, such as the sideways photos of Holidays."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.commands.command_line import parse_command_line, run_command


def _arguments(parser) -> None:
    parser.add_argument("--images_path", required=True, help="folder of photos")
    parser.add_argument(
        "--list_path",
        required=True,
        help="text file, a photo a line: its name, and the degrees counter-clockwise (90, 180, 270) to turn it upright",
    )
    parser.add_argument("--output", required=True, help="folder to make")


def main(argv=None) -> None:
    config, arguments = parse_command_line(__doc__, (), _arguments, argv)
    from src.evaluation.upright import rotate_photos

    turned = rotate_photos(arguments.images_path, arguments.list_path, arguments.output, config.overwrite)
    print(f"{arguments.output}: {turned} photos turned")


if __name__ == "__main__":
    run_command(main)
