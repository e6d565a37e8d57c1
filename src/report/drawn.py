"""The queries of a report with their photos, boxes and results, and each result beside its query."""

from typing import Any, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..matching.same_place import Calibration, Verdict
from ..records import Ranking
from ..retrieval.ranking_file import PairMatches, RankedMatches
from .figures import PairDrawing, draw_pair, facts_of_matches
from .photos import Thumbnail
from .results import ShownQuery, ShownResult

Place = Tuple[int, int]  # row of the ranking, number of the photo


def found_through(
    ranking: Ranking, queries: Sequence[ShownQuery], matches: Optional[RankedMatches]
) -> Dict[Place, int]:
    """By query and photo that the graph has found through another photo, the number of that one."""
    places = [(query.row, result.number) for query in queries for result in query.results]
    found = {place: matches.find_through(*place) for place in places} if matches is not None else {}
    return {place: number for place, number in found.items() if number is not None}


class Step(NamedTuple):
    """One of the two steps by which the graph has found a photo: two photos, by name, and their drawing."""

    left: str
    left_photo: Thumbnail
    right: str
    right_photo: Thumbnail
    drawing: PairDrawing


class Drawn(NamedTuple):
    """A result with its photo and its drawing beside the query.

    Attributes:
        verdict: whether it is the same place, where that is known.
        through: name of the photo through which the graph has found it, or ''.
        steps: from the query to that photo, and from there to this one.
        rival, rival_rank: of the first positive that was missed: the first negative, which is in the way, beside the
            query; else None, 0.
    """

    result: ShownResult
    thumbnail: Thumbnail
    pair: PairDrawing
    verdict: Optional[Verdict]
    through: str
    steps: Sequence[Step]
    rival: Optional[Step]
    rival_rank: int


class Drawer:
    """Draws queries: with photo and box, and their results with photos and pair drawings.

    Args:
        thumbnails: by name.
        matches: that were kept with the ranking, or None.
        index_names: of its photos.
        through: see ``found_through``.
        calibration: of the verdicts, or None.
    """

    def __init__(
        self,
        thumbnails: Mapping[str, Thumbnail],
        matches: Optional[RankedMatches],
        index_names: Sequence[str],
        through: Mapping[Place, int],
        calibration: Optional[Calibration],
    ) -> None:
        self._thumbnails, self._matches, self._names = thumbnails, matches, index_names
        self._through, self._calibration = through, calibration

    def __call__(self, query: ShownQuery) -> Dict[str, Any]:
        """A query."""
        own = self._thumbnails[query.image_name]
        false = next((result for result in query.results if result.kind == "negative"), None)
        results = []
        for result in query.results:
            found = self._find(query, result.number)
            facts = facts_of_matches(found) if self._matches is not None else ""
            pair = draw_pair(own, self._thumbnails[result.name], found, facts)
            by = self._through.get((query.row, result.number))
            name, steps = (self._names[by], self._steps(query, by, result)) if by is not None else ("", [])
            rival = None
            if result.missed and false is not None:
                rival = self._step(f"query {query.image_name}", own, false.name, self._find(query, false.number))
            drawn = (result, self._thumbnails[result.name], pair, self._judge(found), name, steps)
            results.append(Drawn(*drawn, rival, false.rank if rival else 0))
        return {"query": query, "thumbnail": own, "box": _box_place(query, own), "results": results}

    def _find(self, query: ShownQuery, number: int) -> Optional[PairMatches]:
        return self._matches.find(query.row, number) if self._matches is not None else None

    def _judge(self, found: Optional[PairMatches]) -> Optional[Verdict]:
        judged = self._calibration is not None and found is not None and found.verified
        return self._calibration.judge(len(found.points)) if judged else None

    def _steps(self, query: ShownQuery, by: int, result: ShownResult) -> Sequence[Step]:
        """From the query to a photo, and from there to the result."""
        own, name = self._thumbnails[query.image_name], self._names[by]
        second = self._matches.steps.find(by, result.number)
        return [
            self._step(f"query {query.image_name}", own, name, self._find(query, by)),
            self._step(name, self._thumbnails[name], result.name, second),
        ]

    def _step(self, left: str, left_photo: Thumbnail, right: str, found: Optional[PairMatches]) -> Step:
        facts = facts_of_matches(found) if self._matches is not None else ""
        drawing = draw_pair(left_photo, self._thumbnails[right], found, facts)
        return Step(left, left_photo, right, self._thumbnails[right], drawing)


def _box_place(query: ShownQuery, photo: Thumbnail) -> str:
    """Style of the query's box over its photo, in percent; '' when there is none to show."""
    if not photo.style or query.box is None:
        return ""
    (x1, x2), (y1, y2) = (100 * np.clip(query.box[axis::2], 0, photo.size[axis]) / photo.size[axis] for axis in (0, 1))
    return f"left:{x1:.2f}%;top:{y1:.2f}%;width:{x2 - x1:.2f}%;height:{y2 - y1:.2f}%"
