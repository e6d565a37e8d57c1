"""Where the network looks: the attention of every pyramid level, laid over the photo."""

from typing import Sequence, Tuple

import numpy as np

from .extractor import Frame, LevelMaps
from .keypoints import STRIDE


def attention_map(levels: Sequence[LevelMaps], frame: Frame, map_size: Tuple[int, int]) -> np.ndarray:
    """The highest attention of any level at each pixel, bilinear between the centres of the cells.

    A cell's centre is its keypoint: STRIDE * (column, row) / scale, pixels of the resized photo.

    Args:
        levels: of ``run_network`` on a whole photo.
        frame: where they lie in it.
        map_size: (width, height) of the map, over the whole photo.

    Returns:
        [height, width] float32; zeros where there is no level.
    """
    found = np.zeros((map_size[1], map_size[0]), np.float32)
    x, y = (
        ((np.arange(new) + 0.5) * old / new - 0.5) * factor / STRIDE
        for new, old, factor in zip(map_size, frame.image_size, frame.factors)
    )
    for level in levels:
        rows, columns = level.attention.shape
        across, down = _weights(x * level.scale, columns), _weights(y * level.scale, rows)
        np.maximum(found, down @ level.attention @ across.T, out=found)
    return found


def _weights(positions: np.ndarray, count: int) -> np.ndarray:
    """Linear interpolation as a matrix [N, count]: rows sum to 1, positions outside take the first or last value."""
    positions = np.clip(positions, 0, count - 1)
    return np.clip(1 - np.abs(positions[:, None] - np.arange(count)), 0, None).astype(np.float32)
