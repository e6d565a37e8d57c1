"""Build the index of one or several feature files, for retrieval, or add photos to an index."""

import argparse
from typing import Optional, Sequence

from .command_line import Command, refuse_options

_KEYS = (
    "searcher", "index_type", "codebook_path", "codebook_size", "index_assignments", "asmk_family", "seed", "overwrite",
)  # fmt: skip


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--features", required=True, nargs="+", help="feature files (.h5) of the index photos, all of the same settings"
    )
    parser.add_argument("--output", required=True, help="index folder to make, or with --add to add to")
    parser.add_argument("--add", action="store_true", help="add the photos to the index that stands at --output")


COMMAND = Command(
    __doc__,
    "--features index_features.h5 --output index",
    keys=_KEYS,
    shown=("features", "output", "add", *_KEYS),
    add_arguments=_arguments,
)


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Build or add, and print the index's size."""
    config, arguments = COMMAND.parse(argv)
    if arguments.add:
        refuse_options(argv, _KEYS, "has no effect with --add, which keeps the index and its training: leave it out")
    from ..retrieval.build import add_to_index, build_index
    from ..retrieval.index_folder import describe_size
    from ..retrieval.rerank import idle_index_keys

    if arguments.add:
        add_to_index(arguments.features, arguments.output)
    else:
        retrieval, run = config.retrieval, config.run
        idle = idle_index_keys(retrieval, retrieval.searcher)
        refuse_options(argv, idle, f"has no effect with --searcher {retrieval.searcher}: leave it out")
        how = retrieval.index_type, run.seed, run.overwrite, retrieval.searcher, retrieval
        build_index(arguments.features, arguments.output, *how)
    print(f"{arguments.output}: {describe_size(arguments.output)}")
