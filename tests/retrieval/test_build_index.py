"""build_index on small feature files written by hand: what it holds, keeps, refuses and survives."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import faiss
import numpy as np
import pytest
from handmade_features import DIMENSION, random_photo, write_features

from src.commands.build_index import main as build_command
from src.errors import UserError
from src.features.feature_set import FeatureSet
from src.retrieval import index_kinds
from src.retrieval.build import build_index
from src.retrieval.index import load_index, save_index
from src.retrieval.index_folder import describe_size
from src.retrieval.index_types import choose_index_type, make_index
from src.retrieval.votes import default_nprobe


def assert_holds(index, photos):
    """Every photo's keypoints, and its descriptors as rows of an exact faiss index."""
    assert sorted(index.image_names) == sorted(photos) and index.faiss_index.ntotal == len(index.keypoints)
    for number, name in enumerate(index.image_names):
        rows = np.flatnonzero(index.image_ids[np.arange(len(index.keypoints))] == number)
        keypoints, descriptors = photos[name]
        np.testing.assert_array_equal(index.keypoints[rows], keypoints.astype(np.float32))
        stored = [index.faiss_index.reconstruct(int(row)) for row in rows]
        np.testing.assert_array_equal(np.reshape(stored, (-1, DIMENSION)), descriptors.astype(np.float32))
        assert np.arange(len(index.keypoints))[index.rows(number)].tolist() == rows.tolist()


def test_index_holds_every_descriptor_with_its_photo_and_keypoint(tmp_path, photos, features, monkeypatch):
    monkeypatch.setattr(index_kinds, "_ADD_BYTES", 45 * 4 * DIMENSION)  # several chunks
    index = load_index(build_index(features, tmp_path / "index"))
    assert index.names == ["a", "a-1", "b/tower", "blank", "c.d"]  # by name without extension, although '-' < '.'
    assert index.provenance.settings["index_type"] == "Flat" and index.provenance.weights == "aa"
    assert isinstance(index.keypoints, np.memmap) and index.keypoints.dtype == np.float32
    assert_holds(index, photos)


@pytest.mark.parametrize("index_type", ["Flat", "IVF4,Flat", "PQ4x4", "HNSW8"])
def test_descriptors_of_a_photo_are_those_extracted(tmp_path, photos, features, index_type):
    index = load_index(build_index(features, tmp_path / "index", index_type))
    for number, name in enumerate(index.image_names):
        np.testing.assert_array_equal(
            index.descriptors(number), photos[name][1].astype(np.float32).reshape(-1, DIMENSION)
        )
        assert index.features(number).keypoints.shape == photos[name][0].shape


def test_descriptors_need_the_feature_file_unless_the_index_is_exact(tmp_path, photos, features):
    flat, short = (load_index(build_index(features, tmp_path / kind, kind)) for kind in ("Flat", "PQ4x4"))
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("PQ4x4", "features.h5"):
        (tmp_path / name).rename(moved / name)
    assert load_index(moved / "PQ4x4").descriptors(0).shape == (50, DIMENSION)  # both moved together
    assert flat.descriptors(0).shape == (50, DIMENSION)
    with pytest.raises(UserError, match=r"features\.h5: is gone"):
        short.descriptors(0)
    write_features(features, {"other.jpg": photos["a.png"]})
    with pytest.raises(UserError, match=r"features\.h5: has changed"):
        short.descriptors(0)


def test_finished_index_is_kept_and_another_refused(tmp_path, features):
    folder = build_index(features, tmp_path / "index")
    made = (folder / "index.json").stat().st_mtime_ns
    build_index(features, folder)
    assert (folder / "index.json").stat().st_mtime_ns == made
    with pytest.raises(UserError, match=r"other settings \(index_type\); give `overwrite`"):
        build_index(features, folder, index_type="IVF2,Flat")
    build_index(features, folder, index_type="IVF2,Flat", overwrite=True)
    assert load_index(folder).provenance.settings["index_type"] == "IVF2,Flat"


def test_changed_features_are_not_mistaken_for_the_same(tmp_path, photos, features):
    folder = build_index(features, tmp_path / "index")
    photos["a.png"][0][0] += 1
    write_features(features, photos)
    with pytest.raises(UserError, match=r"other settings \(features\)"):
        build_index(features, folder)


