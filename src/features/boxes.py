"""Boxes of photos from a table (csv): a detector's, one's own, or those of the command propose_boxes."""

import csv
import io
import logging
from typing import Dict, Iterable, List, NamedTuple, Sequence, Tuple

import numpy as np
import pandas as pd

from ..artifacts import PathLike
from ..errors import UserError
from ..names import NameTable, bare_name
from ..tables import read_table
from ..values import short

COLUMNS, SCORE = ("photo", "x1", "y1", "x2", "y2"), "score"
_PIXEL_CENTRE = 0.5  # of the first pixel, as boxes count; keypoints count it 0

logger = logging.getLogger(__name__)


class Box(NamedTuple):
    """A box of a photo: left, top, right, bottom in its pixels, (0, 0) the corner of the first; and a score."""

    x1: float
    y1: float
    x2: float
    y2: float
    score: float = 1.0


def encode_boxes(boxes: Iterable[Tuple[str, Sequence[Box]]]) -> bytes:
    """The table of the boxes of some photos, UTF-8; bytes of names that are no text stay as they are."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, SCORE])
    for photo, own in boxes:
        writer.writerows([photo, *(f"{value:.6g}" for value in box)] for box in own)
    return text.getvalue().encode("utf-8", "surrogateescape")


def read_boxes(path: PathLike, least_score: float = float("-inf")) -> Dict[str, np.ndarray]:
    """The boxes of each photo in a table.

    Args:
        path: columns photo, x1, y1, x2, y2 and perhaps score (else 1); further ones are passed over.
        least_score: boxes of a lower score are left out, not the photo's name.

    Returns:
        By name as it stands there, [B, 4] float64.

    Raises:
        UserError: no such table, a row without a name, a number that is none, or a box of no width or height.
    """
    found: Dict[str, List[np.ndarray]] = {}
    for frame in read_table(path, COLUMNS, "boxes_path", "surrogateescape", optional=(SCORE,)):
        frame = frame if SCORE in frame else frame.assign(score="1")
        numbers = frame[[*COLUMNS[1:], SCORE]].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
        _require_boxes(path, frame, numbers)
        for photo, row in zip(frame["photo"], numbers):
            own = found.setdefault(photo, [])
            if row[4] >= least_score:
                own.append(row[:4])
    return {photo: np.reshape(rows, (-1, 4)) for photo, rows in found.items()}


def _require_boxes(path: PathLike, frame: pd.DataFrame, numbers: np.ndarray) -> None:
    """UserError for the first row that is no name and box."""
    finite = np.isfinite(numbers).all(axis=1)
    named = (frame["photo"] != "").to_numpy()
    ordered = (numbers[:, 0] < numbers[:, 2]) & (numbers[:, 1] < numbers[:, 3])
    wrong = np.flatnonzero(~(finite & named & ordered))
    if not len(wrong):
        return
    row = wrong[0]
    text = short(",".join(frame.iloc[row]))
    fact = "no name of a photo" if not named[row] else "a number is missing or none" if not finite[row] else ""
    fact = fact or "x1 must be below x2, and y1 below y2"
    raise UserError(f"{path}, line {frame.index[row]}: {fact} ({text}); a row is {','.join(COLUMNS)} and a score")


class PhotoBoxes:
    """The boxes of some photos.

    Args:
        path: the table; names in it fit those of the photos with or without folder and extension. It may hold other
            photos too.
        names: of the photos.
        least_score: as of ``read_boxes``.

    Raises:
        UserError: as of ``read_boxes``, a name that fits two photos, or none that fits any.
    """

    def __init__(self, path: PathLike, names: Sequence[str], least_score: float) -> None:
        self._path, table, strangers = path, NameTable(names), []
        self._boxes: Dict[str, np.ndarray] = {}
        for name, boxes in read_boxes(path, least_score).items():
            number = table.find(name)
            if number is None:
                strangers.append(name)
                continue
            photo = bare_name(names[number])
            self._boxes[photo] = np.concatenate([self._boxes.get(photo, boxes[:0]), boxes])
        if not self._boxes:
            example = f", such as {short(strangers[0])}" if strangers else ""
            raise UserError(f"{path}: names none of the {len(names)} photos{example}; give the boxes of these photos")
        if strangers:
            logger.info("%s: %d of its photos are not among these, such as %s", path, len(strangers), strangers[0])
        count = sum(map(len, self._boxes.values()))
        logger.info("%s: %d boxes of %d of %d photos", path, count, len(self._boxes), len(names))

    def of(self, name: str, image_size: Tuple[int, int]) -> np.ndarray:
        """[B, 4] float64, the boxes of a photo; UserError for one that lies outside it."""
        boxes = self._boxes.get(bare_name(name), np.zeros((0, 4)))
        width, height = image_size
        outside = (boxes[:, 0] >= width) | (boxes[:, 1] >= height) | (boxes[:, 2] <= 0) | (boxes[:, 3] <= 0)
        if outside.any():
            box = ",".join(f"{value:g}" for value in boxes[outside][0])
            fact = f"the box {box} lies outside {name}, which has {width} x {height} pixels"
            raise UserError(f"{self._path}: {fact}; boxes count in pixels of the upright photo")
        return boxes


def inside(keypoints: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """[B, N] bool, which keypoints [N, 2] lie in which boxes [B, 4]; those on the left or upper edge do."""
    points = keypoints[None] + _PIXEL_CENTRE
    return ((points >= boxes[:, None, :2]) & (points < boxes[:, None, 2:])).all(axis=2)
