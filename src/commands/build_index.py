"""Build the index of one or several feature files, for retrieval, or add photos to an index."""

import argparse
from typing import Optional, Sequence

from ..retrieval_config import INDEX_KEYS, REGION_KEYS
from .command_line import Command, refuse_options

_KEYS = ("searcher", *INDEX_KEYS, "seed", "overwrite")
_SHOWN = (
    "features", "output", "add", "searcher", "index_type", "codebook_path", "codebook_size", "regions", "boxes_path",
    "seed", "overwrite",
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
    shown=_SHOWN,
    add_arguments=_arguments,
)


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Build or add, and print the index's size."""
    config, arguments = COMMAND.parse(argv)
    retrieval, run = config.retrieval, config.run
    if arguments.add:
        why = "has no effect with --add, which keeps the index and its training: leave it out"
        refuse_options(argv, [name for name in _KEYS if name != "boxes_path"], why)
    from ..retrieval.build import add_to_index, build_index
    from ..retrieval.index_folder import describe_size, read_manifest
    from ..retrieval.rerank import idle_index_keys

    if arguments.add:
        if read_manifest(arguments.output).provenance.settings.get("regions") != "boxes":
            refuse_options(argv, ("boxes_path",), "has no effect on this index, whose regions are not of boxes")
        add_to_index(arguments.features, arguments.output, retrieval.boxes_path)
    else:
        idle = idle_index_keys(retrieval, retrieval.searcher)
        how = f"has no effect with --searcher {retrieval.searcher}"
        refuse_options(argv, [name for name in idle if name not in REGION_KEYS], f"{how}: leave it out")
        refuse_options(argv, idle, f"{how} and --regions {retrieval.regions}: leave it out")
        settings = retrieval.index_type, run.seed, run.overwrite, retrieval.searcher, retrieval
        build_index(arguments.features, arguments.output, *settings)
    print(f"{arguments.output}: {describe_size(arguments.output)}")
