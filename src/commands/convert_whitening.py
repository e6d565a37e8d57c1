"""Write the whitening that a checkpoint of dirtorch or cirtorch carries as a whitening file."""

import argparse
from typing import Optional, Sequence

from .command_line import Command


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", required=True, help="checkpoint of dirtorch (.pt) or cirtorch (.pth)")
    parser.add_argument(
        "--whitening", default="",
        help="which, by the name of its data, as Landmarks_clean, of cirtorch with /ss or /ms (default: the only one)",
    )  # fmt: skip
    parser.add_argument(
        "--whiten_power", type=float, default=0.5,
        help="dirtorch: power of the variances, 0 = rotation, 0.5 = whitening (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--dim", type=int, default=0, help="dimensions to keep (default: all)")
    parser.add_argument("--output", default="whitening.npz", help="whitening to write (default: %(default)s)")


COMMAND = Command(
    __doc__,
    "--weights Resnet101-AP-GeM.pt --whiten_power 0.25 --output whitening.npz",
    keys=("overwrite",),
    shown=("weights", "whitening", "whiten_power", "dim", "output", "overwrite"),
    add_arguments=_arguments,
)


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Parse and convert."""
    config, arguments = COMMAND.parse(argv)
    from ..features.foreign_whitening import convert_whitening

    convert_whitening(
        arguments.weights,
        arguments.output,
        arguments.whitening,
        arguments.whiten_power,
        arguments.dim,
        config.run.overwrite,
    )
