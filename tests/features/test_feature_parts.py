"""Killed, resumed, refused and merged writers of feature files."""

import logging
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from src.config import Config
from src.errors import UserError
from src.features.encoder import make_encoder
from src.features.feature_file import FeatureFile
from src.features.feature_parts import (
    PartWriter,
    drop_parts,
    finished_photos,
    made_alike,
    merge_parts,
    open_parts,
    parts_folder,
)
from src.records import LocalFeatures, Provenance
from tests.features.fake_network import sections

ROOT = Path(__file__).resolve().parents[2]
MADE = Provenance(settings={"max_feature_num": 7, "image_scales": [0.5, 1.0]})
OTHER = Provenance(settings={"max_feature_num": 8, "image_scales": [0.5, 1.0]})
NAMES = [f"sub{number % 3}/{number:03d}.jpg" for number in range(60)]


def make_features(name):
    generator = np.random.default_rng(int(name[-7:-4]))
    count = int(generator.integers(0, 200))
    return LocalFeatures(
        generator.random((count, 2)),
        generator.random(count),
        generator.random(count),
        generator.random((count, 40)),
        (100, 80),
    )


def _write(output, names, photos_per_part):
    with open_parts(output, MADE) as folder:
        finished = finished_photos(folder)
        with PartWriter(folder, photos_per_part=photos_per_part) as writer:
            for name in names:
                if name not in finished:
                    writer.add(name, make_features(name), orientation=6, truncated=0)
        return folder


def _found(output, provenance, **options):
    """Photos that a run of this provenance would not have to extract."""
    with open_parts(output, provenance, **options) as folder:
        return len(finished_photos(folder))


def _make(output, names=NAMES, photos_per_part=100):
    merged = merge_parts(_write(output, names, photos_per_part), NAMES, output, MADE)
    assert merged == sum(len(make_features(name)) for name in NAMES)
    return output.read_bytes()


# What the killed process runs: as _make, with time for the signal to come inside every step.
KILLED_WRITER = """
import sys, time
from pathlib import Path
from test_feature_parts import NAMES, MADE, make_features
from src.features.feature_parts import PartWriter, finished_photos, merge_parts, open_parts
output = Path(sys.argv[1])
with open_parts(output, MADE) as folder:
    finished = finished_photos(folder)
    print("ready", flush=True)
    with PartWriter(folder, photos_per_part=3) as writer:
        for name in NAMES:
            if name not in finished:
                time.sleep(0.004)
                writer.add(name, make_features(name), orientation=6, truncated=0)
    merge_parts(folder, NAMES, output, MADE)
"""


def test_writers_killed_at_random_moments_lose_nothing_finished(tmp_path, caplog):
    expected = _make(tmp_path / "expected.h5")
    output, before, kills = tmp_path / "features.h5", 0, 0
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)])}
    moments = random.Random(4)
    for _ in range(40):
        command = [sys.executable, "-c", KILLED_WRITER, str(output)]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        process.stdout.readline()
        time.sleep(moments.uniform(0.0, 0.12))
        process.send_signal(signal.SIGKILL)
        killed = process.wait() == -signal.SIGKILL
        process.stdout.close()
        if output.exists():
            break
        assert killed
        kills += 1
        finished = finished_photos(parts_folder(output))
        assert len(finished) >= before and "damaged" not in caplog.text
        before = len(finished)
    assert kills >= 3 and before > 0
    assert _make(output) == expected if not output.exists() else output.read_bytes() == expected
    assert made_alike(output, MADE, overwrite=False)
    drop_parts(output)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["expected.h5", "features.h5"]


def _die(*_, **__):
    raise SystemExit


@pytest.mark.parametrize("moment", ["after the parts", "after the merge"])
def test_killed_around_the_last_rename(tmp_path, monkeypatch, moment):
    output = tmp_path / "features.h5"
    folder = _write(output, NAMES, 7)
    broken = "put_in_place" if moment == "after the parts" else "shutil.rmtree"
    with monkeypatch.context() as patch:
        patch.setattr(f"src.features.feature_parts.{broken}", _die)
        with pytest.raises(SystemExit):
            merge_parts(folder, NAMES, output, MADE)
    if moment == "after the parts":
        assert not made_alike(output, MADE, overwrite=False)
        assert _found(output, MADE) == len(NAMES)
        merge_parts(folder, NAMES, output, MADE)
    assert made_alike(output, MADE, overwrite=False)
    drop_parts(output)
    assert not folder.exists()
    with FeatureFile(output) as made:
        assert made.names == sorted(NAMES)


