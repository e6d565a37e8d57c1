"""Numbers of the pages' drawings: precision-recall curves, and the lines between two photos. Templates draw them."""

from typing import Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from ..evaluation.evaluate import Evaluation
from ..evaluation.metrics import positive_ranks
from ..records import Ranking
from ..retrieval.ranking_file import PairMatches
from ..retrieval.ransac import MIN_CORRESPONDENCES
from .photos import Thumbnail

LEVELS = np.linspace(0, 1, 101)  # recall
MAX_LINES = 80  # drawn for a pair: more cover the photos
_PAIR_HEIGHT, _PAIR_GAP = 300, 12  # of the two photos side by side, in units of their drawing
_NUM_COLOURS = 6  # of inlier lines; page.css has them as l0 ... l5


def interpolated_precision(found: np.ndarray, num_positives: int) -> np.ndarray:
    """The best precision at each recall of ``LEVELS`` or beyond it (Manning et al., Information Retrieval, 8.4).

    Args:
        found: rising junk-free ranks of the positives that were found, from 0.
        num_positives: positives in total, above 0; a recall that is not reached has precision 0.

    Returns:
        [101] falling precisions.
    """
    counts = np.arange(1, len(found) + 1)
    best = np.maximum.accumulate((counts / (found + 1))[::-1])[::-1]
    return np.append(best, 0.0)[np.searchsorted(counts / num_positives, LEVELS - 1e-9)]


def mean_curves(ranking: Ranking, evaluation: Evaluation) -> Dict[str, np.ndarray]:
    """By setting, the mean [101] of ``interpolated_precision`` over the queries with positives, if there are any."""
    means = {}
    for setting, labels in evaluation.labels.items():
        curves = [
            interpolated_precision(positive_ranks(ranking.ranks[row], label.positives, label.junk), label.num_positives)
            for row, label in zip(evaluation.rows, labels)
            if label.num_positives
        ]
        if curves:
            means[setting] = np.mean(curves, axis=0)
    return means


def curve_points(curve: np.ndarray, left: float, top: float, right: float, bottom: float) -> str:
    """A curve as the points of an SVG polyline in a frame of these borders."""
    xs = np.linspace(left, right, len(curve))
    return " ".join(f"{x:.1f},{bottom - (bottom - top) * y:.1f}" for x, y in zip(xs, curve))


class PairDrawing(NamedTuple):
    """Query and result side by side at one height, with a line for each inlier.

    Attributes:
        width, height: of the drawing, in its units.
        query_place, photo_place: style of each photo, in percent.
        paths: SVG path data of one colour each: its lines, and the dots at their ends.
        facts: what was found, in words; '' when nothing is known.
    """

    width: int
    height: int
    query_place: str
    photo_place: str
    paths: List[Tuple[str, str]]
    facts: str


def draw_pair(query: Thumbnail, photo: Thumbnail, matches: Optional[PairMatches], facts: str) -> PairDrawing:
    """The drawing of two photos; without ``matches`` it has no lines."""
    widths = query.aspect * _PAIR_HEIGHT, photo.aspect * _PAIR_HEIGHT
    total, start = sum(widths) + _PAIR_GAP, widths[0] + _PAIR_GAP
    places = f"width:{100 * widths[0] / total:.2f}%", f"left:{100 * start / total:.2f}%;right:0"
    paths = []
    if matches is not None and query.style and photo.style:
        points = matches.points[_drawn(len(matches.points))] / (*query.size, *photo.size)
        points = points * (widths[0], _PAIR_HEIGHT, widths[1], _PAIR_HEIGHT) + (0, 0, start, 0)
        paths = _paths(points.round().astype(int))
    return PairDrawing(round(total), _PAIR_HEIGHT, *places, paths, facts)


def facts_of_matches(matches: Optional[PairMatches]) -> str:
    """How many inliers there are, in words."""
    if matches is None:
        return "its matches were not kept"
    if not matches.verified:
        why = "too few to verify" if matches.correspondences < MIN_CORRESPONDENCES else "not verified"
        return f"correspondences: {matches.correspondences}, {why}"
    facts = f"{len(matches.points)} inliers of {matches.correspondences} correspondences"
    return f"{facts}, {MAX_LINES} drawn" if len(matches.points) > MAX_LINES else facts


def _drawn(count: int) -> np.ndarray:
    """Which of so many inliers are drawn."""
    return np.linspace(0, count - 1, min(count, MAX_LINES)).round().astype(int)


def _paths(points: np.ndarray) -> List[Tuple[str, str]]:
    """Path data by colour of [M, 4] ends of lines; whole units keep the page small."""
    paths = []
    for colour in range(min(_NUM_COLOURS, len(points))):
        own = points[colour::_NUM_COLOURS].tolist()
        lines = "".join(f"M{x1} {y1}L{x2} {y2}" for x1, y1, x2, y2 in own)
        dots = "".join(f"M{x1} {y1}h0M{x2} {y2}h0" for x1, y1, x2, y2 in own)
        paths.append((lines, dots))
    return paths
