"""Photos with features written by hand."""

import numpy as np
import pytest
from handmade_features import random_photo, write_features


@pytest.fixture
def photos():
    """By name, (keypoints, descriptors) of five photos, one of them without any."""
    generator = np.random.default_rng(1)
    counts = {"b/tower.jpg": 40, "a-1.jpg": 30, "a.png": 50, "blank.jpg": 0, "c.d.jpg": 20}
    return {name: random_photo(generator, count) for name, count in counts.items()}


@pytest.fixture
def features(tmp_path, photos):
    """The feature file of ``photos``."""
    write_features(tmp_path / "features.h5", photos)
    return tmp_path / "features.h5"
