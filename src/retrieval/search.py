"""Rank the photos of an index for each query: votes, then geometric verification of the best-voted."""

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, Iterable, List, Sequence, Tuple

import numpy as np
from tqdm import tqdm

from ..config import Config
from ..records import LocalFeatures, Matches, Ranking
from .index import PhotoIndex
from .neighbours import search_pool, set_nprobe
from .pairs import MIN_CORRESPONDENCES, verify_photo
from .voting import Votes, cast_votes

_SETTINGS = (
    "num_neighbors",
    "search_distance",
    "nprobe",
    "num_rerank",
    "correspondences",
    "ransac_method",
    "ransac_residual",
    "ransac_trials",
    "seed",
)
_EXACT_SETTINGS = ("match_ratio", "mutual_check")
_PIECE_PHOTOS = 16  # verified at a time by a thread

logger = logging.getLogger(__name__)


def search_settings(config: Config) -> Dict[str, Any]:
    """Keys of the recipe that a ranking depends on, besides those of its index and features."""
    names = _SETTINGS + _EXACT_SETTINGS if config.correspondences == "exact" else _SETTINGS
    return {name: getattr(config, name) for name in names}


def search(index: PhotoIndex, queries: Iterable[Tuple[str, LocalFeatures]], config: Config) -> Ranking:
    """Rank all photos of the index for each (name, features) query, one query at a time; see ``rank_photos``."""
    names, ranks, scores = [], [], []
    if config.correspondences == "index" and (config.mutual_check or config.match_ratio is not None):
        logger.warning("match_ratio and mutual_check need `correspondences` exact; this search goes without them")
    start = time.perf_counter()
    with _open_search(index, config) as pool:
        for name, features in tqdm(queries, desc="retrieval", unit="query", disable=None):
            if not len(features):
                logger.warning("query %s has no features: the index photos are ranked by name", name)
            row_ranks, row_scores = _rank(index, features, config, pool)
            names.append(name)
            ranks.append(row_ranks)
            scores.append(row_scores)
    seconds = time.perf_counter() - start
    logger.info("%d queries in %.1f s, %.2f s each", len(names), seconds, seconds / max(1, len(names)))
    shape = (len(names), len(index))
    return Ranking(names, index.names, np.reshape(ranks, shape), np.reshape(scores, shape))


def rank_photos(index: PhotoIndex, query: LocalFeatures, config: Config) -> Tuple[np.ndarray, np.ndarray]:
    """Rank all N photos of the index for one query.

    The ``num_rerank`` photos of most votes are verified, if they have 4 correspondences or more; 0 verifies all that
    have them. Verified photos come first, by inliers then votes; the others follow by votes; remaining ties go by name.

    Returns:
        Photo numbers [N] int32, best first, and their scores [N] float32, falling: inliers + s for a verified photo and
        s - 1 for the others, where s = votes / (most votes + 1) lies in [0, 1). The whole part of a score that is not
        negative is thus the number of inliers.

    Raises:
        UserError: ``correspondences`` is ``exact`` and the index photos' descriptors are gone.
    """
    with _open_search(index, config) as pool:
        return _rank(index, query, config, pool)


def verify_pairs(index: PhotoIndex, query: LocalFeatures, photos: Sequence[int], config: Config) -> List[Matches]:
    """The verified correspondences of some photos with the query, the ones their ranks rest on; for drawing them.

    Returns:
        For each photo number the matches of the photo (A) and the query (B); ``inliers`` is None for a photo of fewer
        than 4 correspondences, which is not verified.
    """
    with _open_search(index, config) as pool:
        votes = cast_votes(index, query, config.num_neighbors, config.search_distance, pool)
        return list(pool.map(lambda photo: verify_photo(index, query, votes, int(photo), config), photos))


def verify_pair(index: PhotoIndex, query: LocalFeatures, photo: int, config: Config) -> Matches:
    """``verify_pairs`` of one photo."""
    return verify_pairs(index, query, [photo], config)[0]


def _open_search(index: PhotoIndex, config: Config) -> ThreadPoolExecutor:
    set_nprobe(index.faiss_index, config.nprobe)
    return search_pool(config.search_threads)


def _rank(
    index: PhotoIndex, query: LocalFeatures, config: Config, pool: ThreadPoolExecutor
) -> Tuple[np.ndarray, np.ndarray]:
    votes = cast_votes(index, query, config.num_neighbors, config.search_distance, pool)
    counts = votes.counts
    candidates = np.lexsort((index.name_order, -counts))
    if config.correspondences == "index":  # a photo's correspondences are its votes
        candidates = candidates[counts[candidates] >= MIN_CORRESPONDENCES]
    candidates = candidates[: config.num_rerank or None]
    inliers = _count_inliers(index, query, votes, candidates, config, pool)
    verified = inliers >= 0
    scores = counts / (counts.max(initial=0) + 1) - 1
    scores[candidates[verified]] += 1 + inliers[verified]
    ranks = np.lexsort((index.name_order, -scores))
    return ranks.astype(np.int32), scores[ranks].astype(np.float32)


def _count_inliers(
    index: PhotoIndex,
    query: LocalFeatures,
    votes: Votes,
    photos: np.ndarray,
    config: Config,
    pool: ThreadPoolExecutor,
) -> np.ndarray:
    """Inliers of each photo [P] int64; -1 for one of too few correspondences."""

    def count(piece: np.ndarray) -> List[int]:
        pairs = (verify_photo(index, query, votes, int(photo), config) for photo in piece)
        return [-1 if matches.inliers is None else matches.num_inliers for matches in pairs]

    pieces = [photos[start : start + _PIECE_PHOTOS] for start in range(0, len(photos), _PIECE_PHOTOS)]
    return np.array([inliers for counts in pool.map(count, pieces) for inliers in counts], np.int64)
