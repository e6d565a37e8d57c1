"""Regions of a feature map: R-MAC's grid, and the RoI arithmetic by which some systems take it to the map.

Boxes are half-open (left, top, right, bottom), in cells of the map or in pixels of the photo. The grid is that of
Tolias et al. (ICLR 2016); it is computed in integers and fractions, as the floor of a rounded number can be one less.
"""

from fractions import Fraction
from typing import Callable, Optional, Tuple

import numpy as np

# How the grid comes to the map: laid on the map itself (gtolias/rmac, cirtorch), or on the photo as the network saw it
# and then rounded to cells, as DIR-Caffe does (half away from 0) and as regional attention does (half to even)
ROI_ARITHMETIC = ("map", "dir", "regional_attention")
_OVERLAP = Fraction(2, 5)  # of neighbours along the longer side, as near as it can be
_MOST_EXTRA = 6  # regions that the longer side has more than the shorter one


def region_grid(height: int, width: int, levels: int) -> np.ndarray:
    """R-MAC's squares on a map, or a photo, of ``height`` x ``width``.

    Args:
        height, width: above 0.
        levels: scales of squares, above 0; level l has the side floor(2 min(height, width) / (l + 1)).

    Returns:
        [R, 4] int64, level by level, row by row. A level whose side is 0 has no region; R is at least 1.
    """
    short, difference = min(height, width), abs(height - width)
    extra = min(range(1, _MOST_EXTRA + 1), key=lambda k: abs(1 - Fraction(difference, k * short) - _OVERLAP))
    more_x, more_y = (extra if width > height else 0), (extra if height > width else 0)
    boxes = []
    for level in range(1, levels + 1):
        side = 2 * short // (level + 1)
        lefts, tops = (_starts(length - side, level + more) for length, more in ((width, more_x), (height, more_y)))
        boxes += [(x, y, x + side, y + side) for y in tops for x in lefts if side]
    return np.array(boxes, np.int64)


def _starts(room: int, count: int) -> list:
    """Where ``count`` squares begin that are spread over a side with ``room`` cells to spare, rounded down."""
    return [number * room // max(count - 1, 1) for number in range(count)]


def cells_of(boxes: np.ndarray, map_size: Tuple[int, int], stride: int, roi: str) -> np.ndarray:
    """Boxes of the photo as boxes of the map, by the arithmetic of Fast R-CNN's RoI pooling with one cell as output.

    The first and the last pixel, divided by the stride and rounded, are the first and the last cell. So the boxes are
    wider than their share of the photo, and they overlap more than on the map's own grid.

    Args:
        boxes: [R, 4] int, in pixels of the photo as the network saw it.
        map_size: (height, width) of the map; cells beyond it are left out, but a box keeps one cell at least.
        stride: pixels between two cells of the map.
        roi: "dir" rounds half a cell up, "regional_attention" to the even number.

    Returns:
        [R, 4] int64.
    """
    cells = (boxes - np.array([0, 0, 1, 1])) / stride
    cells = (np.floor(cells + 0.5) if roi == "dir" else np.rint(cells)).astype(np.int64)
    last = np.array(map_size[::-1]) - 1
    return np.concatenate([np.minimum(cells[:, :2], last), np.minimum(cells[:, 2:], last) + 1], axis=1)


def regions_of(
    map_size: Tuple[int, int],
    levels: int,
    roi: str = "map",
    stride: int = 32,
    image_size: Optional[Tuple[int, int]] = None,
) -> np.ndarray:
    """The regions of a map under some ``ROI_ARITHMETIC``.

    Args:
        map_size: (height, width) of the map in cells.
        levels: as of ``region_grid``.
        roi: one of ``ROI_ARITHMETIC``.
        stride: pixels between two cells; for the arithmetic of photos.
        image_size: (width, height) of the photo as the network saw it; None = the map's times the stride.

    Returns:
        [R, 4] int64, in cells.
    """
    if roi == "map":
        return region_grid(*map_size, levels)
    height, width = image_size[::-1] if image_size else (side * stride for side in map_size)
    return cells_of(region_grid(height, width, levels), map_size, stride, roi)


def reduce_regions(
    feature_map: np.ndarray, boxes: np.ndarray, reduce: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """What ``reduce`` ([cells high, cells wide, C] -> [C]) makes of each box: [h, w, C], [R, 4] -> [R, C]."""
    return np.stack([reduce(feature_map[top:bottom, left:right]) for left, top, right, bottom in boxes])
