"""Fitting a PCA straight from photos, and which PCA an extraction accepts."""

import logging
from pathlib import Path

import numpy as np
import pytest

from src.artifacts import sha256_of
from src.config import Config
from src.errors import UserError
from src.features.extraction import extract_to_file, photos_of_folder
from src.features.learn_pca import learn_pca, learn_pca_from_photos
from src.features.pca import Pca, fitting_pca, load_pca, pca_as_text, pca_for, require_same_weights, save_pca
from src.records import Provenance
from tests.features.fake_network import load_fake_network, sections
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
    extract_to_file(photos, tmp_path / "raw.h5", *sections(config), load_network=load_fake_network)
    learn_pca(tmp_path / "raw.h5", tmp_path / "file.npz", 3)
    with_pca = config.replace(pca_path=str(tmp_path / "file.npz"))  # in the recipe, for the extraction that follows
    learn_pca_from_photos(photos, tmp_path / "photos.npz", 3, *sections(with_pca), load_fake_network)
    one, other = load_pca(tmp_path / "file.npz"), load_pca(tmp_path / "photos.npz")
    for name in ("mean", "components", "variances"):
        np.testing.assert_allclose(getattr(other, name), getattr(one, name), atol=1e-6)
    assert other.provenance == one.provenance
    assert other.provenance.notes == {"num_photos": 6, "num_descriptors": 54} and other.provenance.settings["dim"] == 3


def test_unreadable_photos_are_left_out_and_counted(config, photos, tmp_path, caplog):
    (tmp_path / "photos" / "2.png").write_bytes(b"no photo")
    learn_pca_from_photos(photos, tmp_path / "pca.npz", 3, *sections(config), load_fake_network)
    assert load_pca(tmp_path / "pca.npz").provenance.notes["num_photos"] == 5 and "2.png: cannot be read" in caplog.text


def test_finished_work_is_kept_and_other_work_refused(config, photos, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    output = tmp_path / "pca.npz"
    learn_pca_from_photos(photos, output, 3, *sections(config), load_fake_network)
    learn_pca_from_photos(photos, output, 3, *sections(config), _no_network)  # would fail if it were called
    assert "already made" in caplog.text
    with pytest.raises(UserError, match=r"other settings \(photos\); give `overwrite`"):
        learn_pca_from_photos(photos[1:], output, 3, *sections(config), load_fake_network)
    with pytest.raises(UserError, match=r"\(max_feature_num\); give `overwrite`"):
        learn_pca_from_photos(photos, output, 3, *sections(config.replace(max_feature_num=8)), load_fake_network)
    learn_pca_from_photos(photos[1:], output, 3, *sections(config.replace(overwrite=True)), load_fake_network)
    assert load_pca(output).provenance.notes["num_photos"] == 5


def test_an_interrupted_fit_leaves_nothing(config, photos, tmp_path):
    def interrupted(run, model, device_id, threads):
        network = load_fake_network(run, model, device_id)
        calls = []

        def run(level):
            calls.append(level)
            if len(calls) > 5:
                raise KeyboardInterrupt
            return network(level)

        return run

    with pytest.raises(KeyboardInterrupt):
        learn_pca_from_photos(photos, tmp_path / "out" / "pca.npz", 3, *sections(config), interrupted)
    assert not (tmp_path / "out").exists()


def _no_network(*_):
    raise AssertionError("the network is not needed")


def _pca(weights=""):
    return Pca(np.zeros(1024), np.eye(4, 1024), np.ones(4), Provenance(weights))


def _fitting(config, **keys):
    return fitting_pca(config.replace(**keys).extraction, config.model.checkpoint_path, CHECKPOINT, 1024)


def test_a_pca_of_the_same_checkpoint_is_taken(config, tmp_path, caplog):
    path = str(tmp_path / "pca.npz")
    save_pca(path, _pca(CHECKPOINT))
    assert _fitting(config, pca_path=path).components.shape == (4, 1024)
    assert not caplog.records
    with pytest.raises(UserError, match="keeps 4 dimensions, `pca_dim` is 5"):
        _fitting(config, pca_path=path, pca_dim=5)
    save_pca(path, Pca(np.zeros(9), np.eye(4, 9), np.ones(4)))
    with pytest.raises(UserError, match="a PCA of 9 numbers; the network has 1024"):
        _fitting(config, pca_path=path)


def test_a_pca_of_another_checkpoint_is_refused_unless_forced(config, tmp_path, caplog):
    path = str(tmp_path / "pca.npz")
    save_pca(path, _pca(sha256_of(config.model.checkpoint_path)))
    with pytest.raises(UserError, match="not on this one .*learn_pca, or give `force_pca`"):
        _fitting(config, pca_path=path)
    require_same_weights(load_pca(path), path, CHECKPOINT, force=True)
    assert "used all the same, as `force_pca` asks" in caplog.text


def test_a_pca_of_unknown_origin_is_taken_with_a_warning(config, tmp_path, caplog):
    save_pca(tmp_path / "pca.npz", _pca())
    assert _fitting(config, pca_path=str(tmp_path / "pca.npz")) is not None
    assert "does not say which checkpoint" in caplog.text


def _chosen(config, **keys):
    return pca_for(config.replace(**keys).extraction, config.model.checkpoint_path, CHECKPOINT)


def test_the_pca_beside_a_checkpoint_is_taken_if_it_was_fitted_on_it(config, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    assert _chosen(config) is None and not caplog.records
    for weights in ("cd" * 32, ""):
        save_pca(tmp_path / "pca.npz", _pca(weights))
        assert _chosen(config) is None
    assert [record.message.split(": ")[1] for record in caplog.records] == [
        "left aside, as it was not fitted on this checkpoint"
    ] * 2
    save_pca(tmp_path / "pca.npz", _pca(CHECKPOINT))
    assert _chosen(config) == str(tmp_path / "pca.npz")
    assert _chosen(config, pca_path="given.npz") == "given.npz"


def test_a_pca_carried_by_an_export(config, monkeypatch):
    texts = {"pca": pca_as_text(_pca(CHECKPOINT))}
    monkeypatch.setattr("src.features.pca.export_texts", lambda path: texts)
    assert _fitting(config).identity == _pca().identity
    save_pca(Path(config.model.checkpoint_path).parent / "pca.npz", _pca(CHECKPOINT))
    assert _chosen(config) == ""  # extraction finds the carried one
    texts["pca"] = "{}"
    with pytest.raises(UserError, match="delf.ckpt: its PCA is damaged"):
        _fitting(config)
