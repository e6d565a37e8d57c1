"""Indexes of shards on disk: what they hold, and what adding, removing, compacting and kills make of them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from handmade_features import random_photo, write_features, write_global

from src.artifacts import sha256_of
from src.commands.build_index import main as build_command
from src.errors import UserError
from src.retrieval.build import add_to_index, build_index, compact_index, remove_from_index
from src.retrieval.index import load_index
from src.retrieval.index_folder import read_manifest, read_names, require_whole

ROOT = Path(__file__).resolve().parents[2]


def photos_of(letter, count, seed, features=20):
    generator = np.random.default_rng(seed)
    return {f"{letter}{number}.jpg": random_photo(generator, features) for number in range(count)}


@pytest.fixture
def sets(tmp_path):
    """Two feature files of 7 and 4 photos."""
    first, second = photos_of("a", 7, 1), photos_of("b", 4, 2)
    write_features(tmp_path / "first.h5", first)
    write_features(tmp_path / "second.h5", second)
    return first, second


def shards_of(folder):
    return [load_index(folder / name) for name in read_manifest(folder).shard_names]


def bytes_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_shards_hold_the_photos_of_one_index_in_its_order(tmp_path, sets, capsys):
    files = [str(tmp_path / "second.h5"), str(tmp_path / "first.h5")]
    whole = load_index(build_index(files, tmp_path / "whole"))
    build_command(["--features", *files, f"--output={tmp_path}/index", "--num_shards=3"])
    assert "11 photos, 220 descriptors, Flat, 3 shards: " in capsys.readouterr().out
    folder, manifest = tmp_path / "index", require_whole(tmp_path / "index")
    assert [shard["num_images"] for shard in manifest.shards] == [4, 4, 3]
    assert [shard["first_image"] for shard in manifest.shards] == [0, 4, 8]
    assert read_names(folder) == whole.image_names and manifest.num_descriptors == 220
    assert manifest.provenance.same_run(whole.provenance)
    shards = shards_of(folder)
    rows = [part.faiss_index.reconstruct_n(0, part.faiss_index.ntotal) for part in shards]
    np.testing.assert_array_equal(np.concatenate(rows), whole.faiss_index.reconstruct_n(0, 220))
    np.testing.assert_array_equal(np.concatenate([part.keypoints for part in shards]), whole.keypoints)
    assert sha256_of(folder / "shard_001" / "index.json") == manifest.sha256["shard_001/index.json"]
    shutil.move(tmp_path / "index", tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "shard_001" / "index.json").write_text("{}")
    with pytest.raises(UserError, match="shard_001/index.json: damaged, or of another index"):
        require_whole(tmp_path / "elsewhere")


def test_an_index_of_other_shards_is_refused_and_the_same_is_kept(tmp_path, sets):
    folder = build_index(tmp_path / "first.h5", tmp_path / "index", shard_photos=3)
    before = os.stat(folder / "index.json").st_mtime_ns
    build_index(tmp_path / "first.h5", folder, num_shards=3)  # of 3 photos each
    assert os.stat(folder / "index.json").st_mtime_ns == before
    for more in ({}, {"shard_photos": 2}):
        with pytest.raises(UserError, match=r"other settings \(shard_photos\)"):
            build_index(tmp_path / "first.h5", folder, **more)
    build_index(tmp_path / "first.h5", folder, overwrite=True)
    assert len(load_index(folder)) == 7 and not read_manifest(folder).shards


def test_photos_are_added_as_shards_behind_the_others(tmp_path, sets):
    folder = build_index(tmp_path / "first.h5", tmp_path / "index", shard_photos=3)
    old = bytes_of(folder / "shard_000")
    for _ in range(2):  # the second time there is nothing to do
        add_to_index(tmp_path / "second.h5", folder)
    whole = build_index(tmp_path / "first.h5", tmp_path / "whole")
    add_to_index(tmp_path / "second.h5", whole)
    assert [shard["num_images"] for shard in read_manifest(folder).shards] == [3, 3, 1, 3, 1]
    assert bytes_of(folder / "shard_000") == old and read_names(folder) == read_names(whole)
    assert read_manifest(folder).provenance.same_run(read_manifest(whole).provenance)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.h5", "index", "second.h5", "whole"]
    with pytest.raises(UserError, match=r"has a photo b0\.jpg already"):
        write_features(tmp_path / "third.h5", {"b0.jpg": sets[0]["a0.jpg"]})
        add_to_index(tmp_path / "third.h5", folder)


@pytest.mark.parametrize("shard_photos", [0, 3])
def test_photos_that_are_removed_are_gone(tmp_path, sets, shard_photos):
    folder = build_index(tmp_path / "first.h5", tmp_path / "index", shard_photos=shard_photos)
    (tmp_path / "names.txt").write_text("a1\n\na6.jpg\r\n")
    kept = bytes_of(folder / "shard_001") if shard_photos else None
    for _ in range(2):
        remove_from_index(tmp_path / "names.txt", folder)
    names = ["a0.jpg", "a2.jpg", "a3.jpg", "a4.jpg", "a5.jpg"]
    assert read_names(folder) == names and read_manifest(folder).num_descriptors == 100
    rest = {name: sets[0][name] for name in names}
    for part in shards_of(folder) if shard_photos else [load_index(folder)]:
        for number, name in enumerate(part.image_names):
            np.testing.assert_array_equal(part.points(number), np.float32(rest[name][0]))
            np.testing.assert_array_equal(part.descriptors(number), np.float32(rest[name][1]))
            np.testing.assert_array_equal(part.features(number).descriptors, np.float32(rest[name][1]))
    if shard_photos:
        assert read_manifest(folder).shard_names == ["shard_003", "shard_001"]  # the last shard had a6 alone
        assert bytes_of(folder / "shard_001") == kept and not (folder / "shard_000").exists()
    with pytest.raises(UserError, match=r"other settings \(removed"):
        build_index(tmp_path / "first.h5", folder, shard_photos=shard_photos)
    (tmp_path / "names.txt").write_text("a0\nelsewhere\n")
    with pytest.raises(UserError, match="has no photo elsewhere"):
        remove_from_index(tmp_path / "names.txt", folder)
    (tmp_path / "names.txt").write_text("\n".join(names))
    with pytest.raises(UserError, match="no photo would stay"):
        remove_from_index(tmp_path / "names.txt", folder)


def test_a_compact_index_is_as_one_built_of_what_is_left(tmp_path, sets):
    folder = build_index(tmp_path / "first.h5", tmp_path / "index", shard_photos=3)
    add_to_index(tmp_path / "second.h5", folder)
    (tmp_path / "names.txt").write_text("a1\nb2")
    remove_from_index(tmp_path / "names.txt", folder)
    build_command([f"--output={folder}", "--compact"])
    left = {name: item for each in sets for name, item in each.items() if name not in ("a1.jpg", "b2.jpg")}
    write_features(tmp_path / "left.h5", left)
    expected = build_index(tmp_path / "left.h5", tmp_path / "expected", shard_photos=3)
    for name in ("shard_000", "shard_001", "shard_002"):
        for file in ("index.faiss", "keypoints.npy", "starts.npy", "image_names.json"):
            assert (folder / name / file).read_bytes() == (expected / name / file).read_bytes()
    assert read_manifest(folder).shard_names == ["shard_000", "shard_001", "shard_002"]
    before = os.stat(folder / "index.json").st_mtime_ns
    compact_index(folder)
    assert os.stat(folder / "index.json").st_mtime_ns == before
    compact_index(folder, shard_photos=5)
    assert [shard["num_images"] for shard in read_manifest(folder).shards] == [5, 4]
    with pytest.raises(UserError, match="one piece"):
        compact_index(build_index(tmp_path / "left.h5", tmp_path / "piece"))


def test_a_feature_file_that_has_changed_is_not_built_from(tmp_path, sets):
    folder = build_index(tmp_path / "first.h5", tmp_path / "index", shard_photos=3)
    (tmp_path / "names.txt").write_text("a1")
    write_features(tmp_path / "first.h5", photos_of("a", 7, 5))  # of the same size
    with pytest.raises(UserError, match="has changed since"):
        remove_from_index(tmp_path / "names.txt", folder)
    assert len(read_names(folder)) == 7 and require_whole(folder)


def test_types_that_cannot_be_divided_are_refused(tmp_path, sets):
    for index_type in ("HNSW8", "IVF2,PQ4x4fs", "Flat,RFlat"):
        with pytest.raises(UserError, match="would not find together"):
            build_index(tmp_path / "first.h5", tmp_path / "index", index_type, shard_photos=3)


def test_options_that_do_nothing_together_are_refused(tmp_path, sets):
    output = f"--output={tmp_path}/index"
    build_index(tmp_path / "first.h5", tmp_path / "index", shard_photos=3)
    for options, fact in (
        (["--num_shards=2"], "`features` is not set"),
        (["--features=x.h5", "--num_shards=2", "--shard_photos=2"], "give one"),
        (["--add", "--compact"], "one at a time"),
        (["--add", "--features=x.h5", "--num_shards=2"], "--num_shards has no effect with --add"),
        (["--compact", "--features=x.h5"], "--features has no effect with --compact"),
        (["--compact", "--boxes_path=x.csv"], "--boxes_path has no effect on this index"),
        (["--remove=x.txt", "--seed=2"], "--seed has no effect with --remove"),
    ):
        with pytest.raises(UserError, match=fact):
            build_command([output, *options])


@pytest.mark.parametrize("searcher", ["asmk_star", "asmk", "vlad", "global"])
def test_every_searcher_has_shards(tmp_path, searcher):
    photos = photos_of("a", 7, 1)
    generator = np.random.default_rng(3)
    vectors = {name: row / np.linalg.norm(row) for name, row in zip(photos, generator.normal(size=(7, 8)))}
    write_global(tmp_path / "first.h5", vectors, photos)
    folder = build_index(tmp_path / "first.h5", tmp_path / "index", searcher=searcher, shard_photos=3)
    (tmp_path / "names.txt").write_text("a1")
    remove_from_index(tmp_path / "names.txt", folder)
    compact_index(folder)
    manifest = require_whole(folder)
    assert [shard["num_images"] for shard in manifest.shards] == [3, 3]
    for name in manifest.shard_names:
        require_whole(folder / name)


_KILLED_BUILDS = """
import os, random, signal, time
from src.retrieval.build import build_index

