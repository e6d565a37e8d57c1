"""Surfaces: brick, stone, plaster, tiles, cobbles. Pictures are (height, width, 3) uint8 RGB."""

import cv2
import numpy as np

from .palette import Colour

WALL_KINDS = ("brick", "ashlar", "plaster", "rubble", "banded", "rusticated")
ROOF_KINDS = ("tiles", "slates", "metal")


def noise(rng: np.random.Generator, shape: tuple[int, int], cell: tuple[float, float], octaves: int = 3) -> np.ndarray:
    """Smooth (height, width) float32 noise of about unit deviation; ``cell`` is a blot's (x, y) size."""
    height, width = shape
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        rows = max(2, int(height * 2**octave / cell[1]) + 2)
        columns = max(2, int(width * 2**octave / cell[0]) + 2)
        grid = rng.standard_normal((min(rows, height), min(columns, width))).astype(np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * 0.6**octave
    return total


def _coloured(colour: Colour, tone: np.ndarray) -> np.ndarray:
    """``colour`` times the (height, width) ``tone``, as uint8."""
    tone = np.maximum(tone, 0).astype(np.float32)
    return cv2.merge([cv2.convertScaleAbs(tone, alpha=float(channel)) for channel in colour])


def masonry(
    rng: np.random.Generator, shape: tuple[int, int], block: tuple[float, float], joint: float, spread: float
) -> tuple[np.ndarray, np.ndarray]:
    """Courses of blocks of ``block`` = (x, y) size: the tone map (1 = mean) and each canvas row's course."""
    y, x = np.arange(shape[0], dtype=np.float32), np.arange(shape[1], dtype=np.float32)
    rows = np.floor(y / block[1]).astype(int)
    shift = rng.uniform(0, 1, (rows[-1] + 1, 1)).astype(np.float32)
    along = x / block[0] + shift
    columns = np.floor(along).astype(int)
    tones = 1 + spread * rng.standard_normal((rows[-1] + 1, columns.max() + 1)).astype(np.float32)
    courses = np.take_along_axis(tones, columns, axis=1)
    courses[(along - columns) * block[0] < joint] = 0.72
    tone, into_row = courses[rows], y - rows * block[1]
    tone[into_row < joint] = 0.72
    tone[into_row >= block[1] - joint] *= 0.9
    return tone, rows


def rubble(rng: np.random.Generator, shape: tuple[int, int], cell: float, spread: float) -> np.ndarray:
    """Tone map of irregular stones about ``cell`` pixels wide."""
    seeds = np.full(shape, 255, np.uint8)
    y, x = np.mgrid[0 : shape[0] : cell, 0 : shape[1] : cell * 1.3]
    y = np.clip(y + rng.uniform(-0.4, 0.4, y.shape) * cell, 0, shape[0] - 1).astype(int)
    x = np.clip(x + rng.uniform(-0.4, 0.4, x.shape) * cell, 0, shape[1] - 1).astype(int)
    seeds[y, x] = 0
    _, labels = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
    tone = (1 + spread * rng.standard_normal(labels.max() + 1).astype(np.float32))[labels]
    flat = labels.astype(np.float32)
    edge = cv2.morphologyEx(flat, cv2.MORPH_GRADIENT, np.ones((2, 2), np.uint8)) > 0
    return np.where(edge, 0.68, tone)


def wall_texture(
    kind: str, colour: Colour, second: Colour, shape: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """A weathered wall of one of WALL_KINDS; ``second`` colours every other course of a banded one."""
    rows = None
    if kind == "brick":
        tone, _ = masonry(rng, shape, (rng.uniform(13, 18), rng.uniform(5, 7)), 1.2, 0.10)
    elif kind == "ashlar":
        tone, _ = masonry(rng, shape, (rng.uniform(28, 46), rng.uniform(14, 20)), 1.5, 0.06)
    elif kind == "rusticated":
        tone, _ = masonry(rng, shape, (rng.uniform(40, 60), rng.uniform(20, 26)), 3.0, 0.05)
    elif kind == "banded":
        tone, rows = masonry(rng, shape, (rng.uniform(26, 40), rng.uniform(9, 16)), 1.2, 0.05)
    elif kind == "rubble":
        tone = rubble(rng, shape, rng.uniform(9, 15), 0.12)
    else:
        tone = np.ones(shape, np.float32)
    tone = tone * weathering(rng, shape)
    picture = _coloured(colour, tone)
    if rows is None:
        return picture
    return np.where((rows // int(rng.integers(1, 3)) % 2 == 0)[:, None, None], picture, _coloured(second, tone))


def weathering(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Tone map of stains, rain streaks and grain."""
    stains = 0.05 * noise(rng, shape, (150, 120), 3)
    streaks = 0.03 * noise(rng, shape, (9, 160), 2)
    grain = 0.025 * noise(rng, shape, (3, 3), 1)
    return 1 + stains - np.abs(streaks) + grain


def roof_texture(kind: str, colour: Colour, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A roof covering of one of ROOF_KINDS."""
    if kind == "metal":
        x = np.arange(shape[1], dtype=np.float32)[None]
        seams = np.where(x % rng.integers(14, 24) < 2, 1.25, 1.0) * np.ones(shape, np.float32)
        tone = seams + 0.08 * noise(rng, shape, (30, 90), 3)
    else:
        size = (rng.uniform(8, 12), rng.uniform(7, 10)) if kind == "tiles" else (rng.uniform(12, 18), rng.uniform(6, 9))
        tone, _ = masonry(rng, shape, size, 1.3, 0.12)
    return _coloured(colour, tone * weathering(rng, shape))


def plain_texture(colour: Colour, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Dressed stone or plaster: ``colour`` with weathering only."""
    return _coloured(colour, weathering(rng, shape))


def ground_texture(kind: str, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Ground seen from above: "pavement", "cobbles", "grass", "gravel" or "asphalt"."""
    if kind == "pavement":
        tone, _ = masonry(rng, shape, (rng.uniform(24, 50), rng.uniform(24, 50)), 1.5, 0.07)
        return _coloured((168, 162, 154), tone * weathering(rng, shape))
    if kind == "cobbles":
        return _coloured((132, 126, 120), rubble(rng, shape, rng.uniform(8, 14), 0.14))
    colour = {"grass": (92, 120, 58), "gravel": (186, 170, 142), "asphalt": (92, 92, 96)}[kind]
    rough = {"grass": 0.16, "gravel": 0.10, "asphalt": 0.05}[kind]
    return _coloured(colour, 1 + rough * noise(rng, shape, (5, 5), 2) + 0.07 * noise(rng, shape, (90, 90), 2))
