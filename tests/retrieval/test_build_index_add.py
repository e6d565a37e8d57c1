"""Indexes of several feature files, photos added later, and builds that are killed."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from handmade_features import DIMENSION, random_photo, write_features

from src.artifacts import sha256_of
from src.commands.build_index import main as build_command
from src.config import Config
from src.errors import UserError
from src.features.extraction import extract_to_file, photos_of_folder
from src.retrieval.build import add_to_index, build_index
from src.retrieval.index import load_index
from tests.features.fake_network import load_fake_network, sections
from tests.features.made_up import make_photos

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def sets(tmp_path):
    """Two feature files of different photos; names of the second come before, between and after those of the first."""
    generator = np.random.default_rng(1)
    first = {name: random_photo(generator, count) for name, count in {"b.jpg": 40, "d.jpg": 0, "e.jpg": 30}.items()}
    second = {name: random_photo(generator, count) for name, count in {"a.jpg": 20, "c.jpg": 25, "f.jpg": 0}.items()}
    for name, photos in (("first", first), ("second", second)):
        write_features(tmp_path / f"{name}.h5", photos, sources={"photos": name})
    return first, second


def assert_holds(index, photos):
    """Each photo's keypoints and descriptors, by its name."""
    assert sorted(index.image_names) == sorted(photos)
    for number, name in enumerate(index.image_names):
        np.testing.assert_array_equal(index.keypoints[index.rows(number)], photos[name][0].astype(np.float32))
        np.testing.assert_array_equal(index.descriptors(number).reshape(-1, DIMENSION), np.float32(photos[name][1]))


def test_several_files_are_one_set_in_the_order_of_names(tmp_path, sets):
    index = load_index(build_index([tmp_path / "first.h5", tmp_path / "second.h5"], tmp_path / "index"))
    assert index.names == ["a", "b", "c", "d", "e", "f"]
    assert_holds(index, {**sets[0], **sets[1]})


@pytest.mark.parametrize("index_type", ["Flat", "IVF4,Flat", "HNSW8"])
def test_photos_are_added_behind_the_old_ones(tmp_path, sets, index_type):
    folder = build_index(tmp_path / "first.h5", tmp_path / "index", index_type)
    add_to_index(tmp_path / "second.h5", folder)
    index = load_index(folder)
    assert index.names == ["b", "d", "e", "a", "c", "f"]
    assert index.provenance.sources["features"] == [sha256_of(tmp_path / "first.h5")]
    assert index.provenance.sources["added"] == [sha256_of(tmp_path / "second.h5")]
    assert_holds(index, {**sets[0], **sets[1]})
    descriptors = np.concatenate([np.float32(sets[0]["e.jpg"][1]), np.float32(sets[1]["c.jpg"][1])])
    _, found = index.faiss_index.search(descriptors, 1)
    assert index.image_ids[found[:, 0]].tolist() == [2] * 30 + [4] * 25


def test_adding_twice_adds_once(tmp_path, sets, capsys):
    build_command([f"--features={tmp_path}/first.h5", f"--output={tmp_path}/index"])
    for _ in range(2):
        build_command([f"--features={tmp_path}/second.h5", f"--output={tmp_path}/index", "--add"])
    assert "6 photos, 115 descriptors" in capsys.readouterr().out.splitlines()[-1]
    with pytest.raises(UserError, match=r"other settings \(added\)"):
        build_index(tmp_path / "first.h5", tmp_path / "index")  # would drop what was added


def test_a_photo_that_is_there_already_is_refused(tmp_path, sets):
    folder = build_index(tmp_path / "first.h5", tmp_path / "index")
    write_features(tmp_path / "third.h5", {"e.png": sets[0]["e.jpg"], "g.jpg": sets[0]["b.jpg"]})
    with pytest.raises(UserError, match=r"has a photo e\.png already"):
        add_to_index(tmp_path / "third.h5", folder)
    with pytest.raises(UserError, match=r"third\.h5: e\.png is in .*first\.h5 too"):
        build_index([tmp_path / "first.h5", tmp_path / "third.h5"], tmp_path / "other")
    assert len(load_index(folder)) == 3 and not (tmp_path / "other").exists()


def test_shards_of_one_folder_go_into_one_index(tmp_path, sets):
    """What eval/extract_features.py --shard 1/2 and 2/2 make, at once and one after the other."""
    for number, photos in enumerate(sets, 1):
        sources = {"photos": "all of them", "protocol": "", "shard": f"{number}/2"}
        write_features(tmp_path / f"{number}.h5", photos, settings={"max_feature_num": 9}, sources=sources)
    index = load_index(build_index([tmp_path / "1.h5", tmp_path / "2.h5"], tmp_path / "index"))
    assert_holds(index, {**sets[0], **sets[1]})
    folder = build_index(tmp_path / "1.h5", tmp_path / "one")
    add_to_index(tmp_path / "2.h5", folder)
    assert_holds(load_index(folder), {**sets[0], **sets[1]})


