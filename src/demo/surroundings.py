"""What each photo has of its own behind and below the building: sky, skyline and ground, in photo pixels."""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from .canvas import Painter
from .light import three_channels
from .outlines import ellipse
from .palette import Colour, jittered, scaled
from .textures import ground_texture, noise

GROUND_KINDS = ("pavement", "cobbles", "grass", "gravel", "asphalt")
_GROUND_SIZE, _GROUND_VARIANTS = 384, 3


@dataclass(frozen=True)
class Mood:
    """Weather and hour: sky colours, colour and strength of the light, haze, lit windows, clouds."""

    zenith: Colour
    horizon: Colour
    tint: tuple[float, float, float]
    haze: float
    lit: float
    clouds: float


MOODS = {
    "clear": Mood((62, 112, 190), (176, 208, 236), (1.05, 1.0, 0.95), 0.0, 0.0, 0.15),
    "cloudy": Mood((96, 136, 190), (206, 214, 222), (0.97, 0.99, 1.02), 0.04, 0.0, 0.8),
    "overcast": Mood((150, 156, 164), (204, 206, 208), (0.80, 0.83, 0.87), 0.12, 0.05, 0.35),
    "sunset": Mood((98, 104, 156), (252, 176, 104), (1.12, 0.86, 0.62), 0.06, 0.15, 0.5),
    "haze": Mood((186, 192, 198), (216, 214, 208), (0.92, 0.91, 0.90), 0.42, 0.0, 0.1),
    "dusk": Mood((26, 36, 78), (128, 104, 122), (0.50, 0.54, 0.78), 0.05, 0.4, 0.4),
    "night": Mood((8, 10, 24), (44, 38, 44), (0.52, 0.40, 0.26), 0.0, 0.5, 0.2),
}
MOOD_WEIGHTS = {
    "clear": 0.24,
    "cloudy": 0.22,
    "overcast": 0.16,
    "sunset": 0.14,
    "haze": 0.08,
    "dusk": 0.10,
    "night": 0.06,
}


def paint_sky(rng: np.random.Generator, mood: Mood, shape: tuple[int, int], horizon: float) -> np.ndarray:
    """Sky of a mood, (height, width, 3) float32; ``horizon`` is the y where the lower colour is reached."""
    height, width = shape
    ramp = np.clip(np.arange(height, dtype=np.float32) / max(horizon, 1.0), 0, 1)[:, None, None]
    column = np.asarray(mood.zenith, np.float32) * (1 - ramp) + np.asarray(mood.horizon, np.float32) * ramp
    sky = cv2.resize(column, (width, height), interpolation=cv2.INTER_NEAREST)
    small = (height // 4, width // 4)
    cover = noise(rng, small, (small[1] * rng.uniform(0.2, 0.5), small[0] * rng.uniform(0.08, 0.25)), 4)
    cover = cv2.resize(cover, (width, height), interpolation=cv2.INTER_LINEAR)
    amount = np.clip(cover * 0.7 + rng.uniform(-0.5, 0.4), 0, 1) * mood.clouds
    white = tuple(min(channel * 1.18 + 8, 255.0) for channel in mood.horizon)
    sky += (np.full_like(sky, white) - sky) * three_channels(amount)
    return sky - three_channels(26 * mood.clouds * np.clip(cover - 1.0, 0, 1))


@cache
def _ground(kind: str, variant: int) -> np.ndarray:
    """One of a few grounds seen from above; they are shared by all photos, as grounds are in a town."""
    rng = np.random.default_rng([GROUND_KINDS.index(kind), variant, 4])
    return ground_texture(kind, (_GROUND_SIZE, _GROUND_SIZE), rng)


def paint_ground(painter: Painter, rng: np.random.Generator, left: float, right: float) -> None:
    """Paint ground below the line from (0, ``left``) to (width, ``right``), in perspective."""
    height, width = painter.alpha.shape
    kind = GROUND_KINDS[int(rng.integers(len(GROUND_KINDS)))]
    texture = _ground(kind, int(rng.integers(_GROUND_VARIANTS)))
    low = max(left, right, height * 0.8) + height * 0.25
    source = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float32) * (_GROUND_SIZE - 1)
    target = np.array([(0, left), (width, right), (1.6 * width, low), (-0.6 * width, low)], np.float32)
    target[:2, 0] += np.array([-0.1, 0.1], np.float32) * width
    matrix = cv2.getPerspectiveTransform(source, target)
    seen = cv2.warpPerspective(texture, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    painter.fill(np.array([(0, left), (width, right), (width, height), (0, height)], np.float64), seen)


def paint_skyline(painter: Painter, rng: np.random.Generator, mood: Mood, left: float, right: float) -> None:
    """Paint far houses, hills or trees that stand on the line from (0, ``left``) to (width, ``right``)."""
    height, width = painter.alpha.shape
    far = np.asarray(mood.horizon, np.float64)
    x = -0.05 * width
    kind = int(rng.integers(4))
    while x < width and kind != 3:
        foot = left + (right - left) * x / width + 4
        wide, tall = width * rng.uniform(0.06, 0.2), height * rng.uniform(0.05, 0.3 if kind == 0 else 0.14)
        near = np.asarray(jittered((150, 132, 116) if kind == 0 else (74, 92, 58), rng, 32))
        blend = rng.uniform(0.15, 0.6)
        colour = jittered(tuple(int(v) for v in near * (1 - blend) + far * blend), rng, 4)
        if kind == 0:
            _far_house(painter, rng, (x, foot - tall, wide, tall), colour)
        else:
            reach = 1.6 if kind == 1 else 0.6
            painter.fill(ellipse(x + wide / 2, foot, wide * reach, tall, 180, 360), colour)
        x += wide * (0.98 if kind == 0 else 0.5)


def _far_house(
    painter: Painter, rng: np.random.Generator, box: tuple[float, float, float, float], colour: Colour
) -> None:
    """A plain neighbour at (x, y, width, height): a wall with a grid of windows and sometimes a roof."""
    x, y, width, height = box
    painter.box(x, y, width, height, colour)
    if rng.random() < 0.6:
        roof = np.array(
            [(x, y), (x + 0.2 * width, y - 0.2 * width), (x + 0.8 * width, y - 0.2 * width), (x + width, y)]
        )
        painter.fill(roof, scaled(colour, 0.75))
    columns, rows = int(rng.integers(2, 6)), int(rng.integers(1, 5))
    dark = scaled(colour, float(rng.uniform(0.5, 0.8)))
    frame_height, frame_width = painter.alpha.shape
    down = np.arange(max(int(y), 0), min(int(y + height), frame_height))
    across = np.arange(max(int(x), 0), min(int(x + width), frame_width))
    down = down[np.abs((down - y) / height * rows % 1 - 0.45) < 0.25]
    across = across[np.abs((across - x) / width * columns % 1 - 0.5) < 0.22]
    painter.rgb[np.ix_(down, across)] = dark
