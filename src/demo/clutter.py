"""Things in front of the building: trees, people, lamps, cars, stalls. Sizes follow a person's height."""

from typing import Callable

import numpy as np

from .canvas import Painter
from .outlines import ellipse, star
from .palette import Colour, jittered, scaled

CLOTHES: tuple[Colour, ...] = (
    (46, 52, 70),
    (150, 44, 44),
    (214, 206, 190),
    (60, 92, 70),
    (190, 150, 70),
    (92, 96, 104),
    (40, 38, 40),
)
CARS: tuple[Colour, ...] = (
    (160, 32, 36),
    (208, 208, 210),
    (40, 44, 52),
    (40, 76, 130),
    (120, 124, 126),
    (196, 170, 60),
)


def one_of(rng: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    """One of ``colours``, a little changed."""
    return jittered(colours[int(rng.integers(len(colours)))], rng, 14)


def paint_tree(painter: Painter, rng: np.random.Generator, x: float, foot: float, person: float) -> None:
    """A leafy tree: trunk and many clumps of leaves, lit from the sun's side."""
    tall = person * float(rng.uniform(2.6, 5.5))
    spread = tall * float(rng.uniform(0.24, 0.4))
    bark, leaf = (
        (72, 58, 46),
        one_of(rng, ((66, 96, 44), (88, 112, 50), (132, 112, 46), (48, 78, 48), (150, 92, 44))),
    )
    painter.fill(
        np.array(
            [
                (x - 0.035 * tall, foot),
                (x - 0.02 * tall, foot - 0.6 * tall),
                (x + 0.02 * tall, foot - 0.6 * tall),
                (x + 0.035 * tall, foot),
            ]
        ),
        bark,
    )
    crown_height = 0.36 * tall
    for _ in range(60):
        angle, reach = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random())
        dx, dy = reach * np.cos(angle), reach * np.sin(angle)
        bright = 0.78 + 0.22 * dx * painter.light - 0.25 * dy + rng.uniform(-0.12, 0.12)
        size = spread * rng.uniform(0.1, 0.26)
        at = (x + dx * spread, foot - tall + crown_height * (1 + dy))
        clump = star(*at, size * 1.15, size * 0.75, 7, rng.uniform(0, 1))
        painter.fill(clump, scaled(leaf, bright))


def paint_bare_tree(painter: Painter, rng: np.random.Generator, x: float, foot: float, person: float) -> None:
    """A winter tree: branches that fork."""
    stack = [((x, foot), -np.pi / 2, person * float(rng.uniform(1.0, 1.7)), 0.16 * person, 0)]
    while stack:
        start, angle, length, width, depth = stack.pop()
        end = (start[0] + length * np.cos(angle), start[1] + length * np.sin(angle))
        painter.line(start, end, max(width, 1.0), (66, 56, 50))
        if depth < 5:
            for turn in (rng.uniform(-0.7, -0.15), rng.uniform(0.15, 0.7)):
                stack.append((end, angle + turn, length * rng.uniform(0.6, 0.8), width * 0.62, depth + 1))


def paint_person(painter: Painter, rng: np.random.Generator, x: float, foot: float, person: float) -> None:
    """A standing figure."""
    coat, legs = one_of(rng, CLOTHES), one_of(rng, CLOTHES)
    stride = 0.06 * person * float(rng.uniform(0.3, 1.6))
    for side in (-1, 1):
        painter.line((x, foot - 0.46 * person), (x + side * stride, foot), 0.1 * person, legs)
    painter.fill(
        np.array(
            [
                (x - 0.12 * person, foot - 0.4 * person),
                (x - 0.15 * person, foot - 0.82 * person),
                (x + 0.15 * person, foot - 0.82 * person),
                (x + 0.12 * person, foot - 0.4 * person),
            ]
        ),
        coat,
    )
    for side in (-1, 1):
        painter.line(
            (x + side * 0.14 * person, foot - 0.8 * person),
            (x + side * 0.19 * person, foot - 0.48 * person),
            0.07 * person,
            scaled(coat, 0.85),
        )
    painter.fill(
        ellipse(x, foot - 0.91 * person, 0.075 * person, 0.095 * person),
        one_of(rng, ((206, 164, 134), (120, 84, 62))),
    )


def paint_crowd(painter: Painter, rng: np.random.Generator, x: float, foot: float, person: float) -> None:
    """A few people close together."""
    for _ in range(int(rng.integers(3, 8))):
        paint_person(
            painter,
            rng,
            x + person * rng.uniform(-1.4, 1.4),
            foot + person * rng.uniform(-0.06, 0.1),
            person * rng.uniform(0.88, 1.08),
        )


def paint_lamp(painter: Painter, rng: np.random.Generator, x: float, foot: float, person: float) -> None:
    """A street lamp with one or two lanterns."""
    tall, iron = person * float(rng.uniform(2.0, 2.9)), (38, 42, 42)
    painter.line((x, foot), (x, foot - tall), 0.07 * person, iron)
    painter.line((x, foot), (x, foot - 0.3 * tall), 0.13 * person, iron)
    for dx in (0.0,) if rng.random() < 0.5 else (-0.32 * person, 0.32 * person):
        painter.line((x, foot - tall), (x + dx, foot - tall), 0.05 * person, iron)
        painter.fill(
            np.array([(-0.1, 0), (-0.15, -0.32), (0, -0.46), (0.15, -0.32), (0.1, 0)]) * person + (x + dx, foot - tall),
            iron,
        )
        painter.box(x + dx - 0.09 * person, foot - tall - 0.29 * person, 0.18 * person, 0.24 * person, (236, 224, 176))


