"""A small painter on an RGB picture with a coverage mask and a map of window panes."""

from typing import Union

import cv2
import numpy as np

from .outlines import rectangle

Paint = Union[tuple[int, int, int], np.ndarray]  # one RGB colour, or a texture of the size of the canvas
_SUBPIXEL_BITS = 4


class Painter:
    """Draws filled polygons with soft edges.

    Attributes:
        rgb: (height, width, 3) uint8, meaningless where alpha is 0.
        alpha: (height, width) uint8, 255 where something was painted.
        panes: (height, width) uint8, 0 outside glass, else the number of the pane's group (1..255).
        light: side the sun shines from, -1 for left and 1 for right.
    """

    def __init__(self, width: int, height: int, light: int = -1) -> None:
        self.rgb = np.zeros((height, width, 3), np.uint8)
        self.alpha = np.zeros((height, width), np.uint8)
        self.panes = np.zeros((height, width), np.uint8)
        self.light = light

    def _cover(self, points: np.ndarray) -> tuple[tuple[slice, slice], np.ndarray]:
        """The window of the canvas that holds the polygon, and the coverage of it (0..255, uint8)."""
        height, width = self.alpha.shape
        x0, y0 = np.maximum(np.floor(points.min(axis=0)).astype(int) - 1, 0)
        x1, y1 = np.minimum(np.ceil(points.max(axis=0)).astype(int) + 2, (width, height))
        mask = np.zeros((max(y1 - y0, 0), max(x1 - x0, 0)), np.uint8)
        if mask.size:
            fixed = np.round((points - (x0, y0)) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
            cv2.fillPoly(mask, [fixed], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
        return (slice(y0, y0 + mask.shape[0]), slice(x0, x0 + mask.shape[1])), mask

    def fill(self, points: np.ndarray, paint: Paint) -> None:
        """Paint the polygon ``points`` (N, 2), in (x, y) order, with a colour or a texture."""
        window, mask = self._cover(np.asarray(points, dtype=np.float64))
        if not mask.size:
            return
        source = paint[window] if isinstance(paint, np.ndarray) else np.array(paint, np.float32)
        weight = (mask.astype(np.float32) / 255.0)[..., None]
        bare = self.alpha[window] == 0
        if bare.any():  # a soft edge over nothing keeps the paint's own colour: the alpha carries the softness
            weight[bare & (mask > 0)] = 1.0
        target = self.rgb[window]
        target[:] = target + (source - target) * weight
        self.alpha[window] = np.maximum(self.alpha[window], mask)
        self.panes[window][mask > 127] = 0

    def box(self, x: float, y: float, width: float, height: float, paint: Paint) -> None:
        """Paint the rectangle with top-left corner (x, y)."""
        self.fill(rectangle(x, y, width, height), paint)

    def erase(self, points: np.ndarray) -> None:
        """Make the polygon transparent again: a hole through which the surroundings show."""
        window, mask = self._cover(np.asarray(points, dtype=np.float64))
        self.alpha[window] = np.minimum(self.alpha[window], 255 - mask)
        self.panes[window][mask > 127] = 0

    def glaze(self, points: np.ndarray, colour: tuple[int, int, int], group: int) -> None:
        """Paint glass; a photo may light or mirror each ``group`` (1..255) of panes on its own."""
        self.fill(points, colour)
        window, mask = self._cover(np.asarray(points, dtype=np.float64))
        self.panes[window][mask > 127] = group

    def shade(self, points: np.ndarray, factor: float) -> None:
        """Multiply what the polygon covers by ``factor``: below 1 a shadow, above 1 a highlight."""
        window, mask = self._cover(np.asarray(points, dtype=np.float64))
        if not mask.size:
            return
        weight = 1 + (mask.astype(np.float32) / 255.0)[..., None] * (factor - 1)
        self.rgb[window] = np.minimum(self.rgb[window] * weight, 255).astype(np.uint8)

    def shade_box(self, x: float, y: float, width: float, height: float, factor: float) -> None:
        """Shade the rectangle with top-left corner (x, y)."""
        self.shade(rectangle(x, y, width, height), factor)

    def roll_shade(self, points: np.ndarray, strength: float = 0.45) -> None:
        """Shade a polygon as an upright cylinder that is lit from the sun's side."""
        window, mask = self._cover(np.asarray(points, dtype=np.float64))
        if not mask.size:
            return
        across = np.linspace(-1, 1, mask.shape[1], dtype=np.float32)
        factor = 1 + 0.12 - strength * np.abs(across - 0.35 * self.light) ** 2
        weight = 1 + (mask.astype(np.float32) / 255.0) * (factor[None] - 1)
        self.rgb[window] = np.clip(self.rgb[window] * weight[..., None], 0, 255).astype(np.uint8)

    def line(self, start: tuple[float, float], end: tuple[float, float], width: float, paint: Paint) -> None:
        """Paint a straight bar of ``width`` pixels between two (x, y) points."""
        first, last = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
        along = last - first
        side = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-6) * width / 2
        self.fill(np.array([first + side, last + side, last - side, first - side]), paint)
