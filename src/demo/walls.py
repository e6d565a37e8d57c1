"""Whole walls: a block with floors of windows, timber framing, quoins and pilasters."""

from dataclasses import dataclass
from typing import Optional

import numpy as np

from .canvas import Paint
from .elements import draw_column, draw_cornice, draw_window
from .ornaments import draw_frieze, draw_panel
from .outlines import rectangle
from .palette import scaled
from .style import Site


@dataclass(frozen=True)
class Block:
    """An upright wall: left edge, foot, size (canvas pixels) and the number of floors and bays."""

    x: float
    base: float
    width: float
    height: float
    floors: int
    bays: int

    @property
    def top(self) -> float:
        """The y of the upper edge."""
        return self.base - self.height

    @property
    def centre(self) -> float:
        """The x of the middle."""
        return self.x + self.width / 2


def draw_wall(site: Site, block: Block, paint: Optional[Paint] = None, round_shape: bool = False) -> None:
    """Draw the bare wall with a plinth, corners and a shadow towards the side away from the sun."""
    painter = site.painter
    outline = rectangle(block.x, block.top, block.width, block.height)
    painter.fill(outline, site.wall if paint is None else paint)
    if round_shape:
        painter.roll_shade(outline, 0.55)
    painter.box(block.x - 2, block.base - 0.03 * block.height - 5, block.width + 4, 0.03 * block.height + 5, site.trim)
    painter.shade_box(block.x - 2, block.base - 0.03 * block.height - 5, block.width + 4, 2, 1.2)
    if site.spec.quoins and not round_shape:
        for index, y in enumerate(np.arange(block.top, block.base - 12, 12)):
            long = 16 if index % 2 else 10
            painter.box(block.x, y, long, 11, site.trim)
            painter.box(block.x + block.width - long, y, long, 11, site.trim)
    dark = block.x + block.width - 5 if painter.light < 0 else block.x
    painter.shade_box(dark, block.top, 5, block.height, 0.72)


def draw_timber(site: Site, block: Block) -> None:
    """Draw half-timber framing over a wall: posts, rails and braces."""
    painter, beam = site.painter, scaled(site.spec.palette.wood, 0.75)
    floor_height, bay = block.height / block.floors, block.width / block.bays
    brace = int(site.rng.integers(4))
    for floor in range(block.floors):
        top = block.top + floor * floor_height
        painter.box(block.x, top, block.width, 5, beam)
        painter.box(block.x, top + 0.72 * floor_height, block.width, 4, beam)
        for index in range(block.bays):
            left, low, high = block.x + index * bay, top + floor_height, top + 0.74 * floor_height
            if brace == 0:
                painter.line((left, low), (left + bay, high), 4, beam)
            if brace == 1 or (brace == 0 and floor % 2):
                painter.line((left, high), (left + bay, low), 4, beam)
            if brace == 2:
                painter.line((left, low), (left + bay / 2, high), 4, beam)
                painter.line((left + bay, low), (left + bay / 2, high), 4, beam)
            if brace == 3:
                for part in (0.25, 0.5, 0.75):
                    painter.line((left + part * bay, low), (left + part * bay, high), 3, beam)
    for post in np.linspace(block.x + 3, block.x + block.width - 3, block.bays + 1):
        painter.line((post, block.top), (post, block.base), 5, beam)


def draw_windows(site: Site, block: Block, styles: tuple[int, ...], keep_clear: float = 0.0) -> None:
    """Draw the windows of a block, floor by floor from the top.

    ``styles`` gives the design of each floor (an index into the specification's windows); ``keep_clear`` is
    the half width, about the centre of the lowest floor, that is left free for a door.
    """
    floor_height, bay = block.height / block.floors, block.width / block.bays
    odd_floor, odd_bay = int(site.rng.integers(block.floors)), int(site.rng.integers(block.bays))
    for floor in range(block.floors):
        style = site.spec.windows[styles[floor % len(styles)] % len(site.spec.windows)]
        width, height = style.width * bay, min(style.height * floor_height, 3.2 * style.width * bay)
        top = block.top + floor * floor_height + 0.58 * (floor_height - height)
        for index in range(block.bays):
            centre = block.x + (index + 0.5) * bay
            if floor == block.floors - 1 and abs(centre - block.centre) < keep_clear + width / 2:
                continue
            if floor == odd_floor and index in (odd_bay, block.bays - 1 - odd_bay) and bay > 34 and block.bays > 2:
                draw_panel(site, centre, top + height / 2, 0.75 * bay, min(0.75 * floor_height, bay))
                continue
            draw_window(site, centre - width / 2, top, width, height, style)


def draw_facade(
    site: Site, block: Block, styles: tuple[int, ...], keep_clear: float = 0.0, second: bool = False
) -> None:
    """Draw a wall with everything on it: courses, windows, pilasters, frieze and cornice."""
    spec, floor_height = site.spec, block.height / block.floors
    draw_wall(site, block, site.second_wall if second else None)
    if spec.timber:
        draw_timber(
            site,
            Block(
                block.x,
                block.base - floor_height,
                block.width,
                block.height - floor_height,
                max(1, block.floors - 1),
                block.bays,
            ),
        )
    else:
        for floor in range(1, block.floors):
            if (spec.seed + floor) % 3 == 0:
                draw_frieze(site, block.x, block.top + floor * floor_height - 5, block.width, 10, spec.motifs[2])
            else:
                draw_cornice(site, block.x, block.top + floor * floor_height - 3, block.width, 7)
    draw_windows(site, block, styles, keep_clear)
    if spec.pilasters != "none" and not spec.timber:
        for x in np.linspace(block.x + 7, block.x + block.width - 7, block.bays + 1):
            if abs(x - block.centre) > keep_clear:
                draw_column(site, x, block.top + 18, block.base - 8, 10, spec.pilasters)
    draw_frieze(site, block.x, block.top + 9, block.width, 13, spec.motifs[0])
    draw_cornice(site, block.x, block.top - 3, block.width, 13)
