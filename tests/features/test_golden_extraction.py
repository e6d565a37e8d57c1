"""Every entry on extraction, suppression and PCA of the reference's test vectors."""

import json
from pathlib import Path

import numpy as np
import pytest

from src.features.pca import Pca, apply_pca
from src.features.pyramid import (
    box_areas,
    box_centres,
    intersections,
    intersections_over_unions,
    non_max_suppression,
    normalise,
    resize_image,
)

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden" / "delf_vectors.json"
AREAS = ("extraction", "nms")
if not GOLDEN.exists():
    pytest.skip("the golden vectors are not beside the repository", allow_module_level=True)
ENTRIES = [entry for entry in json.loads(GOLDEN.read_text())["vectors"] if entry["area"] in AREAS]


def _array(numbers):
    return np.array(numbers, float)


def _resize(input_shape, **limits):
    resized, factors = resize_image(np.zeros(input_shape, np.uint8), **limits)
    return {"shape": list(resized.shape), "scale_factors_hw": list(factors)}


def _suppress(boxes, scores, iou_threshold, max_output_size):
    return {"boxes": _array(boxes)[non_max_suppression(_array(boxes), _array(scores), iou_threshold, max_output_size)]}


def _project(data, pca_matrix, pca_mean, output_dim, use_whitening, pca_variances=None):
    variances = np.ones(len(pca_matrix)) if pca_variances is None else pca_variances
    return apply_pca(_array(data), Pca(pca_mean, pca_matrix, variances), output_dim, use_whitening)


OPERATIONS = {
    "normalize_pixels": lambda image_uint8, offset, scale: normalise(np.array(image_uint8, np.uint8), offset, scale),
    "calculate_keypoint_centers": lambda boxes: box_centres(_array(boxes)),
    "apply_pca_and_whitening": _project,
    "resize_image_to_config": _resize,
    "non_max_suppression": _suppress,
    "iou": lambda boxes1, boxes2: intersections_over_unions(_array(boxes1), _array(boxes2)),
    "intersection": lambda boxes1, boxes2: intersections(_array(boxes1), _array(boxes2)),
    "area": lambda boxes: box_areas(_array(boxes)),
}


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry["id"] for entry in ENTRIES])
def test_entry(entry):
    found, expected = OPERATIONS[entry["op"]](**entry["inputs"]), entry["expected"]
    tolerance = entry["tolerance"]
    exact = tolerance["type"] == "exact"
    limits = {"rtol": 0, "atol": 0} if exact else {name: tolerance[name] for name in ("rtol", "atol")}
    if not isinstance(expected, dict):
        found, expected = {"": found}, {"": expected}
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], **limits)


def test_there_are_entries():
    assert len(ENTRIES) >= 24
