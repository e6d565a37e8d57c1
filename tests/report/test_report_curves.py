import re

import numpy as np
import pytest
from report.report_cases import make_judgement, make_ranking

from src.report.curves import LEVELS, draw_curves, draw_small_curve, interpolated_precision, mean_curves


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


def test_drawings():
    flat = np.full(101, 0.5)
    drawing = draw_curves({"easy": flat, "hard": np.zeros(101)})
    assert drawing.count("<polyline") == 2 and 'aria-label="mean precision over recall: easy, hard"' in drawing
    ys = {point.split(",")[1] for point in re.findall(r'points="([^"]+)"', drawing)[0].split()}
    ticks = dict(re.findall(r'y="([\d.]+)" text-anchor="end">(\d+)', drawing))
    heights = {int(percent): float(y) - 4 for y, percent in ticks.items()}
    assert len(ys) == 1 and float(ys.pop()) == pytest.approx((heights[0] + heights[100]) / 2)
    assert draw_small_curve(None) == "" and "<polyline" in draw_small_curve(flat)
