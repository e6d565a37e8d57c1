"""The records refuse what does not fit together."""

import numpy as np
import pytest

from src.records import LocalFeatures, Matches, Ranking


def features(count=3, **changes):
    values = {
        "keypoints": np.zeros((count, 2)), "scales": np.ones(count), "scores": np.ones(count),
        "descriptors": np.zeros((count, 4)), "image_size": (64, 48),
    }  # fmt: skip
    return LocalFeatures(**{**values, **changes})


def test_local_features():
    assert len(features()) == 3 and features().keypoints.dtype == np.float32
    assert len(features(0)) == 0
    for wrong in (
        {"keypoints": np.zeros((3, 3))}, {"scores": np.ones(2)}, {"descriptors": np.full((3, 4), np.nan)},
        {"image_size": (0, 4)}, {"scales": np.ones((3, 1))},
    ):  # fmt: skip
        with pytest.raises(ValueError):
            features(**wrong)


def test_matches():
    empty = Matches(np.empty((0, 2)), np.empty(0))
    assert len(empty) == 0 and empty.num_inliers == 0
    assert Matches([[0, 1], [2, 0]], [0.1, 0.2], [True, False]).num_inliers == 1
    for wrong in (([[0, 1]], [0.1, 0.2]), ([[0, 1]], [0.1], [True, True]), ([[0, 1]], [0.1], [True], np.eye(3))):
        with pytest.raises(ValueError):
            Matches(*wrong)


def test_ranking():
    Ranking(["q"], ["a", "b"], [[1, 0]], [[2.0, 1.0]])
    for ranks, scores in (([[1, 1]], [[2.0, 1.0]]), ([[1, 0]], [[1.0, 2.0]]), ([[0]], [[1.0]])):
        with pytest.raises(ValueError):
            Ranking(["q"], ["a", "b"], ranks, scores)
