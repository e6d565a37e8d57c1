"""Pictures of features: keypoints or regions over the photo, where the attention lies, and a model's scores."""

from typing import Any, List, Optional, Tuple

import cv2
import numpy as np

from ..artifacts import PathLike, atomic_path
from ..errors import printable
from ..records import LocalFeatures
from .score_threshold import ScoreSample

_LONGER_SIDE = 860  # of a photo in the picture, pixels, as all that follow
_MARGIN, _TITLE, _HEADING, _GAP = 22, 44, 30, 26
_BAR, _BAR_LABELS, _LEAST_BAR, _LEAST_WIDTH = 14, 64, 150, 620
_LEAST_HALF = 250  # room for the words above a narrow photo
_LETTER = 9.7  # mean width of one in the title
_DPI = 100
_STACKED_ABOVE = 1.8  # width / height from which the two halves lie one above the other
_COLOURS, _INK = "plasma", "#3c4043"
_FAINT, _STRONG = 0.25, 0.8  # opacity of the lowest and the highest attention
_LOWEST_SHARE = 2  # percent of the attention map that share the lowest colour
_BINS = 80  # of the histogram of scores
_KEPT, _LEFT_OUT = "#1f6fb4", "#c9ced6"


def shown_size(image: np.ndarray) -> Tuple[int, int]:
    """(width, height) in pixels at which a photo [H, W, 3] is shown."""
    height, width = image.shape[:2]
    factor = _LONGER_SIDE / max(height, width)
    return max(1, round(width * factor)), max(1, round(height * factor))


def draw_features(
    image: np.ndarray,
    features: LocalFeatures,
    attention: Optional[np.ndarray],
    title: str,
    path: PathLike,
    num_shown: int = 200,
    stride: int = 32,
) -> None:
    """Write a PNG: the strongest keypoints, then the attention, both in one scale of colours.

    A circle is as large as the cell of the feature map that the feature comes from; the strongest lie on top.

    Args:
        image: [H, W, 3] uint8 RGB.
        features: of the photo, best first.
        attention: [h, w] over the whole photo; None = keypoints only.
        title: text above, such as the photo's name.
        path: PNG to write.
        num_shown: keypoints drawn at most.
        stride: side of a cell, pixels of the image that the network sees.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    size = shown_size(image)
    figure, halves, bar = _lay_out(size, 1 if attention is None else 2, title)
    scores = features.scores[:num_shown]
    low = scores.min(initial=np.inf) if attention is None else np.percentile(attention, _LOWEST_SHARE)
    high = max(scores.max(initial=-np.inf), -np.inf if attention is None else attention.max())
    low, high = (float(low), float(high)) if np.isfinite([low, high]).all() else (0.0, 1.0)
    colours = ScalarMappable(Normalize(low, high if high > low else low + 1, clip=True), _COLOURS)
    shrinks = size[0] < image.shape[1]
    shown = cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    _draw_keypoints(halves[0], shown, features, num_shown, colours, stride)
    if attention is not None:
        heading = "attention, highest of all scales"
        _draw_attention(halves[1], shown, attention, features.image_size, colours, heading)
    _finish(figure, bar, colours, "attention score", path)


def draw_regions(
    image: np.ndarray,
    image_size: Tuple[int, int],
    boxes: np.ndarray,
    weights: np.ndarray,
    title: str,
    path: PathLike,
    num_shown: int = 5,
) -> None:
    """Write a PNG: the regions that count most, then over each pixel the mean weight of the regions that hold it.

    Args:
        image: [H, W, 3] uint8 RGB.
        image_size: (width, height) of the photo.
        boxes: [R, 4] (left, top, right, bottom) in pixels of the photo.
        weights: [R], how much each region counts.
        title: text above, such as the photo's name.
        path: PNG to write.
        num_shown: regions outlined at most; the heaviest lies on top.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.patches import Rectangle

    size = shown_size(image)
    figure, halves, bar = _lay_out(size, 2, title)
    low, high = float(weights.min()), float(weights.max())
    colours = ScalarMappable(Normalize(low, high if high > low else low + 1, clip=True), _COLOURS)
    shown = cv2.resize(image, size, interpolation=cv2.INTER_AREA if size[0] < image.shape[1] else cv2.INTER_LINEAR)
    heaviest = np.argsort(-weights, kind="stable")[:num_shown][::-1]
    _show(halves[0], shown, image_size, f"{len(heaviest)} heaviest of {len(weights)} regions")
    for (left, top, right, bottom), weight in zip(boxes[heaviest], weights[heaviest]):
        place = (left - 0.5, top - 0.5), right - left, bottom - top
        for line_width, edge in ((4.4, (0, 0, 0, 0.45)), (2.2, colours.to_rgba(weight))):
            halves[0].add_patch(Rectangle(*place, fill=False, edgecolor=edge, linewidth=line_width))
    covered = _covered(boxes, weights, image_size, size)
    _draw_attention(halves[1], shown, covered, image_size, colours, "mean weight of the regions there")
    _finish(figure, bar, colours, "weight of a region", path)


def _covered(boxes: np.ndarray, weights: np.ndarray, image_size: Tuple[int, int], size: Tuple[int, int]) -> np.ndarray:
    """Mean weight [h, w] of the boxes over each pixel of a photo shown at ``size``; the lowest where there is none."""
    total, count = np.zeros(size[::-1]), np.zeros(size[::-1])
    factor = np.tile(np.array(size) / np.array(image_size), 2)
    for (left, top, right, bottom), weight in zip(np.rint(boxes * factor).astype(int), weights):
        total[top:bottom, left:right] += weight
        count[top:bottom, left:right] += 1
    return np.where(count > 0, total / np.maximum(count, 1), weights.min())


