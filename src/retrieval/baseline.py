"""The honest baseline: what retrieval scores when it knows nothing."""

from pathlib import Path
from typing import Sequence

import numpy as np

from ..artifacts import PathLike, sha256_of
from ..config import Config
from ..features.feature_file import FeatureFile
from ..records import Ranking
from .index import load_index
from .perform import is_made
from .ranking_file import save_ranking


def rank_randomly(index: PathLike, query_features: PathLike, output: PathLike, config: Config) -> Path:
    """Write a random ranking of the same photos for the same queries as ``perform_retrieval`` would rank.

    Raises:
        UserError: unusable index or features, or another ranking stands at ``output``.
    """
    photos = load_index(index)
    with FeatureFile(query_features, "query_features") as queries:
        names = queries.names
    provenance = {
        "baseline": "random",
        "seed": config.seed,
        "features_sha256": photos.provenance["features_sha256"],
        "query_features_sha256": sha256_of(query_features),
    }
    if not is_made(Path(output), provenance, config.overwrite):
        save_ranking(output, random_ranking(names, photos.names, config.seed), provenance)
    return Path(output)


def random_ranking(query_names: Sequence[str], index_names: Sequence[str], seed: int = 0) -> Ranking:
    """Rank the index photos in random order for each query; scores fall evenly from 1 to above 0."""
    generator = np.random.default_rng(seed)
    count = len(index_names)
    ranks = [generator.permutation(count) for _ in query_names]
    scores = np.tile(1 - np.arange(count) / max(count, 1), (len(query_names), 1))
    return Ranking(query_names, index_names, np.reshape(ranks, (len(query_names), count)), scores)
