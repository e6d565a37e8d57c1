"""The page of a search: each query photo with the photos found, and the verified matches drawn where one is opened.

One HTML file without network or script; pictures are embedded as JPEGs.
"""

import base64
import logging
from html import escape
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import cv2
import numpy as np

from ..artifacts import PathLike, atomic_write_text
from ..errors import UserError
from ..images import load_image
from ..matching.drawing import draw_matches
from ..retrieval.index import PhotoIndex
from ..retrieval.photo_search import Found, Result

_PHOTO_SIDE = 960  # photos are kept in memory and drawn at this size, pixels
_THUMBNAIL_SIDE, _DRAWING_WIDTH = 200, 1100
_JPEG_QUALITY = 80
_KEPT_PHOTOS = 64
_SHOWN_QUERIES = 100  # some 150 MB with ten results each; browsers give up beyond
_STYLE = Path(__file__).with_name("search.css")
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"  # nothing from outside, no script

logger = logging.getLogger(__name__)


class Gallery:
    """Collects the results of one query after the other, as HTML.

    Args:
        index: that was searched.
        images_path: folder of its photos; one that is missing there shows as an empty frame.
    """

    def __init__(self, index: PhotoIndex, images_path: PathLike) -> None:
        self._index, self._images_path = index, Path(images_path)
        self._photos: Dict[Path, Optional[np.ndarray]] = {}
        self._sections: List[str] = []
        self._num_queries = 0

    def add(self, found: Found) -> None:
        """Add a query and its results; those past the hundredth are counted only."""
        self._num_queries += 1
        if self._num_queries > _SHOWN_QUERIES:
            return
        photo = self._read(Path(found.query.path))
        rows = "".join(self._row(found, result, photo) for result in found.results)
        rows = rows or "<p>Nothing in the index resembles it.</p>"
        self._sections.append(
            f"<section><header>{_picture(photo, _THUMBNAIL_SIDE, 'query')}<div><h2>{escape(found.query.name)}</h2>"
            f"<p>{len(found.features)} features</p></div></header>{rows}</section>\n"
        )

    def write(self, path: PathLike, title: str) -> None:
        """Write the page, in place of an older one."""
        facts = f"{self._num_queries} queries in {len(self._index)} photos. Open a result to see its inliers."
        if self._num_queries > len(self._sections):
            facts += f" The first {len(self._sections)} queries are shown."
        atomic_write_text(
            path,
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
            f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title>\n'
            f"<style>\n{_STYLE.read_text(encoding='utf-8')}</style></head>\n<body><h1>{escape(title)}</h1>"
            f"<p>{facts}</p>\n{''.join(self._sections)}</body></html>\n",
        )

    def _row(self, found: Found, result: Result, query: Optional[np.ndarray]) -> str:
        photo = self._read(self._images_path / result.name)
        inliers, total = result.matches.num_inliers, len(result.matches)
        counts = (
            f"<b>{inliers}</b> inliers of {total}" if result.matches.inliers is not None else f"{total}, not verified"
        )
        share = 100 * inliers / max(r.matches.num_inliers for r in found.results) if inliers else 0
        summary = (
            f"<i>{result.rank}</i>{_picture(photo, _THUMBNAIL_SIDE, result.name)}"
            f'<span class="name">{escape(result.name)}</span>'
            f'<span class="bar"><s style="width:{share:.0f}%"></s></span>'
            f'<span class="counts">{counts}</span>'
        )
        if photo is None or query is None or not inliers:
            return f'<div class="row">{summary}</div>'
        features = self._index.features(result.number)
        drawing = draw_matches(photo, query, features, found.features, result.matches, f"{result.name} - query")
        opened = " open" if result.rank == 1 else ""
        return (
            f'<details{opened}><summary class="row">{summary}</summary>{_picture(drawing, _DRAWING_WIDTH, "matches")}'
            "</details>"
        )

    def _read(self, path: Path) -> Optional[np.ndarray]:
        """A photo, shrunk; None when it cannot be read. The last few are kept: queries share results."""
        if path not in self._photos:
            while len(self._photos) >= _KEPT_PHOTOS:
                del self._photos[next(iter(self._photos))]
            try:
                self._photos[path] = _fit(load_image(path), _PHOTO_SIDE)
            except UserError as error:
                logger.warning("%s", error)
                self._photos[path] = None
        return self._photos[path]


def _fit(image: np.ndarray, side: int) -> np.ndarray:
    factor = side / max(image.shape[:2])
    if factor >= 1:
        return image
    size: Tuple[int, int] = tuple(max(1, round(length * factor)) for length in image.shape[1::-1])
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _picture(image: Optional[np.ndarray], side: int, text: str) -> str:
    if image is None:
        return '<span class="none">no photo</span>'
    small = cv2.cvtColor(_fit(image, side), cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    data = base64.b64encode(encoded.tobytes()).decode("ascii")
    return f'<img alt="{escape(text)}" src="data:image/jpeg;base64,{data}">'
