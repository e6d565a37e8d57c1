"""The random baseline: what retrieval scores when chance orders the photos."""

from pathlib import Path
from typing import Sequence

import numpy as np

from ..artifacts import PathLike, is_made
from ..features.feature_file import FeatureFile
from ..names import bare_name
from ..records import Ranking
from .index_folder import read_names, require_whole
from .ranking_file import load_ranking, require_ranking_name, save_ranking
from .search import describe_ranking


def rank_randomly(
    index: PathLike, query_features: PathLike, output: PathLike, seed: int = 0, overwrite: bool = False
) -> Path:
    """Write a random ranking of the same photos for the same queries as ``perform_retrieval`` would rank.

    Raises:
        UserError: unusable index or features, or another ranking stands at ``output``.
    """
    output, manifest = require_ranking_name(output), require_whole(index)
    photos = [bare_name(name) for name in read_names(index)]
    with FeatureFile(query_features, "query_features") as queries:
        names = queries.names
        wanted = describe_ranking({"baseline": "random", "seed": seed}, manifest.provenance, queries)
    if not is_made(output, wanted, lambda path: load_ranking(path)[1], overwrite):
        save_ranking(output, random_ranking(names, photos, seed), wanted)
    return output


def random_ranking(query_names: Sequence[str], index_names: Sequence[str], seed: int = 0) -> Ranking:
    """Rank the index photos in random order for each query; scores fall evenly from 1 to above 0."""
    generator = np.random.default_rng(seed)
    count = len(index_names)
    ranks = [generator.permutation(count) for _ in query_names]
    scores = np.tile(1 - np.arange(count) / max(count, 1), (len(query_names), 1))
    return Ranking(query_names, index_names, np.reshape(ranks, (len(query_names), count)), scores)
