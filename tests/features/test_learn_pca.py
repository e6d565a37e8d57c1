"""Fitting a PCA straight from photos, and which PCA an extraction accepts."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from src.artifacts import sha256_of
from src.config import Config
from src.errors import UserError
from src.features.extract_to_file import extract_to_file
from src.features.learn_pca import learn_pca, learn_pca_from_photos
from src.features.pca import Pca, load_pca, save_pca
from src.features.pca_choice import fitting_pca, require_same_checkpoint
from src.features.photos import photos_of_folder
from tests.features.fake_network import load_fake_network
from tests.features.made_up import make_photos

CHECKPOINT = "ab" * 32


@pytest.fixture
def config(tmp_path):
    (tmp_path / "delf.ckpt").write_bytes(b"weights")
    path = str(tmp_path / "delf.ckpt")
    return Config(checkpoint_path=path, image_scales=(0.5, 1.0), max_feature_num=9, pca_dim=3)


@pytest.fixture
def photos(tmp_path):
    return photos_of_folder(make_photos(tmp_path / "photos", [f"{number}.png" for number in range(6)], (120, 90)))


def test_photos_give_what_their_raw_feature_file_gives(config, photos, tmp_path):
    extract_to_file(photos, "", tmp_path / "raw.h5", config, load_network=load_fake_network)
    learn_pca(tmp_path / "raw.h5", tmp_path / "file.npz", 3)
    with_pca = replace(config, pca_path=str(tmp_path / "file.npz"))  # in the recipe, for the extraction that follows
    learn_pca_from_photos(photos, tmp_path / "photos.npz", 3, with_pca, load_fake_network)
    one, other = load_pca(tmp_path / "file.npz"), load_pca(tmp_path / "photos.npz")
    for name in ("mean", "components", "variances"):
        np.testing.assert_allclose(getattr(other, name), getattr(one, name), atol=1e-6)
    for name in ("checkpoint_sha256", "num_photos", "num_descriptors", "photos", "dim"):
        assert other.provenance[name] == one.provenance[name]
    assert other.provenance["num_photos"] == 6 and other.provenance["num_descriptors"] == 54


def test_unreadable_photos_are_left_out_and_counted(config, photos, tmp_path, caplog):
    (tmp_path / "photos" / "2.png").write_bytes(b"no photo")
    learn_pca_from_photos(photos, tmp_path / "pca.npz", 3, config, load_fake_network)
    assert load_pca(tmp_path / "pca.npz").provenance["num_photos"] == 5 and "2.png: cannot be read" in caplog.text


def test_finished_work_is_kept_and_other_work_refused(config, photos, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    output = tmp_path / "pca.npz"
    learn_pca_from_photos(photos, output, 3, config, load_fake_network)
    learn_pca_from_photos(photos, output, 3, config, load_network=None)  # would fail if it were called
    assert "already made" in caplog.text
    with pytest.raises(UserError, match="a PCA of other features or dimensions; give --overwrite"):
        learn_pca_from_photos(photos[1:], output, 3, config, load_fake_network)
    with pytest.raises(UserError, match="--overwrite"):
        learn_pca_from_photos(photos, output, 3, replace(config, max_feature_num=8), load_fake_network)
    learn_pca_from_photos(photos[1:], output, 3, replace(config, overwrite=True), load_fake_network)
    assert load_pca(output).provenance["num_photos"] == 5


def test_an_interrupted_fit_leaves_nothing(config, photos, tmp_path):
    def interrupted(config, device_id):
        network = load_fake_network(config, device_id)
        calls = []

        def run(level):
            calls.append(level)
            if len(calls) > 5:
                raise KeyboardInterrupt
            return network(level)

        return run

    with pytest.raises(KeyboardInterrupt):
        learn_pca_from_photos(photos, tmp_path / "out" / "pca.npz", 3, config, interrupted)
    assert not (tmp_path / "out").exists()


def _pca(**provenance):
    return Pca(np.zeros(1024), np.eye(4, 1024), np.ones(4), provenance)


def test_a_pca_of_the_same_checkpoint_is_taken(config, tmp_path, caplog):
    path = str(tmp_path / "pca.npz")
    save_pca(path, _pca(checkpoint_sha256=CHECKPOINT))
    assert fitting_pca(replace(config, pca_path=path), CHECKPOINT).components.shape == (4, 1024)
    assert not caplog.records
    with pytest.raises(UserError, match="keeps 4 dimensions, --pca_dim is 5"):
        fitting_pca(replace(config, pca_path=path, pca_dim=5), CHECKPOINT)
    save_pca(path, Pca(np.zeros(9), np.eye(4, 9), np.ones(4)))
    with pytest.raises(UserError, match="a PCA of 9 numbers; the network has 1024"):
        fitting_pca(replace(config, pca_path=path), CHECKPOINT)


def test_a_pca_of_another_checkpoint_is_refused_unless_forced(config, tmp_path, caplog):
    path = str(tmp_path / "pca.npz")
    save_pca(path, _pca(checkpoint_sha256=sha256_of(config.checkpoint_path)))
    with pytest.raises(UserError, match="not on this one .*tools/learn_pca.py, or give --force_pca"):
        fitting_pca(replace(config, pca_path=path), CHECKPOINT)
    require_same_checkpoint(load_pca(path), path, CHECKPOINT, force=True)
    assert "used all the same, as --force_pca asks" in caplog.text


def test_a_pca_of_unknown_origin_is_taken_with_a_warning(config, tmp_path, caplog):
    for provenance in ({}, {"checkpoint_sha256": ""}):
        caplog.clear()
        save_pca(tmp_path / "pca.npz", _pca(**provenance))
        fitting_pca(replace(config, pca_path=str(tmp_path / "pca.npz")), CHECKPOINT)
        assert "does not say which checkpoint" in caplog.text
