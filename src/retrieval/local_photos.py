"""The local features of photos that were found by global descriptors or by words, for verification."""

from functools import lru_cache
from typing import Union

import numpy as np

from .global_index import GlobalIndex
from .word_index import AsmkIndex

_KEPT_PHOTOS = 500  # of 1000 x 40 numbers 0.1 GB


class LocalPhotos:
    """Reads them from the feature files that the index was made from; the last photos are kept in memory.

    Args:
        index: which knows its feature files.
    """

    def __init__(self, index: Union[GlobalIndex, AsmkIndex]) -> None:
        self._features = lru_cache(_KEPT_PHOTOS)(index.features)

    def points(self, photo: int) -> np.ndarray:
        """[n, 2] float32, one photo's keypoints, (x, y) in its pixels; UserError where it has none in the files."""
        return self._features(photo).keypoints

    def descriptors(self, photo: int) -> np.ndarray:
        """[n, D] float32, one photo's descriptors; errors as of ``points``."""
        return self._features(photo).descriptors
