"""Draw the keypoints and the attention of photos, one PNG each."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.commands.command_line import parse_command_line, run_command
from src.errors import UserError


def _arguments(parser) -> None:
    parser.add_argument("--images_path", required=True, help="folder of photos")
    parser.add_argument("--features", default="", help="feature file: its keypoints, instead of newly extracted ones")
    parser.add_argument("--output", default="features", help="folder for the pictures (default: %(default)s)")
    parser.add_argument("--num_images", type=int, default=0, help="only so many photos, drawn at random (default: all)")
    parser.add_argument("--num_shown", type=int, default=200, help="keypoints drawn, strongest first (default: 200)")


def main(argv=None) -> None:
    config, arguments = parse_command_line(__doc__, ("run", "model", "extraction"), _arguments, argv)
    if not (arguments.features or config.checkpoint_path):
        raise UserError("give --checkpoint_path to extract the features, or --features to draw those of a file")
    if arguments.num_images < 0 or arguments.num_shown < 0:
        raise UserError("--num_images and --num_shown are 0 or more")
    from src.features.visualize import visualize

    count = visualize(
        arguments.images_path, arguments.output, config, arguments.features, arguments.num_images, arguments.num_shown
    )
    print(f"{arguments.output}: {count} pictures")


if __name__ == "__main__":
    run_command(main)
