"""The local features of photos that were found by their global descriptors, for verification."""

from functools import lru_cache

import numpy as np

from .global_index import GlobalIndex

_KEPT_PHOTOS = 500  # of 1000 x 40 numbers 0.1 GB


class LocalPhotos:
    """Reads them from the feature files that the index was made from; the last photos are kept in memory.

    Args:
        index: of global descriptors.
    """

    def __init__(self, index: GlobalIndex) -> None:
        self._features = lru_cache(_KEPT_PHOTOS)(index.features)

    def points(self, photo: int) -> np.ndarray:
        """[n, 2] float32, one photo's keypoints, (x, y) in its pixels; UserError where it has none in the files."""
        return self._features(photo).keypoints

    def descriptors(self, photo: int) -> np.ndarray:
        """[n, D] float32, one photo's descriptors; errors as of ``points``."""
        return self._features(photo).descriptors
