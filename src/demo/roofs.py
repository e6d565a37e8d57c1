"""Roofs and crowns: what stands on top of a wall."""

import numpy as np

from .elements import draw_cornice, draw_window
from .ornaments import draw_emblem, draw_rose, draw_statue
from .outlines import curved_gable, dome, ellipse, rectangle, stepped_gable
from .palette import scaled
from .style import Site
from .walls import Block, draw_wall


def draw_pitched_roof(site: Site, block: Block, height: float, inset: float, dormers: int) -> None:
    """Draw a hipped roof with dormers and chimneys; ``inset`` is how far the ridge draws in."""
    painter, rng = site.painter, site.rng
    top, x, width = block.top, block.x, block.width
    for share in rng.uniform(0.12, 0.88, int(rng.integers(0, 4))):
        tall, wide = height * rng.uniform(0.6, 0.9), rng.uniform(12, 22)
        painter.box(x + share * width, top - height - 0.35 * tall, wide, tall, site.second_wall)
        painter.box(x + share * width - 2, top - height - 0.35 * tall, wide + 4, 5, site.trim)
    slope = np.array([(x - 8, top), (x + inset, top - height), (x + width - inset, top - height), (x + width + 8, top)])
    painter.fill(slope, site.roof)
    dark = slope[[0, 1]] if painter.light > 0 else slope[[2, 3]]
    painter.shade(np.concatenate([dark, [(dark[:, 0].mean(), top)]]), 0.75)
    painter.box(x + inset - 2, top - height - 3, width - 2 * inset + 4, 5, scaled(site.spec.palette.roof, 0.7))
    style = site.spec.windows[int(rng.integers(4))]
    shape = int(rng.integers(3))
    for index in range(dormers):
        cx, wide = x + width * (index + 1) / (dormers + 1), min(30.0, 0.5 * width / (dormers + 1))
        foot, tall = top - 0.12 * height, min(0.62 * height, 40.0)
        painter.shade_box(cx - wide * 0.6 - painter.light * 5, foot - tall, wide * 1.2, tall, 0.65)
        painter.box(cx - wide * 0.6, foot - tall, wide * 1.2, tall, site.trim)
        draw_window(site, cx - wide * 0.36, foot - 0.86 * tall, wide * 0.72, 0.72 * tall, style)
        if shape == 0:
            painter.fill(
                np.array(
                    [
                        (cx - wide * 0.75, foot - tall),
                        (cx, foot - 1.4 * tall),
                        (cx + wide * 0.75, foot - tall),
                    ]
                ),
                site.roof,
            )
        elif shape == 1:
            painter.fill(ellipse(cx, foot - tall, wide * 0.7, 0.3 * tall, 180, 360), site.trim)
        else:
            draw_cornice(site, cx - wide * 0.65, foot - tall - 4, wide * 1.3, 7)


def draw_battlements(site: Site, x: float, y: float, width: float, size: float) -> None:
    """Draw a parapet with merlons standing on the line ``y``."""
    painter = site.painter
    painter.box(x - 5, y - size, width + 10, size, site.wall)
    painter.shade_box(x - 5, y, width + 10, 5, 0.55)
    for left in np.arange(x - 5, x + width + 5, 0.55 * size):
        painter.shade_box(left, y - 4, 0.28 * size, 8, 0.55)
    count = max(2, int((width + 10) / (1.8 * size)))
    pitch = (width + 10) / (count - 0.4)
    swallow = site.spec.seed % 2 == 0
    for index in range(count):
        left = x - 5 + index * pitch
        merlon = rectangle(left, y - 1.9 * size, 0.6 * pitch, size)
        if swallow:
            merlon = np.insert(merlon, 1, (left + 0.3 * pitch, y - 1.45 * size), axis=0)
        painter.fill(merlon, site.wall)


def draw_balustrade(site: Site, x: float, y: float, width: float, height: float, statues: int = 0) -> None:
    """Draw a balustrade on the line ``y``, with figures on it."""
    painter = site.painter
    for left in np.arange(x, x + width - 3, 9):
        painter.box(left, y - height, 5, height, site.trim)
        painter.shade_box(left, y - 0.55 * height, 5, 0.2 * height, 0.7)
    painter.box(x - 3, y - height - 4, width + 6, 5, site.trim)
    for index in range(statues):
        draw_statue(site, x + width * (index + 0.5) / statues, y - height, 46)


