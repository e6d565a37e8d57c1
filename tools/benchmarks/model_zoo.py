"""The model zoo's way to retrieve, for the benchmark alone: Annoy, then scikit-image's RANSAC on every photo with hits.

Written anew, without its defects: Annoy with 10 trees, the 60 nearest of each query descriptor whatever their distance,
grouped by photo, every hit a correspondence.
"""

import time
import warnings
from typing import Dict, List, NamedTuple, Sequence, Tuple

import numpy as np
from tqdm import tqdm

from src.errors import UserError
from src.features.feature_file import FeatureFile
from src.records import LocalFeatures

NUM_TREES, NUM_NEIGHBORS, MIN_HITS = 10, 60, 4
_RESIDUAL, _TRIALS = 20.0, 1000

Pairs = Tuple[np.ndarray, np.ndarray]  # keypoints of a photo and of the query, [C, 2] each


class Timing(NamedTuple):
    """Seconds of building, of looking one query up, of RANSAC on one photo; candidates of one query; all are means."""

    build: float
    look_up: float
    ransac: float
    candidates: float

    @property
    def query(self) -> float:
        """Seconds of one query with RANSAC on all its candidates."""
        return self.look_up + self.candidates * self.ransac


def time_model_zoo(
    photos: FeatureFile, queries: Sequence[LocalFeatures], sample: int, threads: int, seed: int
) -> Timing:
    """Time the model zoo's way: RANSAC on ``sample`` candidate photos of all ``queries`` together.

    Args:
        photos: features of the index photos; all are held in memory.
        queries: whose descriptors are looked up.
        sample: candidates that RANSAC is timed on, drawn at random.
        threads: that build Annoy's trees; the look-up and RANSAC have one, as in the model zoo.
        seed: of the trees, the sample and RANSAC.

    Raises:
        UserError: Annoy is not installed.
    """
    start = time.perf_counter()
    index, photo_of, keypoints = _build(photos, threads, seed)
    built = time.perf_counter()
    hits = [_look_up(index, photo_of, keypoints, query) for query in queries]
    looked_up = time.perf_counter()
    candidates = [pairs for found in hits for pairs in found.values()]
    chosen = np.random.default_rng(seed).permutation(len(candidates))[:sample]
    for number in tqdm(chosen, desc="scikit-image RANSAC", unit="photo", disable=None):
        _ransac(candidates[number], seed)
    return Timing(
        build=built - start,
        look_up=(looked_up - built) / len(queries),
        ransac=(time.perf_counter() - looked_up) / max(1, len(chosen)),
        candidates=len(candidates) / len(queries),
    )


def _build(photos: FeatureFile, threads: int, seed: int):
    """The Annoy index, and the photo and keypoint of each of its items."""
    try:
        from annoy import AnnoyIndex
    except ImportError as error:
        raise UserError("annoy is not installed: run 'pip install annoy' (only this comparison needs it)") from error
    index = AnnoyIndex(photos.shape(photos.names[0])[1], "euclidean")
    index.set_seed(seed)
    keypoints: List[np.ndarray] = []
    counts: List[int] = []
    item = 0
    for _, features in tqdm(photos, desc="Annoy", unit="photo", disable=None):
        for row in features.descriptors:
            index.add_item(item, row)
            item += 1
        keypoints.append(features.keypoints)
        counts.append(len(features))
    index.build(NUM_TREES, n_jobs=threads)
    return index, np.repeat(np.arange(len(counts)), counts), np.concatenate(keypoints)


def _look_up(index, photo_of: np.ndarray, keypoints: np.ndarray, query: LocalFeatures) -> Dict[int, Pairs]:
    """Correspondences of each photo with enough hits, grouped by a dictionary as the model zoo does."""
    hits: Dict[int, List[Tuple[int, int]]] = {}
    for row, descriptor in enumerate(query.descriptors):
        for item in index.get_nns_by_vector(descriptor, NUM_NEIGHBORS):
            hits.setdefault(int(photo_of[item]), []).append((item, row))
    rows = {photo: np.array(pairs) for photo, pairs in hits.items() if len(pairs) >= MIN_HITS}
    return {photo: (keypoints[pairs[:, 0]], query.keypoints[pairs[:, 1]]) for photo, pairs in rows.items()}


def _ransac(pairs: Pairs, seed: int) -> None:
    from skimage.measure import ransac
    from skimage.transform import AffineTransform

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ransac(pairs, AffineTransform, min_samples=3, residual_threshold=_RESIDUAL, max_trials=_TRIALS, rng=seed)
