"""Colours of drawn buildings. The lists are short on purpose: many landmarks share a stone and a roof."""

from dataclasses import dataclass

import numpy as np

Colour = tuple[int, int, int]  # RGB, 0..255

WALLS: tuple[Colour, ...] = (
    (196, 178, 146),  # sandstone
    (178, 172, 162),  # limestone
    (158, 92, 70),  # red brick
    (214, 204, 184),  # cream plaster
    (200, 168, 120),  # ochre plaster
    (150, 146, 142),  # granite
)
TRIMS: tuple[Colour, ...] = ((222, 214, 196), (190, 180, 160), (236, 232, 224), (142, 124, 104))
ROOFS: tuple[Colour, ...] = ((140, 74, 54), (86, 92, 102), (104, 142, 126), (112, 88, 70))
WOODS: tuple[Colour, ...] = ((84, 56, 38), (52, 74, 66), (110, 42, 38), (58, 62, 82), (66, 58, 50))
ACCENTS: tuple[Colour, ...] = ((156, 48, 44), (40, 76, 124), (196, 156, 62), (58, 106, 72), (92, 60, 104))


@dataclass(frozen=True)
class Palette:
    """RGB colours of one building."""

    wall: Colour
    second_wall: Colour
    trim: Colour
    roof: Colour
    wood: Colour
    frame: Colour
    accent: Colour


def jittered(colour: Colour, rng: np.random.Generator, amount: float = 7.0) -> Colour:
    """Return ``colour`` moved by up to ``amount`` grey levels per channel."""
    moved = np.clip(np.asarray(colour) + rng.uniform(-amount, amount, 3), 0, 255)
    return (int(moved[0]), int(moved[1]), int(moved[2]))


def scaled(colour: Colour, factor: float) -> Colour:
    """Return ``colour`` times ``factor``, kept within 0..255."""
    values = np.clip(np.asarray(colour, dtype=np.float64) * factor, 0, 255)
    return (int(values[0]), int(values[1]), int(values[2]))


def choose_palette(rng: np.random.Generator) -> Palette:
    """Draw the colours of one building from the shared lists."""

    def pick(choices: tuple[Colour, ...]) -> Colour:
        return jittered(choices[rng.integers(len(choices))], rng)

    wood = pick(WOODS)
    frame = wood if rng.random() < 0.5 else (226, 222, 214)
    return Palette(pick(WALLS), pick(WALLS), pick(TRIMS), pick(ROOFS), wood, frame, pick(ACCENTS))
