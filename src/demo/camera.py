"""One photo of a landmark: viewpoint, surroundings, light, and the box of the building in the photo."""

from dataclasses import dataclass

import cv2
import numpy as np

from .canvas import Painter
from .clutter import paint_clutter, paint_screen
from .light import blur, draw_exposure, expose, sense, three_channels
from .scenes import Landmark
from .style import BASE
from .surroundings import MOOD_WEIGHTS, MOODS, Mood, paint_ground, paint_sky, paint_skyline

OVERSAMPLING = 2  # photos are composed at twice their size and averaged down, against jagged edges
_PERSON = 34.0  # height of a person on the landmark's canvas, in pixels
_ATTEMPTS = 8


@dataclass(frozen=True)
class Difficulty:
    """Ranges of a kind of photo: turns in degrees, share of the frame, clutter, strength of the light."""

    yaw: float
    pitch: float
    roll: float
    fill: tuple[float, float]
    close_up: float
    clutter: tuple[int, int]
    screen: float
    light: float
    visible: tuple[float, float]


DIFFICULTIES = {
    "good": Difficulty(18, 8, 4, (0.8, 0.97), 0.0, (0, 4), 0.0, 0.7, (0.78, 1.01)),
    "ok": Difficulty(28, 13, 7, (0.62, 0.92), 0.2, (1, 6), 0.1, 0.9, (0.3, 1.01)),
    "hidden": Difficulty(25, 10, 6, (0.5, 0.9), 0.0, (3, 8), 1.0, 0.8, (0.02, 0.35)),
    "tiny": Difficulty(25, 5, 6, (0.1, 0.2), 0.0, (2, 6), 0.0, 0.8, (0.2, 1.01)),
}


@dataclass(frozen=True)
class DrawnPhoto:
    """A finished photo.

    Attributes:
        jpeg: the encoded file.
        width, height: pixels.
        box: (x1, y1, x2, y2) of the visible part of the building, in pixels.
        visible: part of the building's area that is inside the frame and not hidden, 0..1.
        mood: name of the weather.
    """

    jpeg: bytes
    width: int
    height: int
    box: tuple[float, float, float, float]
    visible: float
    mood: str


def draw_homography(
    rng: np.random.Generator,
    kind: Difficulty,
    box: tuple[float, float, float, float],
    width: int,
    height: int,
) -> np.ndarray:
    """Draw a viewpoint: the 3x3 matrix from canvas (x, y) to frame (x, y), both in pixels."""
    corners = np.array([(box[0], box[1]), (box[2], box[1]), (box[2], box[3]), (box[0], box[3])], np.float64)
    size = max(box[2] - box[0], box[3] - box[1])
    plane = np.concatenate([(corners - corners.mean(axis=0)) / size, np.zeros((4, 1))], axis=1)
    yaw, pitch, roll = np.deg2rad(rng.uniform(-1, 1, 3) * (kind.yaw, kind.pitch, kind.roll))
    turn_y = np.array([(np.cos(yaw), 0, np.sin(yaw)), (0, 1, 0), (-np.sin(yaw), 0, np.cos(yaw))])
    turn_x = np.array([(1, 0, 0), (0, np.cos(pitch), -np.sin(pitch)), (0, np.sin(pitch), np.cos(pitch))])
    turn_z = np.array([(np.cos(roll), -np.sin(roll), 0), (np.sin(roll), np.cos(roll), 0), (0, 0, 1)])
    turned = plane @ (turn_z @ turn_x @ turn_y).T
    seen = turned[:, :2] / (turned[:, 2:] + rng.uniform(1.4, 3.0))
    low, high = seen.min(axis=0), seen.max(axis=0)
    extent = high - low
    close = rng.random() < kind.close_up
    share = rng.uniform(1.15, 1.7) if close else rng.uniform(*kind.fill)
    scale = share * min(width / extent[0], height / extent[1])
    slack = np.array([width, height]) - scale * extent
    where = rng.uniform(0.12, 0.88, 2)
    if not close:
        where[1] = rng.uniform(0.6, 0.95)  # buildings stand low in the frame, with sky above
    placed = (seen - low) * scale + slack * where
    return cv2.getPerspectiveTransform(corners.astype(np.float32), placed.astype(np.float32))


