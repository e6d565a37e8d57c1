"""The picture of a match: two photos side by side, a line for each inlier, the counts above, outliers on request."""

from typing import Callable, Optional, Tuple

import cv2
import numpy as np

from ..errors import printable
from ..records import LocalFeatures, Matches

_PHOTO_HEIGHT = 720  # both photos are shown at this height, pixels
_MAX_PHOTO_WIDTH = 1600  # a panorama gets less height instead
_MARGIN = 16
_TITLE_HEIGHT = 52
_LINE_OPACITY, _OUTLIER_OPACITY = 0.8, 0.35
_BACKGROUND, _INK, _OUTLIER = (250, 250, 248), (40, 40, 44), (232, 232, 232)
_GOLDEN_RATIO = 0.61803398875
_SUBPIXEL_BITS = 4  # OpenCV draws at fixed-point coordinates
_FAR = 2.0**20  # pixels; a feature file may hold keypoints that lie where OpenCV cannot count

Colour = Tuple[int, int, int]  # RGB


def draw_matches(
    image_a: np.ndarray,
    image_b: np.ndarray,
    features_a: LocalFeatures,
    features_b: LocalFeatures,
    matches: Matches,
    title: str = "",
    show_outliers: bool = False,
    strengths: Optional[np.ndarray] = None,
    counts: str = "",
) -> np.ndarray:
    """Draw the inliers of verified matches.

    Args:
        image_a, image_b: [H, W, 3] uint8 RGB photos.
        features_a, features_b: their features, keypoints (x, y) in pixels of the original photos. A photo may be given
            smaller than its original: keypoints follow ``image_size``.
        matches: correspondences after ``verify``.
        title: text before the counts, such as the photos' names.
        show_outliers: draw the other correspondences too, as thin grey lines under the inliers.
        strengths: [M] of the inliers, 0 to 1, for their colours from blue to red; None = all colours differ.
        counts: in the title, in place of how many correspondences and inliers there are.

    Returns:
        uint8 RGB picture: title bar, then A on the left and B on the right at one height.
    """
    height = int(min([_PHOTO_HEIGHT] + [_MAX_PHOTO_WIDTH * i.shape[0] / i.shape[1] for i in (image_a, image_b)]))
    shown_a, shown_b = _fit_height(image_a, max(height, 1)), _fit_height(image_b, max(height, 1))
    left_b = 2 * _MARGIN + shown_a.shape[1]
    canvas = np.full(
        (_TITLE_HEIGHT + shown_a.shape[0] + _MARGIN, left_b + shown_b.shape[1] + _MARGIN, 3), _BACKGROUND, np.uint8
    )
    _paste(canvas, shown_a, _MARGIN)
    _paste(canvas, shown_b, left_b)
    inliers = np.zeros(len(matches), bool) if matches.inliers is None else matches.inliers
    ends = (
        _on_canvas(features_a, matches.indices[:, 0], shown_a.shape, _MARGIN),
        _on_canvas(features_b, matches.indices[:, 1], shown_b.shape, left_b),
    )
    if show_outliers:
        _draw_lines(canvas, *(points[~inliers] for points in ends), lambda _: _OUTLIER, _OUTLIER_OPACITY)
    colour = _colour if strengths is None else _colours_of(strengths)
    _draw_lines(canvas, *(points[inliers] for points in ends), colour, _LINE_OPACITY)
    _draw_dots(canvas, *(points[inliers] for points in ends), colour)
    counts = counts or f"{len(matches)} correspondences, {inliers.sum()} inliers"
    _write_title(canvas, f"{title}   |   {counts}" if title else counts)
    return canvas


def _fit_height(image: np.ndarray, height: int) -> np.ndarray:
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    shrinks = height < image.shape[0]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def _paste(canvas: np.ndarray, photo: np.ndarray, left: int) -> None:
    canvas[_TITLE_HEIGHT : _TITLE_HEIGHT + photo.shape[0], left : left + photo.shape[1]] = photo


def _on_canvas(features: LocalFeatures, rows: np.ndarray, shape: Tuple[int, ...], left: int) -> np.ndarray:
    """Keypoints of some rows as fixed-point (x, y) on the canvas, [M, 2] int."""
    scale = np.array([shape[1], shape[0]]) / np.array(features.image_size)
    points = features.keypoints[rows] * scale + np.array([left, _TITLE_HEIGHT])
    return np.rint(np.clip(points, -_FAR, _FAR) * (1 << _SUBPIXEL_BITS)).astype(int)


def _draw_lines(
    canvas: np.ndarray, points_a: np.ndarray, points_b: np.ndarray, colour: Callable[[int], Colour], opacity: float
) -> None:
    """Blend a line for each pair over the canvas, in the colour of its number."""
    overlay = canvas.copy()
    for number, (a, b) in enumerate(zip(points_a.tolist(), points_b.tolist())):
        cv2.line(overlay, a, b, colour(number), 1, cv2.LINE_AA, _SUBPIXEL_BITS)
    cv2.addWeighted(overlay, opacity, canvas, 1 - opacity, 0, canvas)


def _draw_dots(canvas: np.ndarray, points_a: np.ndarray, points_b: np.ndarray, colour: Callable[[int], Colour]) -> None:
    """A ringed dot at both ends of each pair, in the colour of its line."""
    for number, ends in enumerate(zip(points_a.tolist(), points_b.tolist())):
        for point in ends:
            cv2.circle(canvas, point, 4 << _SUBPIXEL_BITS, (255, 255, 255), -1, cv2.LINE_AA, _SUBPIXEL_BITS)
            cv2.circle(canvas, point, 3 << _SUBPIXEL_BITS, colour(number), -1, cv2.LINE_AA, _SUBPIXEL_BITS)


def _colour(number: int) -> Colour:
    """A vivid RGB colour; golden-ratio steps of the hue keep successive ones apart."""
    hue = (number * _GOLDEN_RATIO) % 1.0
    value = 255 if number % 2 else 215
    pixel = np.uint8([[[int(hue * 255), 220, value]]])
    return tuple(int(channel) for channel in cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB_FULL)[0, 0])


def _colours_of(strengths: np.ndarray) -> Callable[[int], Colour]:
    """Blue for 0, over green, to red for 1."""
    values = np.rint(np.clip(strengths, 0, 1) * 255).astype(np.uint8)
    colours = cv2.applyColorMap(values.reshape(-1, 1), cv2.COLORMAP_TURBO)[:, 0, ::-1] if len(values) else values
    return lambda number: tuple(colours[number].tolist())


def _write_title(canvas: np.ndarray, text: str) -> None:
    """Write the title into the bar above the photos, smaller if the picture is narrow."""
    text = printable(text).encode("ascii", "replace").decode()  # OpenCV's fonts have no other letters
    font, room = cv2.FONT_HERSHEY_DUPLEX, canvas.shape[1] - 2 * _MARGIN
    width = cv2.getTextSize(text, font, 0.7, 1)[0][0]
    size = min(0.7, 0.7 * room / width)
    height = cv2.getTextSize(text, font, size, 1)[0][1]
    cv2.putText(canvas, text, (_MARGIN, (_TITLE_HEIGHT + height) // 2), font, size, _INK, 1, cv2.LINE_AA)
