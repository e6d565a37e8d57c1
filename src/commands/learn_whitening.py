"""Fit the whitening of global descriptors: by PCA or from pairs of photos, or that of regions on photos."""

import argparse
import sys
from typing import Optional, Sequence

from ..errors import UserError
from .command_line import NETWORK_KEYS, Command, refuse_options

_OF_METHOD = {"pca": ("whiten_power", "shrinkage"), "learned": ("pairs", "ridge")}
_LIMITS = ("max_image_size", "min_image_size", "use_square_images", "resize_factor")
_NETWORK = (
    *NETWORK_KEYS, "num_workers", *_LIMITS,
    "pooling", "gem_p", "rmac_levels", "descriptor_layer", "global_scales",
)  # fmt: skip


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--features", default="", help="feature file with global descriptors, not whitened")
    parser.add_argument(
        "--images_path", default="",
        help="instead, for the whitening of regions: folder of photos; needs --checkpoint_path and --pooling, as rmac",
    )  # fmt: skip
    parser.add_argument("--num_images", type=int, default=0, help="only so many photos, drawn at random (default: all)")
    parser.add_argument("--output", default="whitening.npz", help="whitening to write (default: %(default)s)")
    parser.add_argument(
        "--method", choices=tuple(_OF_METHOD), default="pca",
        help="pca, or learned from pairs of photos of the same place (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--dim", type=int, default=0, help="dimensions to keep (default: as many as can be)")
    parser.add_argument(
        "--whiten_power", type=float, default=None,
        help="pca: power of the variances, 0 = rotation, 0.25, 0.5 = whitening, 1 (default: 0.5)",
    )  # fmt: skip
    parser.add_argument("--shrinkage", type=float, default=None, help="pca: instead, HOW's number, twice the power")
    parser.add_argument(
        "--pairs", default="",
        help="learned: csv file photo_a,photo_b as of mine_pairs, or retrieval-SfM-120k-whiten.pkl (default: photos of "
        "the same folder)",
    )  # fmt: skip
    parser.add_argument(
        "--ridge", type=float, default=0.0,
        help="learned: share of the mean variance added to each; 0.1 for few pairs (default: 0, as cirtorch)",
    )  # fmt: skip


COMMAND = Command(
    __doc__, "--features train.h5 --method pca --whiten_power 0.25 --dim 512 --output whitening.npz",
    keys=(*_NETWORK, "overwrite"),
    shown=(
        "features", "output", "method", "dim", "whiten_power", "shrinkage", "pairs", "ridge", "images_path", "pooling",
        "checkpoint_path", "overwrite",
    ),
    add_arguments=_arguments,
)  # fmt: skip


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Parse and fit."""
    argv = list(sys.argv[1:] if argv is None else argv)
    config, arguments = COMMAND.parse(argv)
    for method, names in _OF_METHOD.items():
        if method != arguments.method:
            refuse_options(argv, names, f"has no effect without --method {method}: leave it out")
    if bool(arguments.features) == bool(arguments.images_path):
        raise UserError("give one of --features, a feature file, and --images_path, a folder of photos")
    fitted = {"dim": arguments.dim, "power": arguments.whiten_power, "shrinkage": arguments.shrinkage}
    if arguments.features:
        refuse_options(argv, (*_NETWORK, "num_images"), "has no effect together with --features: leave it out")
        from ..features.learn_whitening import learn_whitening

        learn_whitening(
            arguments.features, arguments.output, arguments.method, pairs_path=arguments.pairs, ridge=arguments.ridge,
            overwrite=config.run.overwrite, **fitted,
        )  # fmt: skip
        return
    if arguments.method != "pca":
        raise UserError("--method learned takes whole photos, which --features has; give --method pca for regions")
    from ..features.extraction import photos_of_folder
    from ..features.learn_region_whitening import learn_region_whitening

    photos = photos_of_folder(arguments.images_path, arguments.num_images, config.run.seed)
    recipe = (config.run, config.model, config.extraction, config.descriptor)
    learn_region_whitening(photos, arguments.output, *recipe, **fitted)