def paint_car(painter: Painter, rng: np.random.Generator, x: float, foot: float, person: float) -> None:
    """A car or a van seen from the side."""
    colour, length = one_of(rng, CARS), 2.5 * person
    body = np.array(
        [
            (-0.5, 0.1),
            (-0.5, 0.34),
            (-0.38, 0.4),
            (-0.24, 0.62),
            (0.18, 0.62),
            (0.34, 0.4),
            (0.5, 0.34),
            (0.5, 0.1),
        ]
    )
    if rng.random() < 0.35:
        body = np.array([(-0.5, 0.1), (-0.5, 0.9), (0.3, 0.9), (0.42, 0.5), (0.5, 0.44), (0.5, 0.1)])
    if rng.random() < 0.5:
        body = body * (-1, 1)
    painter.fill(ellipse(x, foot, 0.52 * length, 0.07 * person), (34, 34, 36))
    painter.fill(body * (length, -person) + (x, foot), colour)
    roof = body[:, 1].max()
    painter.box(x - 0.2 * length, foot - (roof - 0.05) * person, 0.34 * length, 0.17 * person, (52, 60, 70))
    painter.box(x - 0.03 * length, foot - (roof - 0.03) * person, 0.025 * length, 0.22 * person, colour)
    painter.shade(np.array([(-0.5, 0.1), (-0.5, 0.2), (0.5, 0.2), (0.5, 0.1)]) * (length, -person) + (x, foot), 0.7)
    for side in (-0.31, 0.31):
        painter.fill(ellipse(x + side * length, foot - 0.12 * person, 0.15 * person, 0.15 * person), (30, 30, 32))
        painter.fill(ellipse(x + side * length, foot - 0.12 * person, 0.07 * person, 0.07 * person), (150, 150, 152))


def paint_fence(painter: Painter, rng: np.random.Generator, x: float, foot: float, person: float) -> None:
    """A piece of railing or picket fence."""
    colour = one_of(rng, ((40, 42, 44), (226, 222, 214), (96, 72, 52)))
    wide, tall, pitch = (
        person * float(rng.uniform(3, 7)),
        person * float(rng.uniform(0.45, 0.8)),
        0.2 * person,
    )
    for post in np.arange(x - wide / 2, x + wide / 2, pitch):
        painter.line((post, foot), (post, foot - tall), 0.07 * person, colour)
    for level in (0.25, 0.85):
        painter.line((x - wide / 2, foot - level * tall), (x + wide / 2, foot - level * tall), 0.06 * person, colour)


def paint_stall(painter: Painter, rng: np.random.Generator, x: float, foot: float, person: float) -> None:
    """A market stall with a striped awning."""
    wide, colour = person * float(rng.uniform(1.6, 2.6)), one_of(rng, CARS)
    for side in (-0.46, 0.46):
        painter.line((x + side * wide, foot), (x + side * wide, foot - 1.3 * person), 0.06 * person, (90, 74, 58))
    painter.box(x - wide / 2, foot - 0.5 * person, wide, 0.45 * person, (124, 96, 66))
    for stripe in range(8):
        left = x - wide * 0.56 + stripe * wide * 0.14
        strip = np.array(
            [
                (left, foot - 1.15 * person),
                (left + 0.02 * wide, foot - 1.6 * person),
                (left + 0.16 * wide, foot - 1.6 * person),
                (left + 0.14 * wide, foot - 1.15 * person),
            ]
        )
        painter.fill(strip, colour if stripe % 2 else (232, 228, 216))


_KINDS: tuple[tuple[Callable[..., None], float], ...] = (
    (paint_tree, 0.24),
    (paint_bare_tree, 0.08),
    (paint_person, 0.16),
    (paint_crowd, 0.14),
    (paint_lamp, 0.1),
    (paint_car, 0.14),
    (paint_fence, 0.07),
    (paint_stall, 0.07),
)


def paint_clutter(
    painter: Painter, rng: np.random.Generator, count: int, line: tuple[float, float], person: float
) -> None:
    """Paint ``count`` things, the far ones first.

    ``line`` is the y of the building's foot at the left and the right edge; ``person`` is the height in
    pixels of somebody who stands right at the building. Nearer things are larger and stand lower.
    """
    height, width = painter.alpha.shape
    chances = np.array([chance for _, chance in _KINDS])
    for nearness in np.sort(rng.uniform(1.05, 2.4, count)):
        paint = _KINDS[int(rng.choice(len(_KINDS), p=chances / chances.sum()))][0]
        x = float(rng.uniform(0, width))
        foot = line[0] + (line[1] - line[0]) * x / width + (nearness - 1) * (0.5 * person + 0.02 * height)
        paint(painter, rng, x, foot, person * nearness)


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