def test_leftovers_of_a_killed_run_do_no_harm(tmp_path, features):
    leftover = tmp_path / ".index.tmp"
    leftover.mkdir()
    (leftover / "index.json").write_text("{")
    index = load_index(build_index(features, tmp_path / "index"))
    assert len(index) == 5 and not leftover.exists()


def test_a_failing_build_leaves_the_old_index(tmp_path, features, monkeypatch):
    folder = build_index(features, tmp_path / "index")

    def fail(*_):
        raise RuntimeError("could not write: No space left on device")

    monkeypatch.setattr(faiss, "write_index", fail)
    with pytest.raises(UserError, match="No space left"):
        build_index(features, folder, index_type="IVF2,Flat", overwrite=True)
    assert load_index(folder).provenance.settings["index_type"] == "Flat"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["features.h5", "index"]


@pytest.mark.parametrize("name", ["keypoints.npy", "index.faiss", "starts.npy", "index.json"])
def test_no_byte_is_lost_on_a_full_disk(tmp_path, features, name):
    """A file of a few hundred bytes waits in a buffer: faiss's own writer only prints that it could not be kept."""
    index = load_index(build_index(features, tmp_path / "index"))
    index.keypoints = np.array(index.keypoints)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / name).symlink_to("/dev/full")
    with pytest.raises((OSError, UserError)):
        save_index(tmp_path / "full", index)


