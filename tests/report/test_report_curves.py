import re

import numpy as np
import pytest
from report.report_cases import make_judgement, make_ranking, write_photos

from src.report.figures import LEVELS, curve_points, interpolated_precision, mean_curves
from src.report.report import write_report


def test_hand_computed():
    # positives at ranks 1, 2, 4 (from 1) of four in all: precision 1, 1, 3/4, and a recall of 1 is never reached
    curve = interpolated_precision(np.array([0, 1, 3]), 4)
    assert curve[[0, 25, 50]].tolist() == [1, 1, 1] and curve[[51, 75]].tolist() == [0.75, 0.75]
    assert curve[76:].max() == 0
    assert (interpolated_precision(np.zeros(0, int), 2) == 0).all()


@pytest.mark.parametrize("seed", range(10))
def test_equals_definition(seed):
    generator = np.random.default_rng(seed)
    found = np.sort(generator.choice(60, generator.integers(1, 20), replace=False))
    total = len(found) + int(generator.integers(0, 5))
    wanted = []
    for level in LEVELS:
        precisions = [0.0]
        for depth in range(1, 61):
            hits = sum(rank < depth for rank in found)
            if hits / total >= level - 1e-12 and hits:
                precisions.append(hits / depth)
        wanted.append(max(precisions))
    assert np.allclose(interpolated_precision(found, total), wanted)


def test_mean_leaves_out_queries_without_positives():
    curves = mean_curves(make_ranking(), make_judgement().evaluation)
    # good_1 finds its one positive first; worse_1 the first of two at rank 2; empty_1 does not count
    assert list(curves) == ["classic"]
    assert curves["classic"][[0, 50, 51, 100]].tolist() == [0.75, 0.75, 0.5, 0.5]


def test_points_of_a_curve():
    points = curve_points(np.array([1.0, 0.5, 0.0]), 52, 10, 430, 232)
    assert points == "52.0,10.0 241.0,121.0 430.0,232.0"


def test_drawing_agrees_with_its_axes(tmp_path):
    write_photos(tmp_path / "photos")
    path = write_report(tmp_path / "r.html", make_ranking(), [tmp_path / "photos"], make_judgement())
    page = path.read_text(encoding="utf-8")
    drawing = page[page.index('<svg class="curves"') : page.index('<ul class="legend">')]
    assert drawing.count("<polyline") == 1 and 'aria-label="mean precision over recall: classic"' in drawing
    ticks = {int(label): float(y) - 4 for y, label in re.findall(r'y="([\d.]+)" text-anchor="end">(\d+)', drawing)}
    marks = {
        int(label): float(x) for x, label in re.findall(r'x="([\d.]+)" y="250" text-anchor="middle">(\d+)', drawing)
    }
    assert list(ticks) == list(marks) == [0, 20, 40, 60, 80, 100]
    points = [tuple(map(float, pair.split(","))) for pair in re.findall(r'points="([^"]+)"', drawing)[0].split()]
    # the mean precision is 3/4 up to a recall of 1/2, then 1/2
    assert points[0] == pytest.approx((marks[0], ticks[60] * 0.25 + ticks[80] * 0.75))
    assert points[100] == pytest.approx((marks[100], (ticks[40] + ticks[60]) / 2))
