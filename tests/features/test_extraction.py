"""From photos to a feature file and a PCA, with a made-up network."""

import json
import logging
import multiprocessing
import signal
import sys
import time

import h5py
import numpy as np
import pytest
from PIL import Image

from src.artifacts import sha256_of
from src.config import Config
from src.errors import Interrupted, UserError
from src.features.extraction import extract_to_file, photos_of_folder
from src.features.feature_file import FeatureFile
from src.features.feature_parts import finished_photos, parts_folder
from src.features.learn_pca import learn_pca
from src.features.pca import load_pca, project
from src.images import load_image
from src.records import Photo
from tests.features.fake_network import encoder_of, fake_network, load_fake_network, sections


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(5):
        pixels = generator.integers(0, 256, (80 + number, 120, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / ("sub" if number % 2 else ".") / f"{number}.png")
    return photos_of_folder(folder)


@pytest.fixture
def config(tmp_path):
    (tmp_path / "delf.ckpt").write_bytes(b"weights")
    return _config(tmp_path)


def _config(tmp_path, **changes):
    values = {"image_scales": (0.5, 1.0), "max_feature_num": 9, "num_workers": 2, "pca_dim": 3, **changes}
    return Config(**{"checkpoint_path": str(tmp_path / "delf.ckpt"), **values})


def _extract(photos, config, output, devices=(0,), protocol="", load_network=load_fake_network, shard=""):
    extract_to_file(photos, output, *sections(config), protocol, devices, shard, load_network)


def _encoder(config):
    return encoder_of(_slow_network, **config.extraction.values())


def _slow_network(level):
    return fake_network(level, 1024)


def test_every_photo_is_extracted_and_nothing_is_left_behind(photos, config, tmp_path):
    output = tmp_path / "out" / "features.h5"
    _extract(photos, config, output)
    with FeatureFile(output) as made:
        assert made.names == sorted(photo.name for photo in photos)
        assert made.provenance.weights == sha256_of(config.model.checkpoint_path)
        assert made.provenance.settings["image_scales"] == [0.5, 1.0] and made.provenance.encoder["pca"] == ""
        for photo in photos:
            expected = _encoder(config).encode(load_image(photo.path)).local
            features = made.read(photo.name)
            assert len(features) == 9 and np.array_equal(features.descriptors, expected.descriptors)
            assert np.array_equal(features.keypoints, expected.keypoints)
    assert [path.name for path in output.parent.iterdir()] == ["features.h5"]


def test_a_name_with_a_slash_behind_is_the_name(photos, config, tmp_path):
    _extract(photos[:1], config, f"{tmp_path}/features.h5/")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["delf.ckpt", "features.h5", "photos"]


def test_boxes_reach_the_file(photos, config, tmp_path):
    box = (10, 20, 90, 70)
    _extract([Photo("query_1", photos[0].path, box)], config, tmp_path / "queries.h5", protocol="classic")
    with FeatureFile(tmp_path / "queries.h5") as made:
        features = made.read("query_1")
        assert made.provenance.sources["protocol"] == "classic"
    expected = _encoder(config).encode(load_image(photos[0].path), box).local
    assert np.array_equal(features.keypoints, expected.keypoints) and features.image_size == (120, 80)


def test_unreadable_photos_are_named_and_the_others_done(photos, config, tmp_path, caplog):
    (tmp_path / "photos" / "2.png").write_bytes(b"no photo")
    outside = Photo("query", photos[0].path, (500, 500, 600, 600))
    _extract([*photos, outside], config, tmp_path / "features.h5")
    with FeatureFile(tmp_path / "features.h5") as made:
        assert len(made) == 4 and "2.png" not in made and "query" not in made
    assert "2.png: cannot be read as a photo" in caplog.text and "holds no pixel" in caplog.text
    listed = (tmp_path / "features.h5.failed.txt").read_text().splitlines()
    assert [line.split("\t")[0] for line in listed] == ["2.png", "query"] and "holds no pixel" in listed[1]
    assert f"2 photos could not be used and were left out; all are listed in {tmp_path}" in caplog.text
    _extract([photos[0], photos[2]], config.replace(overwrite=True), tmp_path / "features.h5")
    assert not (tmp_path / "features.h5.failed.txt").exists()


def test_no_readable_photo_at_all(photos, config, tmp_path):
    for photo in photos:
        open(photo.path, "wb").close()
    with pytest.raises(UserError, match="none of the 5 photos can be used; the first: .*0.png"):
        _extract(photos, config, tmp_path / "features.h5")
    assert not (tmp_path / "features.h5").exists()


def test_finished_work_is_skipped_and_other_settings_refused(photos, config, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    output = tmp_path / "features.h5"
    _extract(photos, config, output)
    before = output.stat().st_mtime_ns
    _extract(photos, config, output, devices=(8,))  # a broken device: it must not be touched
    assert "already made" in caplog.text and output.stat().st_mtime_ns == before
    with pytest.raises(UserError, match=r"\(max_feature_num\); give `overwrite`"):
        _extract(photos, _config(tmp_path, max_feature_num=8), output)
    with pytest.raises(UserError, match=r"features.h5: made of other photos, none of .* these 1; give `overwrite`"):
        _extract([Photo("other.png", photos[0].path)], config, output)
    _extract(photos, _config(tmp_path, max_feature_num=8, overwrite=True), output)
    with FeatureFile(output) as made:
        assert made.shape(photos[0].name)[0] == 8
    _extract(photos, _config(tmp_path, max_feature_num=8, pca_dim=7), output)  # no PCA: its dimensions change nothing


def test_interrupted_run_goes_on_where_it_stopped(photos, config, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    calls = []

    def interrupted(run, model, device_id, threads):
        def network(level):
            calls.append(level)
            if len(calls) > 4:  # two levels a photo
                raise KeyboardInterrupt
            return _slow_network(level)

        return network

    output = tmp_path / "features.h5"
    with pytest.raises(KeyboardInterrupt):
        _extract(photos, config, output, load_network=interrupted)
    assert len(finished_photos(parts_folder(output))) == 2 and not output.exists()
    _extract(photos, config, output)
    assert "2 of 5 photos were finished" in caplog.text
    _extract(photos, config, tmp_path / "straight.h5")
    assert output.read_bytes() == (tmp_path / "straight.h5").read_bytes()


def test_two_workers_write_the_same_file(photos, config, tmp_path):
    (tmp_path / "photos" / "2.png").write_bytes(b"no photo")
    _extract(photos, config, tmp_path / "one.h5")
    _extract(photos, config, tmp_path / "two.h5", devices=(0, 1))
    assert (tmp_path / "two.h5").read_bytes() == (tmp_path / "one.h5").read_bytes()


def test_a_network_that_cannot_be_loaded_fails_the_command(photos, config, tmp_path):
    with pytest.raises(UserError, match="device 8 is on fire"):
        _extract(photos, config, tmp_path / "features.h5", devices=(8, 8))
    assert not (tmp_path / "features.h5").exists()


def test_engine_and_threshold_are_resolved_and_recorded(photos, config, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    sha256 = sha256_of(config.model.checkpoint_path)
    (tmp_path / "score_threshold.json").write_text(json.dumps({"checkpoint_sha256": sha256, "score_threshold": 1.5}))
    config = config.replace(max_feature_num=99)
    _extract(photos, config, tmp_path / "saved.h5")
    assert "score threshold 1.5, saved beside the checkpoint" in caplog.text
    _extract(photos, config.replace(score_threshold=0), tmp_path / "all.h5")
    with FeatureFile(tmp_path / "saved.h5") as saved, FeatureFile(tmp_path / "all.h5") as every:
        assert saved.provenance.settings["score_threshold"] == 1.5 and every.provenance.settings["score_threshold"] == 0
        assert saved.provenance.notes["engine"] in ("mindspore", "onnxruntime", "openvino")
        for name, features in every:
            assert np.array_equal(saved.read(name).scores, features.scores[features.scores >= 1.5])
    (tmp_path / "score_threshold.json").unlink()
    with pytest.raises(UserError, match=r"\(score_threshold\)"):
        _extract(photos, config, tmp_path / "saved.h5")


def test_shards_hold_the_photos_of_one_run(photos, config, tmp_path):
    _extract(photos, config, tmp_path / "whole.h5")
    held = {}
    for shard in ("1/2", "2/2"):
        _extract(photos, config, tmp_path / f"{shard[0]}.h5", shard=shard)
        with FeatureFile(tmp_path / f"{shard[0]}.h5") as made:
            assert made.provenance.sources["shard"] == shard
            held.update(made)
    with FeatureFile(tmp_path / "whole.h5") as whole, FeatureFile(tmp_path / "2.h5") as second:
        assert whole.names == sorted(held) and len(second) == 2
        assert whole.provenance.differences(second.provenance) == ["shard"]
        assert whole.provenance.compatible_with(second.provenance)
        assert all(np.array_equal(features.descriptors, held[name].descriptors) for name, features in whole)


def test_orientation_and_truncation_are_recorded(config, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 96, 3), dtype=np.uint8))
    (tmp_path / "photos").mkdir()
    noise.save(tmp_path / "photos" / "turned.jpg", exif=exif)
    data = (tmp_path / "photos" / "turned.jpg").read_bytes()
    (tmp_path / "photos" / "cut.jpg").write_bytes(data[: len(data) // 2])
    noise.save(tmp_path / "photos" / "plain.png")
    _extract(photos_of_folder(tmp_path / "photos"), config, tmp_path / "features.h5")
    with h5py.File(tmp_path / "features.h5") as file:
        read = {name: (dict(group.attrs), group["image_size"][:].tolist()) for name, group in file.items()}
    for attributes, _ in read.values():
        assert set(json.loads(attributes.pop("source"))) == {"box", "mtime_ns", "sha256", "size"}
    assert read == {
        "cut.jpg": ({"orientation": 6, "truncated": 1, "resize_factor": 1.0}, [64, 96]),
        "plain.png": ({"orientation": 1, "truncated": 0, "resize_factor": 1.0}, [96, 64]),
        "turned.jpg": ({"orientation": 6, "truncated": 0, "resize_factor": 1.0}, [64, 96]),
    }


def _extract_until_signal(photos, config, output, number):
    calls = []

    def stopped(run, model, device_id, threads):
        def network(level):
            calls.append(level)
            if len(calls) == 5:  # two levels a photo
                signal.raise_signal(number)
                for _ in range(1000):  # beside other threads Python may call the handler a little later
                    time.sleep(0.01)
            return _slow_network(level)

        return network

    with pytest.raises(Interrupted, match="run the same command again") as caught:
        _extract(photos, config, output, load_network=stopped)
    assert signal.getsignal(number) != signal.SIG_IGN
    assert len(calls) == 5, f"{len(calls)} calls"
    sys.exit(caught.value.status)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_keep_what_is_finished(photos, config, tmp_path, number):
    # In a process of its own: where MindSpore has run before, it answers raised signals, and crashes.
    output = tmp_path / "features.h5"
    child = multiprocessing.get_context("spawn").Process(
        target=_extract_until_signal, args=(photos, config, output, number)
    )
    child.start()
    child.join()
    assert child.exitcode == 128 + number
    assert len(finished_photos(parts_folder(output))) == 2


def test_pca_is_learned_and_used(photos, config, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    raw, pca_path = tmp_path / "raw.h5", tmp_path / "pca.npz"
    _extract(photos, config, raw)
    learn_pca(raw, pca_path, 3)
    pca = load_pca(pca_path)
    assert pca.components.shape == (3, 1024)
    assert pca.provenance.notes == {"num_photos": 5, "num_descriptors": 45}
    assert pca.provenance.weights == sha256_of(config.model.checkpoint_path)
    learn_pca(raw, pca_path, 3)
    assert f"{pca_path}: already made" in caplog.text
    with pytest.raises(UserError, match=r"other settings \(dim\); give `overwrite`"):
        learn_pca(raw, pca_path, 2)
    with pytest.raises(UserError, match="45 descriptors are too few"):
        learn_pca(raw, tmp_path / "big.npz", 45)

    with_pca = _config(tmp_path, pca_path=str(pca_path))
    _extract(photos, with_pca, tmp_path / "short.h5")
    with FeatureFile(raw) as source, FeatureFile(tmp_path / "short.h5") as short:
        assert short.provenance.encoder["pca"] == pca.identity and short.provenance.encoder["pca_dim"] == 3
        for name in source.names:
            expected = project(source.read(name).descriptors, pca, 3)
            np.testing.assert_allclose(short.read(name).descriptors, expected, atol=1e-5)
    with pytest.raises(UserError, match="went through a PCA already"):
        learn_pca(tmp_path / "short.h5", tmp_path / "twice.npz", 2)


def test_pca_that_does_not_belong(photos, config, tmp_path):
    _extract(photos, config, tmp_path / "raw.h5")
    learn_pca(tmp_path / "raw.h5", tmp_path / "pca.npz", 3)
    pca_path = str(tmp_path / "pca.npz")
    with pytest.raises(UserError, match="keeps 3 dimensions, `pca_dim` is 4"):
        _extract(photos, _config(tmp_path, pca_path=pca_path, pca_dim=4), tmp_path / "x.h5")
    (tmp_path / "other.ckpt").write_bytes(b"other weights")
    foreign = _config(tmp_path, pca_path=pca_path, checkpoint_path=str(tmp_path / "other.ckpt"))
    with pytest.raises(UserError, match="not on this one .*learn_pca"):
        _extract(photos, foreign, tmp_path / "x.h5")


def test_checkpoint_is_needed(photos, tmp_path):
    with pytest.raises(UserError, match="`checkpoint_path` is not set"):
        _extract(photos, Config(), tmp_path / "x.h5")