def _finish(figure: Any, bar: Any, colours: Any, meaning: str, path: PathLike) -> None:
    """Draw the colour bar, and write the picture."""
    figure.colorbar(colours, cax=bar).outline.set_visible(False)
    bar.set_ylabel(meaning, color=_INK)
    bar.tick_params(colors=_INK)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _lay_out(size: Tuple[int, int], count: int, title: str) -> Tuple[Any, List[Any], Any]:
    """A figure with axes for ``count`` photos of ``size`` (width, height) and for the colour bar, in whole pixels."""
    from matplotlib.figure import Figure

    width, height = size
    down = count if width > _STACKED_ABOVE * height else 1
    across = count // down
    column = max(width, _LEAST_HALF)
    photos_width = across * column + (across - 1) * _GAP
    photos_height = down * (height + _HEADING)
    full_width = max(_LEAST_WIDTH, _MARGIN + photos_width + _GAP + _BAR + _BAR_LABELS + _MARGIN)
    full_height = _TITLE + max(photos_height, _LEAST_BAR + _HEADING) + _MARGIN
    figure = Figure(figsize=(full_width / _DPI, full_height / _DPI), dpi=_DPI)

    def axes(left: int, top: int, box_width: int, box_height: int) -> Any:
        bottom = full_height - top - box_height
        return figure.add_axes(
            (left / full_width, bottom / full_height, box_width / full_width, box_height / full_height)
        )

    letters = int((full_width - 2 * _MARGIN) / _LETTER)
    shown = printable(title)
    text = shown if len(shown) <= letters else "..." + shown[3 - letters :]
    place = _MARGIN / full_width, 1 - _TITLE / 2 / full_height
    figure.text(*place, text, fontsize=12, color=_INK, va="center", parse_math=False)  # a name may hold $
    halves = [
        axes(
            _MARGIN + (number % across) * (column + _GAP),
            _TITLE + _HEADING + (number // across) * (height + _HEADING), width, height,
        )
        for number in range(count)
    ]  # fmt: skip
    bar_height = max(photos_height - _HEADING, _LEAST_BAR)
    return figure, halves, axes(_MARGIN + photos_width + _GAP, _TITLE + _HEADING, _BAR, bar_height)


def _show(axes: Any, picture: np.ndarray, image_size: Tuple[int, int], heading: str, **how: Any) -> None:
    """Lay ``picture`` over the area of the photo; coordinates are pixels of the photo, whose centres are whole."""
    width, height = image_size
    axes.imshow(picture, extent=(-0.5, width - 0.5, height - 0.5, -0.5), aspect="auto", **how)
    axes.set_axis_off()
    axes.set_title(heading, fontsize=10, color=_INK, loc="left")


def _draw_keypoints(
    axes: Any, shown: np.ndarray, features: LocalFeatures, num_shown: int, colours: Any, stride: int
) -> None:
    from matplotlib.collections import EllipseCollection

    rows = np.arange(min(len(features), num_shown))[::-1]  # weakest first, so that the strongest lie on top
    part = f"{len(rows)} strongest of " if len(rows) < len(features) else ""
    meaning = "; a circle is a cell of its scale" if shown.shape[1] > 2 * _LEAST_HALF and len(rows) else ""
    heading = f"{part}{len(features) or 'no'} keypoints{meaning}"
    _show(axes, shown, features.image_size, heading)
    sizes = stride * features.scales[rows] / features.resize_factor  # pixels of the photo
    for line_width, edges in ((2.4, (0, 0, 0, 0.45)), (1.2, colours.to_rgba(features.scores[rows]))):
        circles = EllipseCollection(
            sizes, sizes, np.zeros(len(rows)), units="xy", offsets=features.keypoints[rows], facecolors="none",
            edgecolors=edges, linewidths=line_width, offset_transform=axes.transData,
        )  # fmt: skip
        axes.add_collection(circles)


def _draw_attention(
    axes: Any, shown: np.ndarray, attention: np.ndarray, image_size: Tuple[int, int], colours: Any, heading: str
) -> None:
    grey = np.repeat(cv2.cvtColor(shown, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2)
    _show(axes, grey, image_size, heading)
    opacity = _FAINT + (_STRONG - _FAINT) * np.asarray(colours.norm(attention))
    _show(axes, attention, image_size, heading, cmap=colours.cmap, norm=colours.norm, alpha=opacity)


def draw_scores(sample: ScoreSample, threshold: float, path: PathLike) -> None:
    """Write the histogram of all scores (counts logarithmic) as a PNG: kept ones in colour, a line at the threshold."""
    from matplotlib.figure import Figure

    scores = np.concatenate(sample.scores)
    features, without = sample.kept(threshold)
    figure = Figure(figsize=(9, 4.8), layout="constrained")
    axes = figure.subplots()
    edges = np.linspace(scores.min(), max(scores.max(), scores.min() + 1e-6), _BINS + 1)
    counts, _ = np.histogram(scores, edges)
    kept, _ = np.histogram(scores[scores >= threshold], edges)
    axes.stairs(counts, edges, fill=True, color=_LEFT_OUT, label="left out")
    axes.stairs(kept, edges, fill=True, color=_KEPT, label="kept")
    axes.axvline(threshold, color=_INK, linewidth=1.4, label=f"threshold {threshold:.4g}")
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.5)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_xlabel("attention score")
    axes.set_ylabel("cells of the feature map")
    axes.set_title(
        f"{len(sample.scores)} photos, {len(scores) / len(sample.scores):.0f} scores a photo: the threshold keeps "
        f"{features:.0f} features a photo, {without:.1%} of the photos keep none", fontsize=10.5,
    )  # fmt: skip
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, loc="upper right")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130)