_ON_A_SMALL_DISK = f"""
mkdir disk && mount -t tmpfs -o size=100k tmpfs disk || exit 77
exec {sys.executable} -c 'from src.retrieval.build import build_index; build_index("features.h5", "disk/index")'
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="no disk can be mounted here")
def test_a_full_disk_does_not_end_the_process(tmp_path):
    """Keypoints are written as memory: without room for them reserved, the system ends the process (SIGBUS)."""
    write_features(tmp_path / "features.h5", {"a.jpg": random_photo(np.random.default_rng(0), 20_000, 1)})
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", _ON_A_SMALL_DISK]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    if done.returncode == 77 or done.stderr.startswith("unshare"):
        pytest.skip("no disk can be mounted here")
    assert (done.returncode, done.stderr.splitlines()[-1][:37]) == (1, "OSError: [Errno 28] No space left on ")


def _flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["index.faiss", "keypoints.npy", "starts.npy", "image_names.json", "sources.json"])
def test_one_changed_bit_anywhere_is_told_before_anything_is_read(tmp_path, features, name, monkeypatch):
    folder = build_index(features, tmp_path / "index")
    monkeypatch.setattr(faiss, "read_index", None)
    size = (folder / name).stat().st_size
    for position in {0, size // 3, size // 2, size - 1}:
        _flip(folder / name, position)
        with pytest.raises(UserError, match=rf"{name}: damaged, or of another index .*build_index"):
            load_index(folder)
        _flip(folder / name, position)
    monkeypatch.undo()
    assert len(load_index(folder)) == 5


def test_files_of_two_indexes_are_not_mixed(tmp_path, photos, features):
    folder = build_index(features, tmp_path / "index")
    photos["a.png"][0][0] = 7
    write_features(tmp_path / "other.h5", photos)
    other = build_index(tmp_path / "other.h5", tmp_path / "other")
    shutil.copy(other / "keypoints.npy", folder)  # of the same shape
    with pytest.raises(UserError, match=r"keypoints\.npy: damaged, or of another index"):
        load_index(folder)


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        (lambda text: text.replace('"num_images": 5', '"num_images": 6'), "its checksum differs"),
        (lambda text: text.replace('"seed": 0', '"seed": "0"'), "its checksum differs"),
        (lambda text: "[" * 100_000, "recursion"),
        (lambda text: "[1]", "list indices"),
        (lambda text: text.replace('"checksum"', '"checksums"'), "no checksum in it"),
        (lambda text: text.replace('"format_version": 4', '"format_version": "4"'), "its checksum differs"),
        (lambda text: text.replace('"seed": 0', '"seed": ' + "9" * 5000), "integer"),
        (lambda text: text + " " * 2**26, "too large"),
    ],
)
def test_a_changed_manifest_is_one_sentence(tmp_path, features, change, fact):
    folder = build_index(features, tmp_path / "index")
    text = (folder / "index.json").read_text()
    (folder / "index.json").write_text(change(text))
    with pytest.raises(UserError, match=rf"index\.json: damaged \(.*{fact}.*the command build_index"):
        load_index(folder)


def test_a_folder_of_something_else_is_never_replaced(tmp_path, features):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
    with pytest.raises(UserError, match="is no index"):
        build_index(features, tmp_path / "photos", overwrite=True)
    assert (tmp_path / "photos" / "a.jpg").exists()


def test_photos_that_differ_by_extension_are_refused(tmp_path, photos):
    photos["a.jpg"] = photos["a-1.jpg"]
    write_features(tmp_path / "features.h5", photos)
    with pytest.raises(UserError, match=r"a\.jpg and a\.png differ only by extension"):
        build_index(tmp_path / "features.h5", tmp_path / "index")


@pytest.mark.parametrize(
    "index_type",
    ["LSH", "PCAR8,LSH", "ITQ,LSH", "ITQ8,Flat", "PCAW8,Flat", "PCAWR8,IVF4,Flat", "IVF4,ITQ8,SH", "Flat,Refine(LSH)"],
)
def test_types_whose_distances_are_not_those_of_the_descriptors_are_refused(tmp_path, features, index_type):
    """Bits that differ, or whitened distances: `search_distance` means nothing there."""
    with pytest.raises(UserError, match="its distances are not those of the descriptors"):
        build_index(features, tmp_path / "index", index_type=index_type)
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize("index_type", ["L2norm,Flat", "Pad20,Flat", "RR16,Flat", "PCA16,Flat", "SQ8", "Flat,RFlat"])
def test_types_that_keep_the_distances_are_taken(features, index_type):
    with FeatureSet([features]) as photos:
        rows = photos.sample(100, 0)
    index = make_index(index_type, DIMENSION)
    index.train(rows)
    index.add(rows)
    squared, numbers = index.search(rows, 5)
    expected = ((rows[:, None].astype(np.float64) - rows[numbers]) ** 2).sum(axis=2)
    np.testing.assert_allclose(squared, expected, atol=0.02)


@pytest.mark.parametrize(
    "index_type",
    ["IVF999999999,Flat", "IVF99999999999999999999,Flat", "IMI2x30,Flat", "IMI9x9,Flat", "HNSW999999999", "PQ8x30",
     "PCA999999999,Flat", "RQ999999x8", "IVF4(IVF999999999),Flat", "Pad999999999,Flat", "Flat," * 50_000],
)  # fmt: skip
def test_absurd_numbers_are_refused_before_memory_is_taken(index_type):
    with pytest.raises(UserError, match="`index_type` .* are taken; give smaller numbers") as refused:
        make_index(index_type, DIMENSION)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("index_type", ["Nonsense", "IVF0,Flat", "IVF5000,Flat", "PQ7", "PQ64", "NSG8,Flat"])
def test_unusable_index_type_is_one_sentence(tmp_path, features, index_type, monkeypatch):
    monkeypatch.setattr(index_kinds, "_ADD_BYTES", 45 * 4 * DIMENSION)  # NSG takes one chunk only
    fact = "0 inverted lists; give IVF1" if index_type == "IVF0,Flat" else "faiss cannot"
    with pytest.raises(UserError, match=f"`index_type` {index_type}: {fact}"):
        build_index(features, tmp_path / "index", index_type=index_type)
    assert [path.name for path in tmp_path.iterdir()] == ["features.h5"]


def test_no_photos_and_no_descriptors(tmp_path):
    write_features(tmp_path / "none.h5", {})
    with pytest.raises(UserError, match="holds no photos"):
        build_index(tmp_path / "none.h5", tmp_path / "index")
    write_features(tmp_path / "blank.h5", {"a.jpg": (np.zeros((0, 2)), np.zeros((0, DIMENSION)))})
    index = load_index(build_index(tmp_path / "blank.h5", tmp_path / "index"))
    assert len(index) == 1 and index.faiss_index.d == DIMENSION and index.keypoints.shape == (0, 2)
    assert index.descriptors(0).shape == (0, DIMENSION)
    with pytest.raises(UserError, match="`index_type` IVF4,Flat"):
        build_index(tmp_path / "blank.h5", tmp_path / "other", "IVF4,Flat")


@pytest.mark.parametrize("index_type", ["IVF4,Flat", "HNSW8", "IVF4_HNSW8,Flat"])
def test_trained_index_is_the_same_for_the_same_seed(tmp_path, features, index_type):
    folders = [build_index(features, tmp_path / name, index_type, seed=3) for name in ("one", "two")]
    assert (folders[0] / "index.faiss").read_bytes() == (folders[1] / "index.faiss").read_bytes()


def test_the_training_sample_is_bounded_and_spread(tmp_path):
    generator = np.random.default_rng(0)
    photos = {f"{number:02d}.jpg": random_photo(generator, 100) for number in range(50)}
    write_features(tmp_path / "features.h5", photos)
    with FeatureSet([tmp_path / "features.h5"]) as source:
        sample, again = source.sample(300, 1), source.sample(300, 1)
        assert source.sample(10**6, 1).shape == (5000, DIMENSION)
    np.testing.assert_array_equal(sample, again)
    everything = np.concatenate([descriptors for _, descriptors in photos.values()]).astype(np.float32)
    number = {row.tobytes(): position for position, row in enumerate(everything)}
    drawn = [number[row.tobytes()] for row in sample]
    assert 300 <= len(set(drawn)) == len(drawn) <= 330 and len({position // 100 for position in drawn}) >= 10


@pytest.mark.parametrize(
    "count, dimension, expected",
    [
        (1000, 40, "Flat"),
        (5_000_000, 40, "IVF8192,Flat"),
        (100_000_000, 40, "PCA38,IVF16384,PQ19"),
        (100_000_000, 9, "PCA8,IVF16384,PQ4"),
        (100_000_000, 8, "IVF16384,PQ4"),
    ],
)
def test_index_type_by_size(count, dimension, expected):
    assert choose_index_type(count, dimension) == expected
    assert make_index(expected, dimension).d == dimension


def test_search_defaults_of_an_index():
    lists = faiss.try_extract_index_ivf(make_index("OPQ19_38,IVF4096,PQ19", 40))
    assert lists.nprobe == default_nprobe(4096) == 64
    assert [default_nprobe(number) for number in (4, 100, 1024, 16384)] == [4, 16, 32, 64]
    assert faiss.downcast_index(make_index("HNSW32", 40)).hnsw.efSearch >= 60  # the neighbours looked up by default


def test_the_largest_index_takes_at_most_28_bytes_a_descriptor_with_its_ids():
    lists = faiss.try_extract_index_ivf(make_index(choose_index_type(10**9, 40), 40))
    assert lists.code_size == 19  # and faiss's id of 8 bytes; photos are told apart by 8 bytes a photo


def test_the_size_is_that_of_the_files(tmp_path, features):
    folder = build_index(features, tmp_path / "index", "IVF2,PQ8x4")
    memory = sum((folder / name).stat().st_size for name in ("index.faiss", "starts.npy"))
    assert memory > 140 * (4 + 8) + 6 * 8
    assert f"({memory / 140:.2f} bytes a descriptor, ids included)" in describe_size(folder)


@pytest.mark.parametrize("damage", ["index.json", "index.faiss", "keypoints.npy", "image_names.json", "starts.npy"])
def test_damaged_index_is_one_sentence(tmp_path, features, damage):
    folder = build_index(features, tmp_path / "index")
    data = (folder / damage).read_bytes()
    (folder / damage).write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"damaged.*the command build_index"):
        load_index(folder)
    (folder / damage).unlink()
    with pytest.raises(UserError, match=rf": no {damage} in it; make .* with the command build_index"):
        load_index(folder)


def test_an_index_of_an_older_format_is_one_sentence(tmp_path, features):
    folder = build_index(features, tmp_path / "index")
    text = (folder / "index.json").read_text()
    (folder / "index.json").write_text(text.replace('"format_version": 4', '"format_version": 2', 1))
    with pytest.raises(UserError, match="format 2"):
        load_index(folder)
    with pytest.raises(UserError, match="format 2"):
        build_index(features, folder)
    assert len(load_index(build_index(features, folder, overwrite=True))) == 5


def test_the_command_prints_the_bytes_of_a_descriptor(tmp_path, features, capsys):
    build_command([f"--features={features}", f"--output={tmp_path}/index"])
    printed = capsys.readouterr().out
    assert "5 photos, 140 descriptors, Flat: " in printed and "bytes a descriptor, ids included" in printed
    with pytest.raises(UserError, match="--index_type has no effect with --add"):
        build_command([f"--features={features}", f"--output={tmp_path}/index", "--add", "--index_type=PQ4x4"])
