"""Match two photos by their extracted features: prints the counts and draws the inliers."""

import json
import sys
from pathlib import Path
from typing import Tuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.artifacts import require_file
from src.commands.command_line import parse_command_line, run_command
from src.errors import UserError


def _arguments(parser) -> None:
    parser.add_argument("--images_path", required=True, help="folder of the photos")
    parser.add_argument(
        "--list_images_path", default="list_images.txt", help="text file: the two photos, a line each (%(default)s)"
    )
    parser.add_argument("--image_a", help="first photo, instead of the list; relative to images_path")
    parser.add_argument("--image_b", help="second photo")
    parser.add_argument("--features", required=True, help="feature file that holds both photos (.h5)")
    parser.add_argument("--output_image", default="eval_match.png", help="picture to write (default: %(default)s)")
    parser.add_argument("--show_outliers", action="store_true", help="draw the rejected correspondences too, in grey")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def _photo_names(arguments) -> Tuple[str, str]:
    if arguments.image_a and arguments.image_b:
        return arguments.image_a, arguments.image_b
    if arguments.image_a or arguments.image_b:
        raise UserError("--image_a and --image_b go together")
    path = require_file(arguments.list_images_path, "list_images_path")
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if len(lines) != 2:
        raise UserError(f"{path}: {len(lines)} lines; it must name two photos, one a line")
    return lines[0], lines[1]


def main(argv=None) -> None:
    config, arguments = parse_command_line(__doc__, ("run", "matching"), _arguments, argv)
    names = _photo_names(arguments)
    from src.matching.match import match_photos  # imports OpenCV and h5py, which --help does not need

    matches = match_photos(
        arguments.images_path, names, arguments.features, arguments.output_image, config, arguments.show_outliers
    )
    if arguments.json:
        result = {
            "image_a": names[0],
            "image_b": names[1],
            "correspondences": len(matches),
            "inliers": matches.num_inliers,
            "affine": None if matches.affine is None else matches.affine.tolist(),
            "output_image": arguments.output_image,
        }
        print(json.dumps(result))
    else:
        print(f"{len(matches)} correspondences, {matches.num_inliers} inliers")


if __name__ == "__main__":
    run_command(main)
