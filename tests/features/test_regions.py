"""Grids of regions and RoI arithmetic: numbers by hand, and the digest's rules in floating point."""

import math

import numpy as np
import pytest

from src.features.regions import cells_of, region_grid, regions_of

SIZES = [
    (1, 1), (1, 7), (9, 1), (2, 3), (3, 3), (4, 4), (5, 9), (7, 10), (10, 7), (12, 16), (13, 29), (16, 64), (24, 32),
    (32, 24), (30, 40), (31, 33), (32, 47), (48, 32), (64, 64), (21, 128),
]  # fmt: skip


def by_the_rules(height, width, levels):
    """The rules of global_and_protocols.md 1.2, word by word: (x, y, side)."""
    w = min(height, width)
    strides = [(max(height, width) - w) / (n - 1) for n in range(2, 8)]
    distances = [round(abs((w * w - w * b) / (w * w) - 0.4), 12) for b in strides]  # 0.2 and 0.6 are as near
    k = distances.index(min(distances)) + 1
    kw, kh = (k if width > height else 0), (k if height > width else 0)
    regions = []
    for level in range(1, levels + 1):
        side = math.floor(2 * w / (level + 1))
        c = math.floor(side / 2 - 1)

        def edges(length, extra, level=level, side=side, c=c):
            steps = level + extra - 1
            b = (length - side) / steps if steps else 0
            return [math.floor(c + i * b + 1e-9) - c for i in range(level + extra)]

        regions += [(x, y, side) for y in edges(height, kh) for x in edges(width, kw) if side]
    return regions


def triples(boxes):
    assert (boxes[:, 2] - boxes[:, 0] == boxes[:, 3] - boxes[:, 1]).all()
    return [(x, y, right - x) for x, y, right, _ in boxes.tolist()]


@pytest.mark.parametrize("height, width", SIZES)
def test_grid_follows_the_rules_and_stays_inside(height, width):
    for levels in (1, 2, 3, 5):
        boxes = region_grid(height, width, levels)
        assert triples(boxes) == by_the_rules(height, width, levels)
        assert boxes.min() >= 0 and (boxes.max(axis=0) <= (width, height, width, height)).all()
        if min(height, width) * 2 > levels:  # no level without regions: they reach the borders
            assert boxes[:, 2].max() == width and boxes[:, 3].max() == height


def test_grids_by_hand():
    level_1, level_2 = [(0, 0, 24), (8, 0, 24)], [(x, y, 16) for y in (0, 8) for x in (0, 8, 16)]
    assert triples(region_grid(24, 32, 2)) == level_1 + level_2
    assert triples(region_grid(4, 4, 2)) == [(0, 0, 4), (0, 0, 2), (2, 0, 2), (0, 2, 2), (2, 2, 2)]
    assert triples(region_grid(7, 10, 1)) == [(0, 0, 7), (3, 0, 7)]
    assert triples(region_grid(1, 1, 3)) == [(0, 0, 1)]  # squares of side 0 are none


def test_numbers_of_regions():
    counts = {(32, 32, 3): 14, (24, 32, 3): 20, (16, 64, 3): 44, (32, 32, 2): 5, (24, 32, 2): 8, (24, 32, 5): 70}
    for (height, width, levels), count in counts.items():
        assert len(region_grid(height, width, levels)) == count
        assert len(region_grid(width, height, levels)) == count


def test_boxes_of_a_photo_become_cells():
    boxes = np.array([(0, 0, 64, 64), (16, 0, 80, 64), (32, 0, 96, 64), (0, 0, 42, 42), (48, 16, 80, 48)])
    cells = cells_of(boxes, (2, 3), 32, "regional_attention")
    assert cells.tolist() == [[0, 0, 3, 2], [0, 0, 3, 2], [1, 0, 3, 2], [0, 0, 2, 2], [2, 0, 3, 2]]
    half_up = cells_of(boxes, (2, 3), 32, "dir")  # 16 / 32 is half a cell
    assert half_up.tolist() == [[0, 0, 3, 2], [1, 0, 3, 2], [1, 0, 3, 2], [0, 0, 2, 2], [2, 1, 3, 2]]


def test_a_box_beyond_the_map_keeps_a_cell():
    assert cells_of(np.array([(90, 60, 100, 70)]), (1, 2), 32, "dir").tolist() == [[1, 0, 2, 1]]


@pytest.mark.parametrize("roi", ["dir", "regional_attention"])
def test_regions_of_a_photo_differ_from_those_of_the_map(roi):
    found = regions_of((24, 32), 3, roi, 32, (1024, 768))
    assert len(found) == 20 and found.min() == 0 and found.max(axis=0).tolist()[2:] == [32, 24]
    assert np.array_equal(found, regions_of((24, 32), 3, roi, 32))  # this photo has the size of the map
    assert not np.array_equal(found, regions_of((24, 32), 3))
    assert not np.array_equal(found, regions_of((24, 32), 3, roi, 32, (1000, 740)))
