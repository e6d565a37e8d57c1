"""The honest baseline: what retrieval scores when it knows nothing."""

from typing import Sequence

import numpy as np

from src.records import Ranking


def random_ranking(query_names: Sequence[str], index_names: Sequence[str], seed: int = 0) -> Ranking:
    """Rank the index photos in random order for each query; scores fall evenly from 1 to above 0."""
    generator = np.random.default_rng(seed)
    count = len(index_names)
    ranks = [generator.permutation(count) for _ in query_names]
    scores = np.tile(1 - np.arange(count) / max(count, 1), (len(query_names), 1))
    return Ranking(query_names, index_names, np.reshape(ranks, (len(query_names), count)), scores)