def test_file_is_the_same_whatever_the_parts_and_their_order(tmp_path):
    expected = _make(tmp_path / "a.h5")
    assert _make(tmp_path / "b.h5", NAMES[::2] + NAMES[1::2], 4) == expected
    with FeatureFile(tmp_path / "b.h5") as made:
        for name, features in made:
            assert np.array_equal(features.descriptors, make_features(name).descriptors)
    with h5py.File(tmp_path / "b.h5", "r") as file:
        assert dict(file[NAMES[0]].attrs) == {"orientation": 6, "truncated": 0, "resize_factor": 1.0}


def test_more_parts_than_stay_open(tmp_path, monkeypatch):
    monkeypatch.setattr("src.features.feature_parts._OPEN_PARTS", 2)
    assert _make(tmp_path / "a.h5", photos_per_part=1) == _make(tmp_path / "b.h5")


def test_old_parts_are_finished_by_time_too(tmp_path):
    with open_parts(tmp_path / "features.h5", MADE) as folder, PartWriter(folder, seconds_per_part=0.0) as writer:
        writer.add(NAMES[0], make_features(NAMES[0]))
        assert list(finished_photos(folder)) == NAMES[:1]


def test_parts_of_other_settings_are_not_reused(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    output = tmp_path / "features.h5"
    folder = _write(output, NAMES[:4], 2)
    assert _found(output, MADE) == 4
    assert _found(output, OTHER) == 0
    assert "other settings (max_feature_num), starting again" in caplog.text
    _write(output, NAMES[:4], 2)
    assert _found(output, MADE, overwrite=True) == 0
    _write(output, NAMES[:4], 2)
    (folder / "provenance.json").write_text("{")
    assert _found(output, MADE) == 0


def test_engines_mix_in_float32_alone(tmp_path):
    """The engine is a note at float32, and part of what descriptors mean otherwise."""
    (tmp_path / "delf.ckpt").write_bytes(b"weights")

    def made(**keys):
        config = Config(checkpoint_path=str(tmp_path / "delf.ckpt"), device_target="CPU", **keys)
        return make_encoder(*sections(config)).provenance

    try:
        one, half = made(engine="openvino"), made(engine="openvino", precision="bfloat16")
    except UserError:
        pytest.skip("OpenVINO is not installed")
    assert one.differences(made(engine="mindspore")) == []
    assert one.differences(half) == ["engine", "precision"] and half.encoder["engine"] == "openvino"


def test_one_process_at_a_time_and_no_litter(tmp_path):
    output = tmp_path / "features.h5"
    folder = _write(output, NAMES[:4], 2)
    (folder / "0123.tmp").write_bytes(b"of a killed writer")
    with open_parts(output, MADE), pytest.raises(UserError, match="features.h5: another process is making it"):
        with open_parts(output, MADE):
            pass
    assert sorted(path.suffix for path in folder.iterdir()) == [".h5", ".h5", ".json"]


def test_damaged_part_is_dropped(tmp_path, caplog):
    folder = _write(tmp_path / "features.h5", NAMES[:4], 2)
    part = sorted(folder.glob("*.h5"))[0]
    part.write_bytes(part.read_bytes()[:700])
    assert len(finished_photos(folder)) == 2 and not part.exists()
    assert "damaged part" in caplog.text


def test_photo_that_fails_half_way_takes_only_its_part(tmp_path, monkeypatch):
    def fail(file, name, features, *_, **__):
        file.create_group(name)["keypoints"] = features.keypoints
        raise OSError("disk full")

    with open_parts(tmp_path / "features.h5", MADE) as folder:
        with pytest.raises(OSError, match="disk full"), PartWriter(folder, photos_per_part=2) as writer:
            for name in NAMES[:2]:
                writer.add(name, make_features(name))
            monkeypatch.setattr("src.features.feature_parts.write_group", fail)
            writer.add(NAMES[2], make_features(NAMES[2]))
    assert sorted(finished_photos(folder)) == sorted(NAMES[:2])
    assert not list(folder.glob("*.tmp"))


def test_finished_file_of_other_settings_is_refused(tmp_path):
    output = tmp_path / "features.h5"
    assert not made_alike(output, MADE, overwrite=False)
    _make(output)
    assert made_alike(output, MADE, overwrite=False)
    assert not made_alike(output, MADE, overwrite=True)
    with pytest.raises(UserError, match=r"other settings \(max_feature_num\); give `overwrite`"):
        made_alike(output, OTHER, overwrite=False)
    with h5py.File(tmp_path / "foreign.h5", "w"), pytest.raises(UserError, match="not a finished feature file"):
        made_alike(tmp_path / "foreign.h5", MADE, overwrite=False)
