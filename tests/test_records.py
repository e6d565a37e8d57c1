"""The records refuse what does not fit together."""

import numpy as np
import pytest

from src.records import GlobalDescriptor, LocalFeatures, Matches, Provenance, Ranking


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
        {"image_size": (0, 4)}, {"scales": np.ones((3, 1))}, {"resize_factor": 0}, {"resize_factor": np.nan},
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
    Ranking(["q"], ["a", "b", "c"], [[2, 0]], [[2.0, 1.0]])  # the best two of three
    for ranks, scores in (
        ([[1, 1]], [[2.0, 1.0]]), ([[1, 0]], [[1.0, 2.0]]), ([[0]], [[1.0, 0.5]]), ([[0, 2]], [[2.0, 1.0]]),
        ([[0, -1]], [[2.0, 1.0]]), ([[0, 1, 0]], [[3.0, 2.0, 1.0]]),
    ):  # fmt: skip
        with pytest.raises(ValueError):
            Ranking(["q"], ["a", "b"], ranks, scores)


def test_global_descriptor():
    assert GlobalDescriptor([0.6, 0.8], (64, 48)).vector.dtype == np.float32
    for vector, size in (([3.0, 4.0], (64, 48)), ([[0.6, 0.8]], (64, 48)), ([np.nan, 1.0], (64, 48)), ([1.0], (0, 1))):
        with pytest.raises(ValueError):
            GlobalDescriptor(vector, size)


def test_provenance_says_what_may_be_compared_and_what_is_made_already():
    made = Provenance(
        "ab", {"name": "delf", "pca_dim": 40}, {"image_scales": (0.5, 1)}, {"photos": "12"}, {"engine": "x"}
    )
    assert Provenance.from_json(made.as_json()) == made and made.settings["image_scales"] == [0.5, 1]
    assert made.same_run(Provenance(**{**made.as_json(), "notes": {}}))
    for changed, compatible, names in (
        ({"weights": "cd"}, False, ["weights"]),
        ({"encoder": {"name": "delf", "pca_dim": 64}}, False, ["pca_dim"]),
        ({"encoder": {}}, False, ["name", "pca_dim"]),
        ({"settings": {"image_scales": [1]}}, True, ["image_scales"]),
        ({"sources": {"photos": "13", "shard": "1/2"}}, True, ["photos", "shard"]),
    ):
        other = Provenance(**{**made.as_json(), **changed})
        assert made.compatible_with(other) == other.compatible_with(made) == compatible
        assert not made.same_run(other) and made.differences(other) == names
    for wrong in (None, [], {}, {"weights": 3}, {"weights": "", "settings": []}, {"weights": "", "more": {}}):
        with pytest.raises(ValueError):
            Provenance.from_json(wrong)
