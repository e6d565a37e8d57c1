"""Rank the photos of an index at random for every query: the baseline that any retrieval must beat."""

import argparse
from typing import Optional, Sequence

from .command_line import Command


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--index", required=True, help="index folder made by build_index")
    parser.add_argument("--query_features", required=True, help="feature file of the queries (.h5)")
    parser.add_argument("--output", default="ranks_random.npz", help="ranking file to write (default: %(default)s)")


COMMAND = Command(
    __doc__,
    "--index index --query_features query_features.h5 --output ranks_random.npz",
    keys=("seed", "overwrite"),
    shown=("index", "query_features", "output", "seed", "overwrite"),
    add_arguments=_arguments,
)


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Rank."""
    config, arguments = COMMAND.parse(argv)
    from ..retrieval.baseline import rank_randomly

    run = config.run
    rank_randomly(arguments.index, arguments.query_features, arguments.output, run.seed, run.overwrite)