def draw_gable(site: Site, block: Block, height: float, shape: str) -> None:
    """Draw a front gable ("triangle", "steps", "curve" or "pediment") with an ornament in it."""
    painter, width = site.painter, block.width
    if shape == "steps":
        outline = stepped_gable(block.x, block.top - height, width, height, int(site.rng.integers(4, 8)))
    elif shape == "curve":
        outline = curved_gable(block.x, block.top - height, width, height, site.rng.uniform(0.2, 0.6))
    else:
        outline = np.array(
            [(block.x - 8, block.top), (block.centre, block.top - height), (block.x + width + 8, block.top)]
        )
    painter.fill(outline, site.trim if shape == "pediment" else site.wall)
    rim = outline if shape != "triangle" else outline[:3]
    for first, last in zip(rim[:-1], rim[1:]):
        painter.line(tuple(first), tuple(last), 6, site.roof if shape == "triangle" else site.trim)
    if shape == "pediment":
        inner = outline * (0.8, 0.66) + (0.2 * block.centre, 0.34 * (block.top - 0.18 * height))
        painter.fill(inner, site.wall)
        painter.shade(inner, 0.8)
    size = 0.2 * min(width, 1.6 * height)
    centre = block.top - (0.36 if shape != "pediment" else 0.34) * height
    choice = int(site.rng.integers(3)) if shape != "pediment" else 0
    if choice == 0:
        draw_emblem(site, block.centre, centre, size)
    elif choice == 1:
        draw_rose(site, block.centre, centre, size)
    else:
        draw_window(site, block.centre - 0.6 * size, centre - size, 1.2 * size, 2 * size, site.spec.windows[3])


def draw_dome(site: Site, cx: float, base: float, radius: float, kind: str) -> None:
    """Draw a ribbed dome with a lantern and a finial, standing on ``base``."""
    painter, rng = site.painter, site.rng
    height = radius * float(rng.uniform(0.9, 1.35) if kind == "hemisphere" else rng.uniform(1.4, 2.0))
    outline = dome(kind, cx, base, radius, height)
    painter.fill(outline, site.roof)
    ribs = int(rng.integers(3, 8))
    half = len(outline) // 2
    for share in np.linspace(-0.85, 0.85, ribs):
        rib = outline[:half] * (0, 1) + np.stack([cx + (cx - outline[:half, 0]) * share, np.zeros(half)], axis=1)
        for first, last in zip(rib[:-1:3], rib[3::3]):
            painter.line(tuple(first), tuple(last), 2.5, scaled(site.spec.palette.roof, 0.62))
    painter.roll_shade(outline, 0.7)
    top, tip = base - height, max(5.0, 0.16 * radius)
    painter.box(cx - tip / 2, top - 1.6 * tip, tip, 2 * tip, site.trim)
    painter.fill(dome("pointed", cx, top - 1.6 * tip, tip * 0.8, tip * 1.5), site.roof)
    painter.line((cx, top - 3 * tip), (cx, top - 5 * tip), 2.5, (176, 142, 60))
    painter.fill(ellipse(cx, top - 5 * tip, 3.5, 3.5), (200, 164, 72))


def _draw_spire(site: Site, block: Block, height: float, holes: int) -> None:
    """A pointed roof with round openings and a finial."""
    painter, cx, width, top = site.painter, block.centre, block.width, block.top
    tip = (cx, top - height)
    painter.fill(np.array([(block.x - 5, top), tip, (block.x + width + 5, top)]), site.roof)
    away = block.x + width + 5 if painter.light < 0 else block.x - 5
    painter.shade(np.array([tip, (away, top), (cx + 0.12 * (away - cx), top)]), 0.68)
    for level in site.rng.uniform(0.15, 0.6, holes):
        size = width * (1 - level)
        painter.fill(ellipse(cx, top - level * height, 0.09 * size + 3, 0.12 * size + 4), (40, 38, 38))
    painter.line((cx, tip[1] + 4), (cx, tip[1] - 22), 2.5, (60, 56, 52))
    painter.fill(ellipse(cx, tip[1] - 22, 4, 4), (200, 164, 72))


def _draw_lantern(site: Site, cx: float, base: float, width: float) -> None:
    """A small domed storey with two windows."""
    stage = Block(cx - 0.3 * width, base, 0.6 * width, 0.7 * width, 1, 2)
    draw_wall(site, stage)
    wide, style = 0.28 * stage.width, site.spec.windows[2]
    for share in (0.11, 0.61):
        draw_window(site, stage.x + share * stage.width, stage.top + 10, wide, 0.7 * stage.height, style)
    draw_cornice(site, stage.x, stage.top - 3, stage.width, 9)
    draw_dome(site, cx, stage.top - 3, 0.32 * width, "pointed")


def draw_crown(site: Site, block: Block, kind: str) -> None:
    """Draw one of CROWNS on top of a tower."""
    painter, rng, cx, width, top = site.painter, site.rng, block.centre, block.width, block.top
    if kind in ("onion", "bell", "dome"):
        draw_dome(site, cx, top, 0.5 * width, {"dome": "hemisphere"}.get(kind, kind))
    elif kind == "battlements":
        draw_battlements(site, block.x, top, width, 0.17 * width + 4)
    elif kind == "cap":
        draw_battlements(site, block.x, top, width, 0.12 * width + 4)
        low, reach = top - 0.2 * width, width / 2 - 6
        cone = np.array([(cx - reach, low), (cx, top - 0.9 * width), (cx + reach, low)])
        painter.fill(cone, site.roof)
        painter.roll_shade(cone, 0.5)
    elif kind == "lantern":
        _draw_lantern(site, cx, top, width)
    elif kind == "spire":
        _draw_spire(site, block, width * float(rng.uniform(1.4, 2.0)), 2)
    else:
        _draw_spire(site, block, width * float(rng.uniform(0.7, 1.0)), 0)
