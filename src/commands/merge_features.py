"""Merge feature files: the shards of one extraction, or different folders extracted alike."""

import argparse
from typing import Optional, Sequence

from .command_line import Command


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--features", required=True, nargs="+", metavar="FILE", help="feature files to merge")
    parser.add_argument("--output", required=True, help="feature file to write")


COMMAND = Command(
    __doc__,
    "--features part1.h5 part2.h5 --output features.h5",
    keys=("overwrite",),
    shown=("features", "output", "overwrite"),
    add_arguments=_arguments,
)


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Parse and merge."""
    config, arguments = COMMAND.parse(argv)
    from ..features.merge import merge_features

    merge_features(arguments.features, arguments.output, config.run.overwrite)
