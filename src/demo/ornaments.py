"""Things that nobody builds twice: emblems, rose windows, clocks, friezes, mosaics, signs, statues."""

import cv2
import numpy as np

from .elements import GLASS
from .outlines import ellipse, opening, star
from .palette import scaled
from .style import Site


def draw_frieze(site: Site, x: float, y: float, width: float, height: float, motif: str) -> None:
    """Draw a band with a repeated motif of MOTIFS."""
    painter, accent = site.painter, site.spec.palette.accent
    painter.box(x, y, width, height, site.trim)
    count = max(3, int(width / (height * 1.15)))
    step = width / count
    for index in range(count):
        left, cx, cy = x + index * step, x + (index + 0.5) * step, y + height / 2
        if motif == "dentils":
            painter.shade_box(left + 0.2 * step, y + 0.25 * height, 0.5 * step, 0.6 * height, 0.55)
        elif motif == "triangles":
            painter.fill(np.array([(left, y + height), (cx, y + 1), (left + step, y + height)]), accent)
        elif motif == "diamonds":
            painter.fill(star(cx, cy, 0.46 * height, 0.26 * height, 4), accent)
        elif motif == "discs":
            painter.fill(ellipse(cx, cy, 0.4 * height, 0.4 * height), scaled(accent, 0.8))
            painter.fill(ellipse(cx, cy, 0.18 * height, 0.18 * height), site.trim)
        elif motif == "arches":
            painter.shade(opening("round", left + 0.12 * step, y + 0.1 * height, 0.76 * step, 0.9 * height), 0.5)
        elif motif == "waves":
            painter.fill(
                ellipse(cx, y + height, 0.5 * step, 0.8 * height, 180, 360),
                accent if index % 2 else scaled(accent, 0.6),
            )
        elif motif == "key":
            painter.line((left + 2, y + height - 2), (left + 2, y + 2), 2, (76, 66, 58))
            painter.line((left + 2, y + 2), (left + 0.7 * step, y + 2), 2, (76, 66, 58))
            painter.line((left + 0.7 * step, y + 2), (left + 0.7 * step, cy + 1), 2, (76, 66, 58))
        else:
            painter.line((left, y), (left + step, y + height), 2, (90, 78, 68))
            painter.line((left, y + height), (left + step, y), 2, (90, 78, 68))
    painter.shade_box(x, y + height, width, 2.5, 0.62)


def draw_emblem(site: Site, cx: float, cy: float, radius: float) -> None:
    """Draw a carved round emblem of random rings, stars and petals."""
    painter, rng, colours = site.painter, site.rng, site.spec.palette
    painter.shade(ellipse(cx - painter.light * 3, cy + 4, radius, radius), 0.6)
    painter.fill(ellipse(cx, cy, radius, radius), site.trim)
    inks = (
        colours.accent,
        scaled(colours.wall, 0.6),
        scaled(colours.trim, 0.55),
        colours.roof,
        scaled(colours.trim, 1.12),
    )
    fold = int(rng.integers(3, 10))
    for share in (0.88, 0.68, 0.48, 0.26):
        ink, size = inks[int(rng.integers(len(inks)))], share * radius
        shape = int(rng.integers(5))
        turn = float(rng.choice([0.0, np.pi / fold]))
        if shape == 0:
            painter.fill(star(cx, cy, size, size * rng.uniform(0.35, 0.7), fold, turn), ink)
        elif shape == 1:
            painter.fill(ellipse(cx, cy, size, size), ink)
        elif shape == 2:
            painter.fill(star(cx, cy, size, size * 0.72, int(rng.integers(2, 5)), turn), ink)
        else:
            petal = size * float(rng.uniform(0.22, 0.36))
            for angle in np.arange(fold) * 2 * np.pi / fold + turn:
                painter.fill(
                    ellipse(cx + 0.7 * size * np.sin(angle), cy - 0.7 * size * np.cos(angle), petal, petal),
                    ink,
                )


def draw_rose(site: Site, cx: float, cy: float, radius: float) -> None:
    """Draw a rose window: glass between stone spokes and rings."""
    painter, rng = site.painter, site.rng
    painter.fill(ellipse(cx, cy, radius * 1.16, radius * 1.16), site.trim)
    painter.shade(ellipse(cx, cy, radius * 1.06, radius * 1.06), 0.65)
    painter.glaze(ellipse(cx, cy, radius, radius), scaled(GLASS, 0.8), int(rng.integers(1, 256)))
    fold, inner = int(rng.integers(5, 15)), float(rng.uniform(0.25, 0.5)) * radius
    petal = min(0.26 * radius, np.pi * 0.75 * radius / fold)
    turn = rng.uniform(0, np.pi)
    stained = (site.spec.palette.accent, scaled(site.spec.palette.accent, 1.5), (70, 90, 130))
    for index, angle in enumerate(np.arange(fold) * 2 * np.pi / fold + turn):
        tip = (cx + radius * np.cos(angle), cy + radius * np.sin(angle))
        painter.line((cx, cy), tip, max(2.0, 0.05 * radius), site.trim)
        middle = angle + np.pi / fold
        spot = ellipse(cx + 0.72 * radius * np.cos(middle), cy + 0.72 * radius * np.sin(middle), petal, petal)
        painter.fill(spot, stained[index % len(stained)])
    painter.fill(ellipse(cx, cy, inner, inner), site.trim)
    painter.glaze(ellipse(cx, cy, 0.82 * inner, 0.82 * inner), scaled(GLASS, 0.9), int(rng.integers(1, 256)))
    painter.fill(star(cx, cy, 0.8 * inner, 0.35 * inner, fold if fold < 9 else 6), site.trim)


