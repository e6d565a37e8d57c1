"""Learn the visual words of asmk and vlad from a feature file, for indexes that share them or are of other photos."""

import argparse
from typing import Optional, Sequence

from .command_line import Command

_KEYS = ("codebook_size", "seed", "overwrite")


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--features", required=True, help="feature file with local features (.h5)")
    parser.add_argument("--output", default="codebook.npz", help="codebook to write (default: %(default)s)")


COMMAND = Command(
    __doc__,
    "--features features.h5 --output codebook.npz --codebook_size 16384",
    keys=_KEYS,
    shown=("features", "output", *_KEYS),
    add_arguments=_arguments,
)


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Learn, and print the number of words."""
    config, arguments = COMMAND.parse(argv)
    from ..retrieval.codebook import learn_codebook, load_codebook

    size = config.retrieval.codebook_size
    learn_codebook(arguments.features, arguments.output, size, config.run.seed, config.run.overwrite)
    words = load_codebook(arguments.output).words
    print(f"{arguments.output}: {len(words)} words of {words.shape[1]} numbers")