def test_extracted_shards_go_into_one_index(tmp_path):
    make_photos(tmp_path / "photos", ["a.png", "b.png", "c.png"], (96, 64))
    (tmp_path / "net.ckpt").write_bytes(b"weights")
    config = Config(checkpoint_path=str(tmp_path / "net.ckpt"), image_scales=(1.0,))
    for shard in ("1/2", "2/2"):
        output = tmp_path / f"{shard[0]}.h5"
        photos = photos_of_folder(tmp_path / "photos")
        extract_to_file(photos, output, *sections(config), shard=shard, load_network=load_fake_network)
    index = load_index(build_index([tmp_path / "1.h5", tmp_path / "2.h5"], tmp_path / "index"))
    assert index.image_names == ["a.png", "b.png", "c.png"] and index.faiss_index.ntotal == 18


def test_features_may_differ_in_engine_and_in_half_precision(tmp_path, sets):
    half = {"settings": {"half": True}, "notes": {"engine": "openvino"}}
    write_features(tmp_path / "half.h5", sets[1], **half)
    assert len(load_index(build_index([tmp_path / "first.h5", tmp_path / "half.h5"], tmp_path / "index"))) == 6


@pytest.mark.parametrize(
    "settings, name",
    [
        ({"weights": "bb"}, "weights"),
        ({"encoder": {"pca": "other"}}, "pca"),
        ({"settings": {"max_feature_num": 5}}, "max_feature_num"),
    ],
)
def test_features_of_other_settings_are_refused(tmp_path, sets, settings, name):
    folder = build_index(tmp_path / "first.h5", tmp_path / "index")
    write_features(tmp_path / "third.h5", sets[1], **settings)
    for refuse in (
        lambda: add_to_index(tmp_path / "third.h5", folder),
        lambda: build_index([tmp_path / "first.h5", tmp_path / "third.h5"], tmp_path / "other"),
    ):
        with pytest.raises(UserError, match=rf"third\.h5: extracted with other settings .*{name}"):
            refuse()


def test_descriptors_of_another_length_are_refused(tmp_path, sets):
    folder = build_index(tmp_path / "first.h5", tmp_path / "index")
    write_features(tmp_path / "third.h5", {"z.jpg": random_photo(np.random.default_rng(0), 9, 8)})
    with pytest.raises(UserError, match=r"third\.h5: descriptors of 8 dimensions"):
        add_to_index(tmp_path / "third.h5", folder)
    with pytest.raises(UserError, match=r"descriptors of \[8, 16\] dimensions"):
        build_index([tmp_path / "first.h5", tmp_path / "third.h5"], tmp_path / "other")


def test_there_must_be_an_index_to_add_to(tmp_path, sets):
    with pytest.raises(UserError, match="no such folder"):
        add_to_index(tmp_path / "second.h5", tmp_path / "index")
    (tmp_path / "index").mkdir()
    with pytest.raises(UserError, match="not an index folder"):
        add_to_index(tmp_path / "second.h5", tmp_path / "index")


def test_an_index_left_aside_by_a_kill_is_brought_back(tmp_path, sets):
    folder = build_index(tmp_path / "first.h5", tmp_path / "index")
    os.replace(folder, tmp_path / ".index.old")  # where a run killed between its two renames leaves it
    add_to_index(tmp_path / "second.h5", folder)
    assert len(load_index(folder)) == 6


_ENDLESS = """
import sys
from src.retrieval.build import add_to_index, build_index
print("ready", flush=True)
while True:
    for index_type in ("Flat", "IVF16,PQ8x4"):
        build_index("first.h5", "index", index_type, overwrite=True)
        add_to_index("second.h5", "index")
"""


def test_kills_at_random_moments_leave_a_whole_index_or_none(tmp_path):
    generator = np.random.default_rng(3)
    for name in ("first", "second"):
        photos = {f"{name}{number}.jpg": random_photo(generator, 400) for number in range(20)}
        write_features(tmp_path / f"{name}.h5", photos)
    moments, whole = random.Random(5), 0
    for kill in range(10):
        child = subprocess.Popen(
            [sys.executable, "-c", _ENDLESS],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert child.stdout.readline() == b"ready\n"
        deadline = time.monotonic() + 300
        while kill == 4 and not (tmp_path / "index").exists() and time.monotonic() < deadline:
            time.sleep(0.01)  # a slow machine: one index at least
        time.sleep(moments.uniform(0, 0.4))
        child.kill()
        child.communicate()
        if (tmp_path / "index").exists():
            index = load_index(tmp_path / "index")
            assert (len(index), index.faiss_index.ntotal) in ((20, 8000), (40, 16000))
            whole += 1
    assert whole >= 5
    build_index(tmp_path / "first.h5", tmp_path / "index", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.h5", "index", "second.h5"]