def draw_clock(site: Site, cx: float, cy: float, radius: float) -> None:
    """Draw a clock face; the hands stand still, as they are part of the drawing."""
    painter, rng, colours = site.painter, site.rng, site.spec.palette
    face, ink = (
        ((238, 232, 214), (40, 38, 40)) if rng.random() < 0.6 else (scaled(colours.accent, 0.55), (226, 200, 120))
    )
    painter.fill(ellipse(cx, cy, radius * 1.2, radius * 1.2), site.trim)
    painter.fill(ellipse(cx, cy, radius * 1.05, radius * 1.05), colours.wood)
    painter.fill(ellipse(cx, cy, radius, radius), face)
    for hour in range(12):
        angle = hour * np.pi / 6
        inner = 0.72 if hour % 3 else 0.6
        start = (cx + inner * radius * np.sin(angle), cy - inner * radius * np.cos(angle))
        painter.line(
            start,
            (cx + 0.9 * radius * np.sin(angle), cy - 0.9 * radius * np.cos(angle)),
            0.08 * radius + 1,
            ink,
        )
    for length, angle in ((0.5, rng.uniform(0, 6.28)), (0.8, rng.uniform(0, 6.28))):
        painter.line(
            (cx, cy),
            (cx + length * radius * np.sin(angle), cy - length * radius * np.cos(angle)),
            0.09 * radius + 1,
            ink,
        )


def draw_mosaic(site: Site, x: float, y: float, width: float, height: float) -> None:
    """Draw a tiled panel: a random pattern, mirrored left to right."""
    painter, rng, colours = site.painter, site.rng, site.spec.palette
    rows, half = int(rng.integers(4, 8)), int(rng.integers(2, 5))
    inks = (colours.accent, colours.trim, scaled(colours.roof, 0.9), scaled(colours.wall, 0.55))
    pattern = rng.integers(0, len(inks), (rows, half))
    pattern = np.concatenate([pattern, pattern[:, ::-1]], axis=1)
    painter.box(x - 4, y - 4, width + 8, height + 8, site.trim)
    tile_width, tile_height = width / pattern.shape[1], height / rows
    for row in range(rows):
        for column in range(pattern.shape[1]):
            ink = inks[pattern[row, column]]
            painter.box(x + column * tile_width, y + row * tile_height, tile_width - 1, tile_height - 1, ink)


def draw_sign(site: Site, x: float, y: float, width: float, height: float) -> None:
    """Draw a board with a made-up word on it."""
    painter, rng, colours = site.painter, site.rng, site.spec.palette
    board, ink = (
        (scaled(colours.accent, 0.7), (240, 228, 190)) if rng.random() < 0.6 else ((230, 224, 206), (50, 40, 36))
    )
    painter.box(x - 3, y - 3, width + 6, height + 6, colours.wood)
    painter.box(x, y, width, height, board)
    word = "".join(rng.choice(list("ABCDEGHIKLMNOPRSTUVXZ"), int(np.clip(width / height * 1.1, 3, 11))))
    scale = height / 34
    (text_width, text_height), _ = cv2.getTextSize(word, cv2.FONT_HERSHEY_DUPLEX, scale, 2)
    scale *= min(1.0, 0.92 * width / text_width)
    origin = (int(x + width * 0.04), int(y + height / 2 + text_height / 2))
    cv2.putText(painter.rgb, word, origin, cv2.FONT_HERSHEY_DUPLEX, scale, ink, max(1, int(2 * scale)), cv2.LINE_AA)


def draw_statue(site: Site, cx: float, base: float, height: float) -> None:
    """Draw a standing figure on a pedestal."""
    painter, rng = site.painter, site.rng
    width = height * float(rng.uniform(0.22, 0.34))
    painter.box(cx - width * 0.7, base - 0.22 * height, width * 1.4, 0.22 * height, site.trim)
    body = np.array(
        [(-0.45, 0), (-0.3, 0.3), (-0.5, 0.52), (-0.15, 0.6), (0.2, 0.6), (0.5, 0.45), (0.25, 0.28), (0.4, 0)]
    )
    body = body * (width, -height) + (cx, base - 0.22 * height)
    painter.fill(body, site.trim)
    painter.shade(body[:4] if painter.light > 0 else body[4:], 0.7)
    painter.fill(ellipse(cx, base - 0.89 * height, 0.09 * height, 0.11 * height), site.trim)
    arm = rng.uniform(-1.3, 1.3)
    painter.line(
        (cx, base - 0.74 * height),
        (cx + 0.9 * width * arm, base - rng.uniform(0.6, 1.0) * height),
        0.06 * height + 1,
        site.trim,
    )


def draw_panel(site: Site, cx: float, cy: float, width: float, height: float) -> None:
    """Draw an ornament in the box centred on (cx, cy): emblem, mosaic, niche with statue, or rose."""
    choice = int(site.rng.integers(4))
    radius = min(width, height) / 2
    if choice == 0:
        draw_emblem(site, cx, cy, radius)
    elif choice == 1:
        draw_mosaic(site, cx - 0.42 * width, cy - 0.45 * height, 0.84 * width, 0.9 * height)
    elif choice == 2 and height > 30:
        niche = opening("round", cx - 0.3 * height, cy - height / 2, 0.6 * height, height)
        site.painter.fill(niche, site.trim)
        site.painter.shade(niche * 0.86 + 0.14 * np.array([cx, cy]), 0.5)
        draw_statue(site, cx, cy + 0.42 * height, 0.8 * height)
    else:
        draw_rose(site, cx, cy, 0.85 * radius)
