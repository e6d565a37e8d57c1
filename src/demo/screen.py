"""Large things close to the camera that hide the building."""

import numpy as np

from .canvas import Painter
from .clutter import CARS, one_of
from .outlines import ellipse, star
from .palette import scaled


def paint_screen(painter: Painter, rng: np.random.Generator, share: float) -> None:
    """Hide about ``share`` of the width behind something close: foliage or a lorry."""
    height, width = painter.alpha.shape
    centre = float(rng.uniform(0.35, 0.65)) * width
    if rng.random() < 0.65:
        leaf = one_of(rng, ((66, 96, 44), (88, 112, 50), (48, 78, 48)))
        for _ in range(int(330 * share)):
            size, drift = width * rng.uniform(0.02, 0.055), rng.normal(0, 0.26)
            at = (centre + width * share * drift, height * rng.uniform(0.0, 1.0))
            bright = rng.uniform(0.5, 1.25) * (1 + 0.2 * drift * painter.light)
            painter.fill(
                star(*at, size, size * rng.uniform(0.3, 0.55), int(rng.integers(3, 7)), rng.uniform(0, 6)),
                scaled(leaf, bright),
            )
        return
    colour, foot = one_of(rng, CARS), float(rng.uniform(0.92, 1.05)) * height
    top = foot - min(0.85 * height, 0.75 * share * width)
    left, wide, wheel = centre - share * width / 2, share * width, 0.09 * (foot - top)
    painter.box(left, top, wide, foot - top - wheel, colour)
    for fold in np.linspace(0.06, 0.94, 9):
        painter.shade_box(left + fold * wide, top, 3, foot - top - 2 * wheel, 0.8)
    for at in (0.16, 0.3, 0.84):
        painter.fill(ellipse(left + at * wide, foot - wheel, wheel, wheel), (30, 30, 32))
