"""Build the index of one or several feature files, for retrieval; add photos to one, or remove some."""

import argparse
from typing import Optional, Sequence

from ..config import Config
from ..errors import UserError
from ..retrieval_config import INDEX_KEYS, REGION_KEYS
from .command_line import Command, refuse_options

_KEYS = ("searcher", *INDEX_KEYS, "seed", "overwrite")
_SHOWN = (
    "features", "output", "num_shards", "add", "remove", "compact", "searcher", "index_type", "codebook_path",
    "regions", "overwrite",
)  # fmt: skip


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--features", nargs="+", default=[], help="feature files (.h5) of the index photos, all of the same settings"
    )
    parser.add_argument("--output", required=True, help="index folder to make, or with --add ... to change")
    parser.add_argument("--num_shards", type=int, default=0, help="shards that the index has; 0 = one piece")
    parser.add_argument("--shard_photos", type=int, default=0, help="in place of --num_shards: photos of a shard")
    parser.add_argument("--add", action="store_true", help="add the photos to the index that stands at --output")
    parser.add_argument("--remove", metavar="FILE", help="leave photos out of that index, whose names are its lines")
    parser.add_argument("--compact", action="store_true", help="make the shards of that index alike in size")


COMMAND = Command(
    __doc__,
    "--features index_features.h5 --output index",
    keys=_KEYS,
    shown=_SHOWN,
    add_arguments=_arguments,
)


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Build or change, and print the index's size."""
    config, arguments = COMMAND.parse(argv)
    changes = [name for name in ("add", "remove", "compact") if getattr(arguments, name)]
    if len(changes) > 1:
        raise UserError(f"--{changes[0]} and --{changes[1]}: give one at a time")
    if changes:
        _change(argv, config, arguments, changes[0])
    else:
        _build(argv, config, arguments)
    from ..retrieval.index_folder import describe_size

    print(f"{arguments.output}: {describe_size(arguments.output)}")


def _build(argv: Optional[Sequence[str]], config: Config, arguments: argparse.Namespace) -> None:
    _require_features(arguments)
    if arguments.num_shards and arguments.shard_photos:
        raise UserError("--num_shards and --shard_photos: each follows from the other; give one")
    from ..retrieval.build import build_index
    from ..retrieval.rerank import idle_index_keys

    retrieval, run = config.retrieval, config.run
    idle = idle_index_keys(retrieval, retrieval.searcher)
    how = f"has no effect with --searcher {retrieval.searcher}"
    refuse_options(argv, [name for name in idle if name not in REGION_KEYS], f"{how}: leave it out")
    refuse_options(argv, idle, f"{how} and --regions {retrieval.regions}: leave it out")
    settings = retrieval.index_type, run.seed, run.overwrite, retrieval.searcher, retrieval
    build_index(arguments.features, arguments.output, *settings, arguments.shard_photos, arguments.num_shards)


def _change(argv: Optional[Sequence[str]], config: Config, arguments: argparse.Namespace, change: str) -> None:
    why = f"has no effect with --{change}, which keeps the index and its training: leave it out"
    refuse_options(argv, [name for name in _KEYS if name != "boxes_path"], why)
    refuse_options(argv, ("num_shards", *(() if change == "compact" else ("shard_photos",))), why)
    if change == "add":
        _require_features(arguments)
    else:
        refuse_options(argv, ("features",), f"has no effect with --{change}, which knows them: leave it out")
    from ..retrieval.build import add_to_index, compact_index, remove_from_index
    from ..retrieval.index_folder import read_manifest

    boxes_path = config.retrieval.boxes_path
    if read_manifest(arguments.output).provenance.settings.get("regions") != "boxes":
        refuse_options(argv, ("boxes_path",), "has no effect on this index, whose regions are not of boxes")
    if change == "add":
        add_to_index(arguments.features, arguments.output, boxes_path)
    elif change == "remove":
        remove_from_index(arguments.remove, arguments.output, boxes_path)
    else:
        compact_index(arguments.output, arguments.shard_photos, boxes_path)


def _require_features(arguments: argparse.Namespace) -> None:
    if not arguments.features:
        raise UserError("`features` is not set: give one or several feature files")
