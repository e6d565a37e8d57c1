"""Feature files as folders of kapture, read back by a reader of its own, written after kapture's description."""

import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from src.commands.convert_features import main as convert_features
from src.errors import UserError
from src.features.feature_file import write_group, write_provenance
from src.features.kapture import features_to_kapture
from src.records import GlobalDescriptor, LocalFeatures
from tests.features.made_up import PROVENANCE, make_features, make_photos

NAMES = ("a b.jpg", "blank.png", "sub/c.jpg", "whole.jpg")


@pytest.fixture
def features(tmp_path):
    """Local and global; no local feature; local alone; global alone."""
    vectors = np.random.default_rng(0).normal(size=(4, 6))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with h5py.File(tmp_path / "f.h5", "w") as file:
        write_provenance(file, PROVENANCE)
        empty = LocalFeatures(np.zeros((0, 2)), [], [], np.zeros((0, 8)), (30, 20))
        write_group(file, NAMES[0], make_features(1, 5), global_descriptor=GlobalDescriptor(vectors[0], (64, 48)))
        write_group(file, NAMES[1], empty, global_descriptor=GlobalDescriptor(vectors[1], (30, 20)))
        write_group(file, NAMES[2], make_features(2, 3))
        write_group(file, NAMES[3], None, global_descriptor=GlobalDescriptor(vectors[3], (7, 9)))
    return tmp_path / "f.h5"


def read_table(path):
    """Rows of a kapture table: commas, spaces around them ignored, lines of # and blank ones too."""
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# kapture format: 1.1"
    return [[field.strip() for field in line.split(",")] for line in lines if line.strip() and line[0] != "#"]


def read_kapture(root):
    """By photo: size, and arrays of keypoints, descriptors and global features."""
    sensors = {row[0]: row[1:] for row in read_table(root / "sensors/sensors.txt")}
    assert all(row[:3] == ["", "camera", "UNKNOWN_CAMERA"] for row in sensors.values())
    photos, stamps = {}, set()
    for timestamp, sensor, name in read_table(root / "sensors/records_camera.txt"):
        photos[name] = {"size": tuple(map(int, sensors[sensor][3:]))}
        stamps.add(int(timestamp))
    assert len(stamps) == len(photos)
    for kind, suffix in (("keypoints", "kpt"), ("descriptors", "desc"), ("global_features", "gfeat")):
        for folder in (root / "reconstruction" / kind).iterdir():
            ((_, dtype, dsize, *_),) = read_table(folder / f"{kind}.txt")
            for path in folder.rglob(f"*.{suffix}"):
                name = path.relative_to(folder).as_posix()[: -len(suffix) - 1]
                photos[name][kind] = np.fromfile(path, dtype).reshape(-1, int(dsize))
    return photos


def test_read_back(features, tmp_path):
    features_to_kapture(features, tmp_path / "k", "gem-delf")
    photos = read_kapture(tmp_path / "k")
    assert sorted(photos) == sorted(NAMES)
    assert [photos[name]["size"] for name in NAMES] == [(64, 48), (30, 20), (64, 48), (7, 9)]
    with h5py.File(features) as file:
        for name in NAMES:
            group, found = file[name], photos[name]
            assert ("keypoints" in group) == ("keypoints" in found) == ("descriptors" in found)
            assert ("global_descriptor" in group) == ("global_features" in found)
            if "keypoints" in group:
                np.testing.assert_array_equal(found["keypoints"][:, :2], group["keypoints"][:] + np.float32(0.5))
                np.testing.assert_array_equal(found["keypoints"][:, 2], group["scales"][:])
                np.testing.assert_array_equal(found["descriptors"], group["descriptors"][:].T)
            if "global_features" in found:
                np.testing.assert_array_equal(found["global_features"], group["global_descriptor"][:][None])
    (row,) = read_table(tmp_path / "k/reconstruction/descriptors/gem-delf/descriptors.txt")
    assert row == ["gem-delf", "float32", "8", "gem-delf", "L2"]


def test_command_links_photos_and_keeps_what_is_made(features, tmp_path):
    photos, folder = make_photos(tmp_path / "photos", NAMES), tmp_path / "k"
    command = ["--features", str(features), "--format", "kapture", "--output", str(folder)]
    convert_features([*command, "--images_path", str(photos)])
    assert (folder / "sensors/records_data" / NAMES[2]).read_bytes() == (photos / NAMES[2]).read_bytes()
    assert json.loads((folder / "provenance.json").read_text())["weights"] == PROVENANCE.weights
    before = os.stat(folder).st_mtime_ns
    convert_features([*command, "--images_path", str(photos)])
    assert os.stat(folder).st_mtime_ns == before
    with pytest.raises(UserError, match="`overwrite`"):
        convert_features(command)
    convert_features([*command, "--overwrite"])
    assert not (folder / "sensors/records_data").exists() and len(os.listdir(photos)) == len(NAMES)
    (folder / "reconstruction/matches.bin").write_bytes(b"theirs")
    with pytest.raises(UserError, match="holds reconstruction/matches.bin, which is no part of a kapture folder"):
        convert_features([*command, "--feature_type", "other", "--overwrite"])


def test_refusals(features, tmp_path):
    with pytest.raises(UserError, match="`feature_type` is 'a/b'"):
        features_to_kapture(features, tmp_path / "k", "a/b")
    with h5py.File(features, "a") as file:
        write_group(file, "d.jpg", make_features(3, 2, dimension=9))
    with pytest.raises(UserError, match="d.jpg has descriptors of 9 numbers, those before have 8; convert them apart"):
        features_to_kapture(features, tmp_path / "k")
    with h5py.File(features, "a") as file:
        write_group(file, "e,f.jpg", make_features(3, 2))
    with pytest.raises(UserError, match="'e,f.jpg' holds what kapture's tables cannot"):
        features_to_kapture(features, tmp_path / "k")
    assert not (tmp_path / "k").exists() and not list(Path(tmp_path).glob(".k*"))
    for options in (["--delf_path", "d", "--format", "delf"], ["--features", "f", "--feature_type", "x"]):
        with pytest.raises(UserError, match="--format goes with --features"):
            convert_features([*options, "--output", "x"])
