"""The inlier lines of a pair: where they begin and end, how many, and what is said of them."""

import re

import numpy as np
import pytest
from report.report_cases import AFFINE, make_matches

from src.report.figures import MAX_LINES, draw_pair, facts_of_matches
from src.report.photos import Thumbnail
from src.retrieval.ranking_file import PairMatches

QUERY, PHOTO = Thumbnail("p0", (400, 200), ""), Thumbnail("p1", (200, 300), "")


def ends_of(drawing):
    """[M, 4] ends of the lines, in units of the drawing."""
    return np.array([re.findall(r"M(\d+) (\d+)L(\d+) (\d+)", lines) for lines, _ in drawing.paths], int).reshape(-1, 4)


def test_ends_are_the_points_of_the_photos():
    points = np.array([[0, 0, 0, 0], [400, 200, 200, 300], [100, 100, 50, 75]])
    drawing = draw_pair(QUERY, PHOTO, PairMatches(points, 9, verified=True), "facts")
    # photos of 600 x 300 and 200 x 300 units with 12 between them
    assert (drawing.width, drawing.height, drawing.facts) == (812, 300, "facts")
    assert ends_of(drawing).tolist() == [[0, 0, 612, 0], [600, 300, 812, 300], [150, 150, 662, 75]]
    assert drawing.query_place == f"width:{60000 / 812:.2f}%"
    assert drawing.photo_place == f"left:{61200 / 812:.2f}%;right:0"
    assert all(dots.count("h0") == 2 for _, dots in drawing.paths)


def test_lines_join_what_the_affine_map_joins():
    pair = make_matches().find(1, 1)
    ends = np.concatenate(
        [np.array(re.findall(r"M(\d+) (\d+)L(\d+) (\d+)", lines), float) for lines, _ in
         draw_pair(QUERY, QUERY, pair, "").paths]
    )  # fmt: skip
    ours, theirs = ends[:, :2] / 1.5, (ends[:, 2:] - (612, 0)) / 1.5
    assert len(ends) == 30 and np.abs(theirs @ AFFINE[:, :2].T + AFFINE[:, 2] - ours).max() < 1


@pytest.mark.parametrize("count", [0, 1, MAX_LINES, MAX_LINES + 1, 500])
def test_at_most_so_many_lines(count):
    pair = PairMatches(np.random.default_rng(0).uniform(0, 200, (count, 4)), count, verified=True)
    drawing = draw_pair(QUERY, PHOTO, pair, "")
    assert sum(lines.count("L") for lines, _ in drawing.paths) == min(count, MAX_LINES) and len(drawing.paths) <= 6
    drawn = f", {MAX_LINES} drawn" if count > MAX_LINES else ""
    assert facts_of_matches(pair) == f"{count} inliers of {count} correspondences{drawn}"


def test_nothing_to_draw():
    assert facts_of_matches(None) == "its matches were not kept"
    assert facts_of_matches(PairMatches(np.zeros((0, 4)), 3, False)) == "correspondences: 3, too few to verify"
    assert facts_of_matches(PairMatches(np.zeros((0, 4)), 4, False)) == "correspondences: 4, not verified"
    unseen = Thumbnail("", (4, 3), "no such photo")
    pair = PairMatches(np.ones((5, 4)), 5, True)
    assert not draw_pair(QUERY, PHOTO, None, "").paths
    assert not draw_pair(unseen, PHOTO, pair, "").paths and not draw_pair(QUERY, unseen, pair, "").paths
