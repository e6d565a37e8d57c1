"""The attention of two networks over the same photos, such as before and after training, in one picture."""

from pathlib import Path
from typing import Any, List, Sequence

import cv2
import numpy as np
from tqdm import tqdm

from ..artifacts import PathLike, atomic_path
from ..config import ExtractionConfig, ModelConfig, RunConfig
from ..engines import load_network
from ..errors import printable
from ..images import load_photo
from .encoder import LoadNetwork, make_encoder
from .extraction import photos_of_folder

_HEIGHT, _DPI = 240, 100  # of each photo in the picture, pixels
_MARGIN, _HEADING = 10, 24  # pixels
_COLOURS, _INK = "plasma", "#3c4043"
_FAINT, _STRONG = 0.25, 0.8  # opacity of the lowest and the highest attention
_LOWEST_SHARE = 2  # percent of all maps of a network that share the lowest colour
_LETTER = 6.2  # mean width of one, pixels


def compare_attention(
    images_path: PathLike,
    output_image: PathLike,
    run: RunConfig,
    model: ModelConfig,
    extraction: ExtractionConfig,
    compared_checkpoint_path: PathLike,
    num_images: int = 6,
    network: LoadNetwork = load_network,
) -> int:
    """Draw photos of a folder, below each the attention of two networks, each network in its own scale of colours.

    Args:
        images_path: the photos.
        output_image: PNG to write.
        run, model, extraction: sections of the recipe; ``checkpoint_path`` is the first network.
        compared_checkpoint_path: the second.
        num_images: photos drawn at random; 0 = all.
        network: makes a network.

    Returns:
        Number of photos.

    Raises:
        UserError: an unusable checkpoint, or a photo that cannot be read.
    """
    photos = photos_of_folder(images_path, num_images, run.seed)
    paths = [Path(model.checkpoint_path), Path(compared_checkpoint_path)]
    models = [model.replace(checkpoint_path=str(path)) for path in paths]
    encoders = [make_encoder(run, wanted, extraction, network).load() for wanted in models]
    shown: List[np.ndarray] = []
    maps: List[List[np.ndarray]] = [[] for _ in encoders]
    for photo in tqdm(photos, desc="attention", unit="photo", disable=None):
        loaded = load_photo(photo.path)
        height, width = loaded.pixels.shape[:2]
        size = max(1, round(width * _HEIGHT / height)), _HEIGHT
        shown.append(cv2.resize(loaded.pixels, size, interpolation=cv2.INTER_AREA))
        for own, encoder in zip(maps, encoders):
            own.append(encoder.attention_map(encoder.infer(encoder.prepare(loaded)), size))
    draw_attention(shown, maps, [photo.name for photo in photos], [path.name for path in paths], output_image)
    return len(photos)


def draw_attention(
    photos: Sequence[np.ndarray],
    maps: Sequence[Sequence[np.ndarray]],
    names: Sequence[str],
    headings: Sequence[str],
    path: PathLike,
) -> None:
    """Write the picture.

    Args:
        photos: [240, W, 3] uint8 RGB each.
        maps: of each network, [h, w] attention over each photo.
        names: of the photos.
        headings: of the networks.
        path: PNG to write.
    """
    from matplotlib.figure import Figure

    widths = [photo.shape[1] for photo in photos]
    full_width = sum(widths) + _MARGIN * (len(photos) + 1)
    full_height = (1 + len(maps)) * (_HEIGHT + _HEADING) + _MARGIN
    figure = Figure(figsize=(full_width / _DPI, full_height / _DPI), dpi=_DPI)
    lefts = np.cumsum([_MARGIN, *(width + _MARGIN for width in widths)])

    def add(row: int, column: int, text: str, room: int) -> Any:
        top = row * (_HEIGHT + _HEADING) + _HEADING
        place = lefts[column], full_height - top - _HEIGHT, widths[column], _HEIGHT
        axes = figure.add_axes([p / s for p, s in zip(place, 2 * (full_width, full_height))])
        axes.set_axis_off()
        letters = max(int(room / _LETTER), 4)
        shown = printable(text)
        shown = shown if len(shown) <= letters else "..." + shown[3 - letters :]
        axes.set_title(shown, fontsize=8, color=_INK, loc="left", pad=3, parse_math=False)
        return axes

    for column, photo in enumerate(photos):
        add(0, column, names[column], widths[column]).imshow(photo, aspect="auto")
        grey = np.repeat(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2)
        for row, (own, heading) in enumerate(zip(maps, headings), start=1):
            axes = add(row, column, "" if column else f"attention of {heading}", full_width - 2 * _MARGIN)
            axes.imshow(grey, aspect="auto")
            _lay_over(axes, own[column], np.concatenate([made.ravel() for made in own]), photo.shape)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _lay_over(axes: Any, attention: np.ndarray, of_network: np.ndarray, shape: Sequence[int]) -> None:
    """Lay a map over its photo, in the colours of all maps of its network."""
    low, high = np.percentile(of_network, _LOWEST_SHARE), of_network.max()
    share = np.clip((attention - low) / (high - low if high > low else 1.0), 0, 1)
    place = (-0.5, shape[1] - 0.5, shape[0] - 0.5, -0.5)
    opacity = _FAINT + (_STRONG - _FAINT) * share
    axes.imshow(share, cmap=_COLOURS, vmin=0, vmax=1, alpha=opacity, extent=place, aspect="auto")
