"""Rank the photos of an index for each query: votes, then geometric verification of the best-voted."""

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Iterable, Tuple

import numpy as np
from tqdm import tqdm

from src.config import Config
from src.matching.verification import fit_affine
from src.records import LocalFeatures, Ranking
from src.retrieval.index import PhotoIndex
from src.retrieval.voting import Votes, cast_votes

MIN_CORRESPONDENCES = 4  # fewer agree with an affine map by construction (reference TF DELF)
SETTINGS = (
    "num_neighbors",
    "search_distance",
    "num_rerank",
    "ransac_method",
    "ransac_residual",
    "ransac_trials",
    "seed",
)  # keys of the recipe that a ranking depends on, besides those of its index and features

logger = logging.getLogger(__name__)


def search(index: PhotoIndex, queries: Iterable[Tuple[str, LocalFeatures]], config: Config) -> Ranking:
    """Rank all photos of the index for each (name, features) query; see ``rank_photos``."""
    names, ranks, scores = [], [], []
    for name, features in tqdm(queries, desc="retrieval", unit="query"):
        if not len(features):
            logger.warning("query %s has no features: the index photos are ranked by name", name)
        row_ranks, row_scores = rank_photos(index, features, config)
        names.append(name)
        ranks.append(row_ranks)
        scores.append(row_scores)
    shape = (len(names), len(index))
    return Ranking(names, index.names, np.reshape(ranks, shape), np.reshape(scores, shape))


def rank_photos(index: PhotoIndex, query: LocalFeatures, config: Config) -> Tuple[np.ndarray, np.ndarray]:
    """Rank all N photos of the index for one query.

    The ``num_rerank`` photos of most votes are verified, if they have 4 correspondences or more. Verified photos come
    first, by inliers then votes; the others follow by votes; remaining ties go by name.

    Returns:
        Photo numbers [N] int32, best first, and their scores [N] float32, falling: inliers + s for a verified photo and
        s - 1 for the others, where s = votes / (most votes + 1) lies in [0, 1). The whole part of a score that is not
        negative is thus the number of inliers.
    """
    votes = cast_votes(index, query, config.num_neighbors, config.search_distance)
    counts = votes.counts
    candidates = np.argsort(-counts, kind="stable")  # photos are numbered by name: ties stay in that order
    candidates = candidates[counts[candidates] >= MIN_CORRESPONDENCES]
    candidates = candidates[: config.num_rerank or None]
    scores = counts / (counts.max(initial=0) + 1) - 1
    scores[candidates] += 1 + _count_inliers(index, query, votes, candidates, config)
    ranks = np.argsort(-scores, kind="stable")
    return ranks.astype(np.int32), scores[ranks].astype(np.float32)


def _count_inliers(
    index: PhotoIndex, query: LocalFeatures, votes: Votes, photos: np.ndarray, config: Config
) -> np.ndarray:
    """Inliers [len(photos)] of the affine map from each photo to the query (the direction of reference TF DELF)."""

    def verify_pair(photo: int) -> int:
        query_rows, index_rows = votes.correspondences(photo)
        _, inliers = fit_affine(
            index.keypoints[index_rows],
            query.keypoints[query_rows],
            config.ransac_method,
            config.ransac_residual,
            config.ransac_trials,
            config.seed,  # the same for each pair: a pair's result depends on nothing else
        )
        return int(inliers.sum())

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # OpenCV's RANSAC releases the GIL
        return np.array(list(pool.map(verify_pair, photos)), np.int64)
