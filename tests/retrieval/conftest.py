"""Photos with features written by hand."""

import numpy as np
import pytest
from handmade_features import random_photo, write_features
from own_photos import picture, random_pca

from src.artifacts import sha256_of
from src.features.pca import save_pca


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


@pytest.fixture
def place(tmp_path):
    """photos/ with seven photos, and model/ with a checkpoint and its PCA."""
    (tmp_path / "photos" / "trip").mkdir(parents=True)
    for seed in range(7):
        picture(seed).save(tmp_path / "photos" / ("trip" if seed % 2 else "") / f"{seed}.png")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "net.ckpt").write_bytes(b"weights")
    save_pca(tmp_path / "model" / "pca.npz", random_pca(sha256_of(tmp_path / "model" / "net.ckpt")))
    return tmp_path
