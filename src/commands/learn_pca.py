"""Fit the PCA that reduces descriptors' dimensions, on photos or on a feature file extracted without a PCA."""

import argparse
import sys
from typing import Optional, Sequence

from ..config import ExtractionConfig, keys_of
from ..errors import UserError
from .command_line import NETWORK_KEYS, PCA_KEYS, Command, refuse_options

_EXTRACTION_KEYS = (*NETWORK_KEYS, "num_workers", *keys_of(ExtractionConfig, but=(*PCA_KEYS, "half")))


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images_path", default="", help="folder of photos; needs --checkpoint_path")
    parser.add_argument("--num_images", type=int, default=0, help="only so many photos, drawn at random (default: all)")
    parser.add_argument("--features", default="", help="instead: feature file of raw descriptors")
    parser.add_argument("--output", default="pca.npz", help="PCA to write (default: %(default)s)")
    parser.add_argument("--dim", type=int, default=None, help="dimensions to keep (default: the recipe's pca_dim, 40)")


COMMAND = Command(
    __doc__, "--images_path photos --checkpoint_path net.ckpt --output pca.npz --dim 40",
    keys=(*_EXTRACTION_KEYS, "pca_dim", "overwrite"),
    shown=(
        "images_path", "num_images", "features", "output", "dim", "checkpoint_path", "image_scales", "max_image_size",
        "max_feature_num", "overwrite",
    ),
    add_arguments=_arguments,
)  # fmt: skip


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Parse and fit."""
    argv = list(sys.argv[1:] if argv is None else argv)
    config, arguments = COMMAND.parse(argv)
    if arguments.dim is not None:
        refuse_options(argv, ("pca_dim",), "and --dim both say how many dimensions to keep: give one of them")
    dim = config.extraction.pca_dim if arguments.dim is None else arguments.dim
    if dim < 1:
        raise UserError(f"--dim is {dim}; it must be above 0")
    if bool(arguments.features) == bool(arguments.images_path):
        raise UserError("give one of --features, a feature file, and --images_path, a folder of photos")
    from ..features.extraction import photos_of_folder
    from ..features.learn_pca import learn_pca, learn_pca_from_photos

    if arguments.features:
        refuse_options(argv, (*_EXTRACTION_KEYS, "num_images"), "has no effect together with --features: leave it out")
        learn_pca(arguments.features, arguments.output, dim, config.run.overwrite)
        return
    photos = photos_of_folder(arguments.images_path, arguments.num_images, config.run.seed)
    learn_pca_from_photos(photos, arguments.output, dim, config.run, config.model, config.extraction)