@dataclass(frozen=True)
class Level:
    """A landmark at one size, ready to photograph.

    Attributes:
        colours: (height, width, 3) float32 RGB times the coverage, 0..255.
        cover: (height, width) float32, 0..1.
        glass: positions of the pixels of window panes in the flattened picture, int64.
        groups: the pane group of each of them, uint8.
        box: (x1, y1, x2, y2) of the building on the full canvas.
    """

    colours: np.ndarray
    cover: np.ndarray
    glass: np.ndarray
    groups: np.ndarray
    box: tuple[float, float, float, float]


def build_levels(landmark: Landmark) -> tuple[Level, ...]:
    """The landmark at full, half and quarter size, for viewpoints near and far."""
    levels = []
    cover = landmark.alpha.astype(np.float32) / 255
    colours, panes = landmark.rgb * three_channels(cover), landmark.panes
    for _ in range(3):
        glass = np.flatnonzero(panes)
        levels.append(Level(colours, cover, glass, panes.ravel()[glass], landmark.box))
        size = (cover.shape[1] // 2, cover.shape[0] // 2)
        colours = cv2.resize(colours, size, interpolation=cv2.INTER_AREA)
        cover = cv2.resize(cover, size, interpolation=cv2.INTER_AREA)
        panes = cv2.resize(panes, size, interpolation=cv2.INTER_NEAREST)
    return tuple(levels)


def _relit(level: Level, mood: Mood, rng: np.random.Generator) -> np.ndarray:
    """The level's colours with this photo's lit and mirroring windows."""
    table = np.asarray(mood.horizon, np.float32) * rng.uniform(0.15, 0.85, (256, 1)).astype(np.float32)
    lit = rng.random(256) < mood.lit
    warm = np.array([255, 205, 130], np.float32) / np.asarray(mood.tint, np.float32)
    table[lit] = warm * rng.uniform(0.7, 1.0, (int(lit.sum()), 1)).astype(np.float32)
    colours = level.colours.copy()
    flat = colours.reshape(-1, 3)
    flat[level.glass] = 0.35 * flat[level.glass] + 0.65 * table[level.groups]
    return colours


def _building(
    levels: tuple[Level, ...], matrix: np.ndarray, mood: Mood, size: tuple[int, int], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, tuple[float, float], float]:
    """The building in the frame: colours times coverage, coverage, y of its foot at both edges, scale."""
    box, width = levels[0].box, size[0]
    feet = cv2.perspectiveTransform(np.array([[(box[0], BASE), (box[2], BASE)]], np.float64), matrix)[0]
    scale = float(np.linalg.norm(feet[1] - feet[0]) / (box[2] - box[0]))
    index = int(np.clip(np.floor(np.log2(1 / max(scale, 1e-3))), 0, len(levels) - 1))
    matrix = matrix @ np.diag([2.0**index, 2.0**index, 1.0])
    colours = cv2.warpPerspective(_relit(levels[index], mood, rng), matrix, size, flags=cv2.INTER_LINEAR)
    cover = cv2.warpPerspective(levels[index].cover, matrix, size, flags=cv2.INTER_LINEAR)
    slope = np.clip((feet[1, 1] - feet[0, 1]) / max(feet[1, 0] - feet[0, 0], 1.0), -0.3, 0.3) * width
    foot = feet[:, 1].mean() - slope * (feet[:, 0].mean() / width - 0.5) - 2
    return colours, cover, (float(foot - slope / 2), float(foot + slope / 2)), scale


def _compose(
    levels: tuple[Level, ...],
    matrix: np.ndarray,
    kind: Difficulty,
    mood: Mood,
    light: int,
    size: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The scene before the camera (RGB), then the coverage of all but sky, of the building, of its open part.

    Everything is float32 0..1, (height, width) or (height, width, 3).
    """
    width, height = size
    colours, cover, line, scale = _building(levels, matrix, mood, size, rng)
    back, front = Painter(width, height, light), Painter(width, height, light)
    paint_skyline(back, rng, mood, *line)
    paint_ground(back, rng, *line)
    paint_clutter(front, rng, int(rng.integers(kind.clutter[0], kind.clutter[1] + 1)), line, _PERSON * scale)
    if rng.random() < kind.screen:
        paint_screen(front, rng, float(rng.uniform(0.2, 0.4) if kind.screen < 1 else rng.uniform(0.6, 1.1)))
    sky = paint_sky(rng, mood, (height, width), max(*line, 1.0))
    near, far = front.alpha / np.float32(255), back.alpha / np.float32(255)
    seen = cover * (1 - near)
    land = 1 - (1 - far) * (1 - cover) * (1 - near)
    scene = back.rgb * three_channels(far * (1 - cover) * (1 - near)) + colours * three_channels(1 - near)
    scene = cv2.multiply(scene + front.rgb * three_channels(near), (*mood.tint, 0.0))
    veil = np.full_like(scene, mood.horizon) * three_channels(land * mood.haze)
    scene = scene * (1 - mood.haze) + veil + sky * three_channels(1 - land)
    return scene / np.float32(255), land, cover, seen


def take_photo(
    levels: dict[int, tuple[Level, ...]], difficulty: str, long_side: int, rng: np.random.Generator
) -> DrawnPhoto:
    """Photograph a landmark.

    ``levels`` holds ``build_levels`` of the landmark by side of the sun (-1, 1 or both); ``difficulty`` is a
    key of DIFFICULTIES. A viewpoint from which too much or too little of the building shows is drawn again.
    """
    kind = DIFFICULTIES[difficulty]
    for _ in range(_ATTEMPTS):
        photo = _one_photo(levels, kind, long_side, rng)
        if kind.visible[0] <= photo.visible <= kind.visible[1]:
            break
    return photo


def _one_photo(
    levels: dict[int, tuple[Level, ...]], kind: Difficulty, long_side: int, rng: np.random.Generator
) -> DrawnPhoto:
    light = sorted(levels)[int(rng.integers(len(levels)))]
    box = levels[light][0].box
    mood_name = str(rng.choice(list(MOOD_WEIGHTS), p=list(MOOD_WEIGHTS.values())))
    short_side = round(long_side * float(rng.uniform(0.66, 0.82)))
    upright = rng.random() < (0.75 if box[3] - box[1] > 1.1 * (box[2] - box[0]) else 0.2)
    width, height = (short_side, long_side) if upright else (long_side, short_side)
    large = (width * OVERSAMPLING, height * OVERSAMPLING)
    matrix = draw_homography(rng, kind, box, *large)
    scene, land, cover, seen = _compose(levels[light], matrix, kind, MOODS[mood_name], light, large, rng)
    exposure = draw_exposure(rng, kind.light)
    picture = blur(expose(scene, land, exposure, rng), exposure, rng, OVERSAMPLING)
    picture = sense(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), exposure, rng)
    _, jpeg = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, exposure.jpeg_quality])
    area = float((levels[light][0].cover > 0.5).sum()) * _area_scale(matrix, box)
    visible = float(np.clip(seen.sum() / max(area, 1.0), 0, 1))
    return DrawnPhoto(jpeg.tobytes(), width, height, _visible_box(cover, width, height), visible, mood_name)


def _area_scale(matrix: np.ndarray, box: tuple[float, float, float, float]) -> float:
    """Photo area per canvas area, averaged over the box of the building."""
    corners = np.array([[(box[0], box[1]), (box[2], box[1]), (box[2], box[3]), (box[0], box[3])]], np.float64)
    seen = cv2.perspectiveTransform(corners, matrix)[0]
    area = 0.5 * abs(np.dot(seen[:, 0], np.roll(seen[:, 1], 1)) - np.dot(seen[:, 1], np.roll(seen[:, 0], 1)))
    return float(area / ((box[2] - box[0]) * (box[3] - box[1])))


def _visible_box(cover: np.ndarray, width: int, height: int) -> tuple[float, float, float, float]:
    """The (x1, y1, x2, y2) box of the building inside the frame, in pixels of the finished photo."""
    rows, columns = np.flatnonzero((cover > 0.5).any(axis=1)), np.flatnonzero((cover > 0.5).any(axis=0))
    if not len(rows):
        return (0.0, 0.0, float(width), float(height))
    edges = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    x1, y1, x2, y2 = (round(float(edge) / OVERSAMPLING, 1) for edge in edges)
    return (x1, y1, min(x2, float(width)), min(y2, float(height)))
