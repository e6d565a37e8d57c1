"""Fit the PCA that shortens descriptors, on a folder of photos or on a feature file extracted without a PCA."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.commands.command_line import parse_command_line, run_command
from src.errors import UserError


def _arguments(parser) -> None:
    parser.add_argument("--features", default="", help="feature file of raw descriptors (extracted with no pca_path)")
    parser.add_argument("--images_path", default="", help="instead: folder of photos; needs --checkpoint_path")
    parser.add_argument("--num_images", type=int, default=0, help="only so many photos, drawn at random (default: all)")
    parser.add_argument("--output", default="pca.npz", help="PCA to write (default: %(default)s)")
    parser.add_argument("--dim", type=int, default=None, help="dimensions to keep (default: the recipe's pca_dim, 40)")


def main(argv=None) -> None:
    config, arguments = parse_command_line(__doc__, ("run", "model", "extraction"), _arguments, argv)
    dim = config.pca_dim if arguments.dim is None else arguments.dim
    if dim < 1:
        raise UserError(f"--dim is {dim}; it must be above 0")
    if bool(arguments.features) == bool(arguments.images_path):
        raise UserError("give one of --features, a feature file, and --images_path, a folder of photos")
    if arguments.num_images < 0:
        raise UserError(f"--num_images is {arguments.num_images}; give a number above 0, or 0 for all")
    from src.features.learn_pca import learn_pca, learn_pca_from_photos
    from src.features.photos import photos_of_folder

    if arguments.features:
        learn_pca(arguments.features, arguments.output, dim, config.overwrite)
    else:
        photos = photos_of_folder(arguments.images_path, arguments.num_images, config.seed)
        learn_pca_from_photos(photos, arguments.output, dim, config)


if __name__ == "__main__":
    run_command(main)
