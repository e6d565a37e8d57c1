"""Draws a landmark of any archetype on a transparent canvas."""

from dataclasses import dataclass
from typing import Callable

import numpy as np

from . import scenes_civic, scenes_old
from .style import LandmarkSpec, Site, open_site

_BUILDERS: dict[str, Callable[[Site], None]] = {
    "palace": scenes_civic.build_palace,
    "houses": scenes_civic.build_houses,
    "arcade": scenes_civic.build_arcade,
    "dome": scenes_civic.build_dome,
    "bridge": scenes_civic.build_bridge,
    "clock_tower": scenes_civic.build_clock_tower,
    "church": scenes_old.build_church,
    "castle": scenes_old.build_castle,
    "arch": scenes_old.build_arch,
    "temple": scenes_old.build_temple,
    "pagoda": scenes_old.build_pagoda,
}


@dataclass(frozen=True)
class Landmark:
    """A drawn building without surroundings.

    Attributes:
        rgb: (700, 900, 3) uint8.
        alpha: (700, 900) uint8, 255 on the building.
        panes: (700, 900) uint8, the group of each window pane, 0 elsewhere.
        box: (x1, y1, x2, y2) of the building on the canvas, in pixels.
    """

    rgb: np.ndarray
    alpha: np.ndarray
    panes: np.ndarray
    box: tuple[float, float, float, float]


def draw_landmark(spec: LandmarkSpec, light: int) -> Landmark:
    """Draw a landmark with the sun on the left (``light`` -1) or the right (1); both have one structure."""
    site = open_site(spec, light)
    _BUILDERS[spec.archetype](site)
    painter = site.painter
    rows, columns = np.flatnonzero(painter.alpha.any(axis=1)), np.flatnonzero(painter.alpha.any(axis=0))
    box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    return Landmark(painter.rgb, painter.alpha, painter.panes, box)
