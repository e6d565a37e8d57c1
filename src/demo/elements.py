"""Parts of a facade: windows, doors, columns, cornices. Positions are canvas pixels, y downwards."""

import numpy as np

from .outlines import ellipse, opening, opening_rise, opening_top, rectangle
from .palette import scaled
from .style import Site, WindowStyle

GLASS = (58, 66, 76)


def draw_window(site: Site, x: float, y: float, width: float, height: float, style: WindowStyle) -> None:
    """Draw a window of the given design whose opening fills the box."""
    if style.twin and width > 26:
        half = width / 2 - 2.5
        single = WindowStyle(**{**style.__dict__, "twin": False, "shutters": False, "balcony": False})
        draw_window(site, x, y, half, height, single)
        draw_window(site, x + half + 5, y, half, height, single)
        return
    _surround(site, x, y, width, height, style)
    painter = site.painter
    painter.fill(opening(style.head, x, y, width, height), site.spec.palette.frame)
    inset = 2.0
    glass = opening(style.head, x + inset, y + inset, width - 2 * inset, height - 2 * inset)
    painter.glaze(glass, GLASS, int(site.rng.integers(1, 256)))
    _bars(site, x + inset, y + inset, width - 2 * inset, height - 2 * inset, style)
    depth = max(2.0, 0.09 * width)
    side = x if painter.light < 0 else x + width - depth
    rise = opening_rise(style.head, width, height)
    painter.shade_box(side, y + rise, depth, height - rise, 0.55)
    painter.shade_box(x + 0.2 * rise, y + 0.7 * rise, width - 0.4 * rise, depth, 0.6)
    _below_window(site, x, y, width, height, style)


def _surround(site: Site, x: float, y: float, width: float, height: float, style: WindowStyle) -> None:
    """The stone frame around an opening, with its hood and shadow."""
    painter, edge = site.painter, style.surround
    slip = -painter.light * 3.0
    painter.shade(opening(style.head, x - edge + slip, y - edge + 3, width + 2 * edge, height + 2 * edge), 0.66)
    if edge:
        painter.fill(opening(style.head, x - edge, y - edge, width + 2 * edge, height + edge), site.trim)
    top, reach = y - edge, width / 2 + edge + 4
    cx = x + width / 2
    if style.hood == "triangle":
        painter.fill(np.array([(cx - reach, top), (cx, top - 0.42 * reach - 3), (cx + reach, top)]), site.trim)
        painter.shade(
            np.array([(cx - reach * 0.6, top - 2), (cx, top - 0.3 * reach), (cx + reach * 0.6, top - 2)]), 0.7
        )
    elif style.hood == "cornice":
        painter.box(cx - reach, top - 7, 2 * reach, 5, site.trim)
        painter.shade_box(cx - reach, top - 2, 2 * reach, 3, 0.6)
    elif style.hood == "curve":
        painter.fill(ellipse(cx, top, reach, 0.45 * reach + 3, 180, 360), site.trim)
        painter.shade(ellipse(cx, top, reach * 0.7, 0.3 * reach, 180, 360), 0.72)
    elif style.hood == "keystone":
        painter.fill(np.array([(cx - 6, top - 7), (cx + 6, top - 7), (cx + 4, y + 5), (cx - 4, y + 5)]), site.trim)
    elif style.hood == "voussoirs":
        outer = opening(style.head, x - 8, y - 8, width + 16, height + 8)
        painter.fill(outer, site.second_wall)
        for t in np.linspace(-0.9, 0.9, 7):
            edge_y = opening_top(style.head, y, width, height, t)
            painter.line((cx + t * (width / 2 + 8), edge_y - 9), (cx + t * width / 2, edge_y + 1), 1.5, (70, 62, 56))


def _bars(site: Site, x: float, y: float, width: float, height: float, style: WindowStyle) -> None:
    """Glazing bars, clipped to the opening's head."""
    painter, colour = site.painter, site.spec.palette.frame
    rise = opening_rise(style.head, width, height)
    if style.bars == "lattice":
        body = height - rise
        for offset in np.arange(0, width + body, max(7.0, width / 4)):
            start, end = max(0.0, offset - body), min(width, offset)
            painter.line((x + start, y + rise + offset - start), (x + end, y + rise + offset - end), 1.2, colour)
            painter.line(
                (x + width - start, y + rise + offset - start),
                (x + width - end, y + rise + offset - end),
                1.2,
                colour,
            )
        return
    columns, rows = (2, 2) if style.bars == "cross" else (style.columns, style.rows)
    thickness = 3.4 if style.bars == "cross" else 1.7
    for column in range(1, columns):
        t = 2 * column / columns - 1
        top = opening_top(style.head, y, width, height, t) if style.bars != "fan" else y + rise
        painter.line((x + width * column / columns, top), (x + width * column / columns, y + height), thickness, colour)
    for row in range(rows):
        level = y + rise + (height - rise) * row / rows
        if row or rise > 4:
            painter.line((x, level), (x + width, level), thickness, colour)
    if style.bars == "fan" and rise > 4:
        for angle in np.deg2rad((215, 242, 270, 298, 325)):
            t = float(np.cos(angle))
            end = (x + width / 2 * (1 + t), opening_top(style.head, y, width, height, t))
            painter.line((x + width / 2, y + rise), end, 1.5, colour)


