"""Rank the photos of an index for every query: by local features or global descriptors, then --rerank."""

import argparse
from typing import Optional, Sequence

from ..config import MatchingConfig, RetrievalConfig, keys_of
from ..retrieval_config import INDEX_KEYS, SHARD_KEYS
from .command_line import Command, refuse_options, refuse_unused_tests


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--index", required=True, help="index folder made by build_index")
    parser.add_argument("--query_features", required=True, help="feature file of the queries (.h5)")
    parser.add_argument("--output", default="ranks.npz", help="ranking file to write (default: %(default)s)")


COMMAND = Command(
    __doc__, "--index index --query_features query_features.h5 --output ranks.npz",
    keys=(
        *keys_of(RetrievalConfig, MatchingConfig, but=(*INDEX_KEYS, "searcher", "match_distance")), "seed", "overwrite",
    ),
    shown=(
        "index", "query_features", "output", "num_neighbors", "search_distance", "rerank", "num_rerank",
        "correspondences", "ransac_residual", "search_threads", "overwrite",
    ),
    add_arguments=_arguments,
)  # fmt: skip


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Rank."""
    config, arguments = COMMAND.parse(argv)
    from ..retrieval.index_folder import read_manifest, searcher_of
    from ..retrieval.rerank import idle_keys
    from ..retrieval.search import perform_retrieval

    manifest = read_manifest(arguments.index)
    searcher, executor = searcher_of(manifest), config.retrieval.executor
    if not manifest.shards:
        refuse_options(argv, SHARD_KEYS, "has no effect on this index, which has no shards")
    if executor != "ray":
        refuse_options(argv, ("ray_address", "ray_actors"), f"has no effect with --executor {executor}")
    if searcher == "votes":
        refuse_unused_tests(argv, config.retrieval.correspondences)
    refuse_options(argv, idle_keys(config.retrieval, searcher), "has no effect on this index with this --rerank")
    perform_retrieval(
        arguments.index,
        arguments.query_features,
        arguments.output,
        config.retrieval,
        config.matching,
        config.run.seed,
        config.run.overwrite,
    )
