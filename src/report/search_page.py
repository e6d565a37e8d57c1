"""The page of a search: each query photo with the photos found, and the verified matches drawn where one is opened."""

import logging
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional

import numpy as np

from ..artifacts import PathLike, atomic_write_text
from ..errors import printable
from ..matching.same_place import NO, Verdict
from ..names import in_either_form
from ..retrieval.index import DescriptorIndex
from ..retrieval.photo_search import Found
from ..retrieval.ranking_file import PairMatches
from .figures import draw_pair, facts_of_matches
from .pages import render_page
from .photos import SIZES, Thumbnail, ThumbnailSize, read_photos, style_rules

PAGE_BUDGET = 40_000_000  # bytes of thumbnails, with which a browser is still quick
_SIZES = (ThumbnailSize(960, 80), ThumbnailSize(720, 80), ThumbnailSize(540, 80), *SIZES)
_SHOWN_QUERIES = 100

logger = logging.getLogger(__name__)


class _Row(NamedTuple):
    """One result: where its photo should be, and what was found."""

    rank: int
    name: str
    file: str
    matches: PairMatches
    verdict: Optional[Verdict]


class SearchPage:
    """Collects the results of one query after the other, and writes them as one page.

    Args:
        index: that was searched.
        images_path: folder of its photos; one that is missing there shows as an empty frame.
        no_verdict: a line that says why the results have no verdict, else ''.
    """

    def __init__(self, index: DescriptorIndex, images_path: PathLike, no_verdict: str = "") -> None:
        self._index, self._images_path, self._no_verdict = index, Path(images_path), no_verdict
        self._queries: List[Dict[str, Any]] = []
        self._num_queries = 0

    def add(self, found: Found) -> None:
        """Add a query and its results; those past the hundredth are counted only."""
        self._num_queries += 1
        if self._num_queries > _SHOWN_QUERIES:
            return
        rows = [
            _Row(
                result.rank,
                result.name,
                str(in_either_form(self._images_path / result.name)),
                PairMatches.of(result.matches, found.features.keypoints, self._keypoints(result.number)),
                result.verdict,
            )
            for result in found.results
        ]
        query = {"name": found.query.name, "file": str(found.query.path), "num_features": len(found.features)}
        query["nothing"], query["left_out"] = found.answer == NO and bool(rows), found.left_out
        self._queries.append({**query, "rows": rows})

    def _keypoints(self, photo: int) -> np.ndarray:
        """[N, 2], (x, y) of one photo of the index."""
        return self._index.keypoints[self._index.rows(photo)]

    def write(self, path: PathLike, title: str) -> None:
        """Write the page, in place of an older one."""
        counts = f"{self._num_queries} queries in {len(self._index)} photos. Open a result to see its inliers."
        if self._num_queries > len(self._queries):
            counts += f" The first {len(self._queries)} queries are shown."
        names = [name for query in self._queries for name in (query["file"], *(row.file for row in query["rows"]))]
        files: Dict[str, Optional[Path]] = {name: Path(name) if Path(name).is_file() else None for name in names}
        thumbnails, copies = read_photos(files, _SIZES[0])
        queries = [_draw_query(query, thumbnails) for query in self._queries]
        rules, size = style_rules(copies, PAGE_BUDGET, _SIZES)
        page = render_page(
            "search.html", title=title, counts=counts, note=self._no_verdict, queries=queries, thumbnail_rules=rules
        )
        atomic_write_text(path, page)
        logger.info("%s: %d queries, photos of %s, %.1f MB", path, len(queries), size, len(page) / 1e6)


def _draw_query(query: Mapping[str, Any], thumbnails: Mapping[str, Thumbnail]) -> Dict[str, Any]:
    """A query with its photo, and its results with photos, counts and pair drawings."""
    own = thumbnails[query["file"]]
    results = [
        {
            "rank": row.rank,
            "name": printable(row.name),
            "thumbnail": thumbnails[row.file],
            "verified": row.matches.verified,
            "inliers": len(row.matches.points),
            "correspondences": row.matches.correspondences,
            "verdict": row.verdict,
            "share": row.verdict.probability if row.verdict else _share(row.matches, query["num_features"]),
            "drawing": draw_pair(own, thumbnails[row.file], row.matches, facts_of_matches(row.matches)),
        }
        for row in query["rows"]
    ]
    return {
        "name": printable(query["name"]),
        "num_features": query["num_features"],
        "nothing": query["nothing"],
        "left_out": printable(query["left_out"]),
        "thumbnail": own,
        "results": results,
    }


def _share(matches: PairMatches, num_features: int) -> float:
    """The query's features that are inliers; the bar where there is no probability."""
    return min(len(matches.points) / num_features, 1.0) if num_features else 0.0