moments = random.Random(5)
for kill in range(10):
    child = os.fork()  # this process itself never runs faiss
    if not child:
        build_index("first.h5", "index", "IVF16,PQ8x4", shard_photos=3)
        os._exit(0)
    wanted = f".index.shards/shard_{kill - 2:03d}" if kill > 1 else ".index.shards"
    while not os.path.exists(wanted):
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
        time.sleep(0.005)
    time.sleep(moments.uniform(0, 0.02))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


def test_a_build_that_is_killed_ten_times_gives_the_same_bytes(tmp_path):
    write_features(tmp_path / "first.h5", photos_of("a", 36, 1, 300))
    expected = bytes_of(build_index(tmp_path / "first.h5", tmp_path / "index", "IVF16,PQ8x4", shard_photos=3))
    shutil.rmtree(tmp_path / "index")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", _KILLED_BUILDS], cwd=tmp_path, env=environment, check=True, timeout=300)
    assert (tmp_path / ".index.shards" / "shard_007").exists() and not (tmp_path / "index").exists()
    kept = os.stat(tmp_path / ".index.shards" / "shard_003" / "index.json").st_mtime_ns
    folder = build_index(tmp_path / "first.h5", tmp_path / "index", "IVF16,PQ8x4", shard_photos=3)
    assert bytes_of(folder) == expected and os.stat(folder / "shard_003" / "index.json").st_mtime_ns == kept
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.h5", "index"]