def _below_window(site: Site, x: float, y: float, width: float, height: float, style: WindowStyle) -> None:
    """Sill, shutters and balcony."""
    painter, colours = site.painter, site.spec.palette
    painter.box(x - 4, y + height, width + 8, 4, site.trim)
    painter.shade_box(x - 4, y + height + 4, width + 8, 3, 0.6)
    if style.shutters:
        rise = opening_rise(style.head, width, height)
        for left in (x - 0.42 * width - 1, x + width + 1):
            painter.box(left, y + rise, 0.42 * width, height - rise, scaled(colours.accent, 0.9))
            for level in np.arange(y + rise + 3, y + height - 2, 4.5):
                painter.shade_box(left + 2, level, 0.42 * width - 4, 2, 0.65)
    if style.balcony:
        top, reach = y + 0.68 * height, 0.2 * width + 5
        painter.box(x - reach, y + height, width + 2 * reach, 5, site.trim)
        painter.box(x - reach, top, width + 2 * reach, 2.5, (44, 42, 42))
        for post in np.arange(x - reach, x + width + reach + 1, 6):
            painter.line((post, top), (post, y + height), 1.5, (44, 42, 42))


def draw_door(site: Site, cx: float, base: float, width: float, height: float, style: WindowStyle) -> None:
    """Draw a panelled door with stepped jambs standing on ``base``."""
    painter, colours = site.painter, site.spec.palette
    for ring, factor in ((15, 1.0), (10, 0.8), (5, 1.05)):
        painter.fill(
            opening(style.head, cx - width / 2 - ring, base - height - ring, width + 2 * ring, height + ring),
            site.trim,
        )
        if factor != 1.0:
            painter.shade(
                opening(style.head, cx - width / 2 - ring, base - height - ring, width + 2 * ring, height + ring),
                factor,
            )
    painter.fill(opening(style.head, cx - width / 2, base - height, width, height), colours.wood)
    rise = opening_rise(style.head, width, height)
    for column in range(2):
        left = cx - width / 2 + 4 + column * width / 2
        for row in range(1 + style.rows):
            step = (height - rise - 4) / (1 + style.rows)
            painter.box(
                left,
                base - height + rise + row * step + 3,
                width / 2 - 8,
                step - 5,
                scaled(colours.wood, 1.35),
            )
    if rise > 8:
        painter.fill(opening(style.head, cx - width / 2 + 3, base - height + 3, width - 6, rise), scaled(GLASS, 0.8))
        for t in np.linspace(-0.7, 0.7, 2 + style.columns):
            top = opening_top(style.head, base - height, width, height, float(t))
            painter.line((cx, base - height + rise), (cx + t * width / 2, top + 3), 1.6, colours.frame)
    painter.box(cx - width / 2 - 20, base - 6, width + 40, 6, site.trim)


def draw_column(site: Site, cx: float, top: float, base: float, width: float, kind: str) -> None:
    """Draw a column or pilaster ("flat", "fluted" or "round") with its capital and foot."""
    painter = site.painter
    painter.shade_box(cx - width / 2 - painter.light * 4, top, width, base - top, 0.7)
    shaft = rectangle(cx - width / 2, top, width, base - top)
    painter.fill(shaft, site.trim)
    if kind == "round":
        painter.roll_shade(shaft, 0.7)
    elif kind == "fluted":
        for offset in np.linspace(-0.3, 0.3, 4):
            painter.shade_box(cx + offset * width - 0.06 * width, top + 4, 0.12 * width, base - top - 8, 0.66)
    else:
        painter.shade_box(
            cx - painter.light * -0.5 * width - (1.5 if painter.light > 0 else 0), top, 1.5, base - top, 0.7
        )
    cap = max(5.0, 0.5 * width)
    painter.fill(
        np.array(
            [
                (cx - width * 0.8, top),
                (cx + width * 0.8, top),
                (cx + width / 2, top + cap),
                (cx - width / 2, top + cap),
            ]
        ),
        site.trim,
    )
    painter.shade_box(cx - width * 0.7, top + 0.35 * cap, width * 1.4, 1.6, 0.6)
    painter.shade_box(cx - width / 2, top + cap, width, 2, 0.6)
    painter.box(cx - width * 0.7, base - cap, width * 1.4, cap, site.trim)
    painter.shade_box(cx - width * 0.7, base - cap, width * 1.4, 1.5, 0.7)


def draw_cornice(site: Site, x: float, y: float, width: float, height: float) -> None:
    """Draw a projecting cornice whose upper edge is at ``y``, with its shadow below."""
    painter, reach = site.painter, 0.5 * height
    painter.fill(
        np.array([(x - reach, y), (x + width + reach, y), (x + width, y + height), (x, y + height)]),
        site.trim,
    )
    painter.shade_box(x - reach, y, width + 2 * reach, 0.25 * height, 1.15)
    painter.shade_box(x - reach / 2, y + 0.45 * height, width + reach, 0.18 * height, 0.65)
    painter.shade_box(x, y + height, width, max(3.0, 0.5 * height), 0.6)
