"""Receptive fields and non-maximum suppression; the small cases are the reference's own test vectors."""

import json
from pathlib import Path

import numpy as np
import pytest

from src.features.pyramid import (
    box_areas,
    box_centres,
    intersections,
    intersections_over_unions,
    non_max_suppression,
    receptive_boxes,
)
from src.model.architectures import ReceptiveField

FIELD = ReceptiveField(291, 32, 145)
GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden" / "delf_vectors.json"
CLUSTERS = np.array(
    [[0, 0, 1, 1], [0, 0.1, 1, 1.1], [0, -0.1, 1, 0.9], [0, 10, 1, 11], [0, 10.1, 1, 11.1], [0, 100, 1, 101]]
)
CLUSTER_SCORES = np.array([0.9, 0.75, 0.6, 0.95, 0.5, 0.3])


def test_receptive_boxes_and_centres():
    boxes = receptive_boxes(2, 3, 0.5, FIELD)
    assert boxes[0].tolist() == [-290, -290, 290, 290]
    assert box_centres(boxes).tolist() == [[0, 0], [0, 64], [0, 128], [64, 0], [64, 64], [64, 128]]  # (y, x), row-major
    assert box_areas(receptive_boxes(1, 1, 1.0, FIELD)).tolist() == [290.0**2]


def test_box_centres():
    boxes = np.array([[-10.0, 0.0, 11.0, 21.0], [-2.5, 5.0, 18.5, 26.0], [45.0, -2.5, 66.0, 18.5]])
    assert box_centres(boxes).tolist() == [[0.5, 10.5], [8.0, 15.5], [55.5, 8.0]]


def test_overlaps():
    first = np.array([[4.0, 3.0, 7.0, 5.0], [5.0, 6.0, 10.0, 7.0]])
    second = np.array([[3.0, 4.0, 6.0, 8.0], [14.0, 14.0, 15.0, 15.0], [0.0, 0.0, 20.0, 20.0]])
    assert intersections(first, second).tolist() == [[2, 0, 6], [1, 0, 5]]
    np.testing.assert_allclose(intersections_over_unions(first, second), [[0.125, 0, 0.015], [0.0625, 0, 0.0125]])
    point = np.array([[1.0, 1.0, 1.0, 1.0]])
    assert intersections_over_unions(point, point).tolist() == [[0.0]]


@pytest.mark.parametrize(("max_count", "expected"), [(3, [3, 0, 5]), (2, [3, 0]), (30, [3, 0, 5])])
def test_suppression_of_three_clusters(max_count, expected):
    assert non_max_suppression(CLUSTERS, CLUSTER_SCORES, 0.5, max_count).tolist() == expected


@pytest.mark.parametrize("threshold", [1.0, 0.9])
def test_ties_go_to_the_lower_index(threshold):
    boxes = np.array([[0, 100.0 * i, 10, 100 * i + 10] for i in range(4)])
    assert non_max_suppression(boxes, np.array([1, 2, 2, 1.0]), threshold, 9).tolist() == [1, 2, 0, 3]


def test_identical_boxes():
    boxes, scores = np.tile(CLUSTERS[:1], (3, 1)), np.array([1.0, 3.0, 2.0])
    assert non_max_suppression(boxes, scores, 1.0, 9).tolist() == [1, 2, 0]  # IoU 1 is not above 1
    assert non_max_suppression(boxes, scores, 0.999, 9).tolist() == [1]


def test_overlap_equal_to_the_threshold_stays():
    boxes = np.array([[0, 0, 1, 1], [0, 0, 1, 0.5]])
    assert non_max_suppression(boxes, np.array([2.0, 1.0]), 0.5, 9).tolist() == [0, 1]


def test_no_boxes():
    for threshold in (0.5, 1.0):
        kept = non_max_suppression(np.zeros((0, 4)), np.zeros(0), threshold, 5)
        assert kept.shape == (0,) and kept.dtype == np.int64


def _slow_suppression(boxes, scores, threshold, max_count):
    kept = []
    for candidate in sorted(range(len(scores)), key=lambda number: (-scores[number], number)):
        top, left, bottom, right = boxes[candidate]
        overlapping = False
        for other in kept:
            height = min(bottom, boxes[other][2]) - max(top, boxes[other][0])
            width = min(right, boxes[other][3]) - max(left, boxes[other][1])
            common = max(height, 0) * max(width, 0)
            areas = (bottom - top) * (right - left) + (boxes[other][2] - boxes[other][0]) * (
                boxes[other][3] - boxes[other][1]
            )
            overlapping |= common / (areas - common) > threshold
        if not overlapping:
            kept.append(candidate)
    return kept[:max_count]


@pytest.mark.parametrize("threshold", [0.2, 0.6, 0.95, 1.0])
def test_suppression_against_loops(threshold):
    generator = np.random.default_rng(3)
    boxes = np.concatenate([receptive_boxes(6, 8, scale, FIELD) for scale in (0.5, 1.0, 2.0)])
    scores = generator.integers(0, 40, len(boxes)) / 8.0  # many ties
    expected = _slow_suppression(boxes, scores, threshold, 50)
    assert non_max_suppression(boxes, scores, threshold, 50).tolist() == expected


@pytest.mark.skipif(not GOLDEN.exists(), reason="the golden vectors are not beside the repository")
def test_every_golden_suppression():
    entries = [entry for entry in json.loads(GOLDEN.read_text())["vectors"] if entry["op"] == "non_max_suppression"]
    assert entries
    for entry in entries:
        inputs = entry["inputs"]
        boxes = np.array(inputs["boxes"], float)
        kept = non_max_suppression(boxes, inputs["scores"], inputs["iou_threshold"], inputs["max_output_size"])
        np.testing.assert_allclose(boxes[kept], entry["expected"]["boxes"], rtol=1e-6)
