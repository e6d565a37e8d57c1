"""Arithmetic on feature maps: MAC, SPoC and GeM of boxes, and SuperGlobal's Regional-GeM."""

from typing import Sequence, Union

import numpy as np

from .regions import reduce_regions

EPSILON = 1e-6  # what GeM raises smaller numbers to, negative ones too: GeM with p = 1 is not SPoC
WHOLE_MAP = ("mac", "spoc", "gem")
GemPower = Union[float, Sequence[float], np.ndarray]


def pool_regions(feature_map: np.ndarray, boxes: np.ndarray, kind: str, p: GemPower = 3.0) -> np.ndarray:
    """Each box of a map pooled by one of ``WHOLE_MAP``.

    MAC is the maximum over the cells, SPoC their mean, GeM ( mean( max(x, 1e-6)^p ) )^(1/p).

    Args:
        feature_map: [h, w, C] float32.
        boxes: [R, 4] int, half-open (left, top, right, bottom).
        kind: which.
        p: of GeM, above 0; a number, or one for each channel.

    Returns:
        [R, C] float32.
    """
    if kind == "mac":
        return reduce_regions(feature_map, boxes, lambda cells: cells.max(axis=(0, 1)))
    if kind == "spoc":
        return reduce_regions(feature_map, boxes, _mean).astype(np.float32)
    clamped = np.maximum(feature_map, np.float32(EPSILON))
    peaks = clamped.max(axis=(0, 1))  # powers of numbers up to 1 never overflow
    clamped /= peaks
    means = reduce_regions(_power(clamped, p), boxes, _mean)
    return (peaks * means ** (1 / np.asarray(p, np.float64))).astype(np.float32)


def _mean(cells: np.ndarray) -> np.ndarray:
    """Mean [C] float64 of cells [h, w, C] float32; sums of rows in single precision are twice as fast, and enough."""
    return cells.sum(axis=1).sum(axis=0, dtype=np.float64) / (cells.shape[0] * cells.shape[1])


def _power(values: np.ndarray, p: GemPower) -> np.ndarray:
    """float32 numbers >= 0 to the power ``p``; several times as fast as np.power."""
    if np.ndim(p) == 0 and p in (1, 2, 3, 4):
        result = values.copy()
        for _ in range(int(p) - 1):
            result *= values
        return result
    with np.errstate(divide="ignore"):
        result = np.log(values)
    result *= np.asarray(p, np.float32)
    return np.exp(result, out=result)


def whole_box(feature_map: np.ndarray) -> np.ndarray:
    """The box of the whole map as a region, [1, 4]."""
    return np.array([[0, 0, feature_map.shape[1], feature_map.shape[0]]])


def regional_gem(feature_map: np.ndarray, p: float = 2.5, size: int = 5, mix: float = 0.5) -> np.ndarray:
    """SuperGlobal's Regional-GeM (ICCV 2023): each cell mixed with the GeM of the window around it; same shape.

    Args:
        feature_map: [h, w, C]; negative numbers count as 0 in the GeM.
        p: its power.
        size: side of the window in cells, odd; the map is continued by reflection, without repeating its border.
        mix: share of the cell itself.
    """
    margin = size // 2
    feature_map = np.asarray(feature_map, np.float32)
    values = np.maximum(feature_map, np.float32(0))
    peak = np.float32(max(values.max(), EPSILON))
    values /= peak  # powers of numbers up to 1 never overflow
    powers = np.pad(_power(values, p), ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    height, width, _ = feature_map.shape
    powers = _sum([powers[start : start + height] for start in range(size)])
    powers = _sum([powers[:, start : start + width] for start in range(size)])
    powers /= np.float32(size**2)
    windows = _power(powers, 1 / p)
    windows *= peak * np.float32(1 - mix)
    windows += np.float32(mix) * feature_map
    return windows


def _sum(arrays: Sequence[np.ndarray]) -> np.ndarray:
    total = arrays[0].copy()
    for array in arrays[1:]:
        total += array
    return total
