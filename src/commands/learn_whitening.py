"""Fit the whitening of global descriptors on a feature file: by PCA, or learned from pairs of photos."""

import argparse
import sys
from typing import Optional, Sequence

from .command_line import Command, refuse_options

_OF_METHOD = {"pca": ("whiten_power", "shrinkage"), "learned": ("pairs", "ridge")}


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--features", required=True, help="feature file with global descriptors, not whitened")
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
        "--pairs", default="", help="learned: csv file a,b of photo names (default: photos of the same folder)"
    )
    parser.add_argument(
        "--ridge", type=float, default=0.0,
        help="learned: share of the mean variance added to each; 0.1 for few pairs (default: 0, as cirtorch)",
    )  # fmt: skip


COMMAND = Command(
    __doc__, "--features train.h5 --method pca --whiten_power 0.25 --dim 512 --output whitening.npz",
    keys=("overwrite",),
    shown=("output", "method", "dim", "whiten_power", "shrinkage", "pairs", "ridge", "overwrite"),
    add_arguments=_arguments,
)  # fmt: skip


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Parse and fit."""
    argv = list(sys.argv[1:] if argv is None else argv)
    config, arguments = COMMAND.parse(argv)
    for method, names in _OF_METHOD.items():
        if method != arguments.method:
            refuse_options(argv, names, f"has no effect without --method {method}: leave it out")
    from ..features.learn_whitening import learn_whitening

    learn_whitening(
        arguments.features, arguments.output, arguments.method, arguments.dim, arguments.whiten_power,
        arguments.shrinkage, arguments.pairs, arguments.ridge, config.run.overwrite,
    )  # fmt: skip
