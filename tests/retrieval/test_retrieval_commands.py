"""build_index, perform_retrieval and rank_randomly on small feature files written by hand in the documented layout."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import faiss
import h5py
import numpy as np
import pytest

from src.errors import UserError
from src.retrieval import build
from src.retrieval.build import build_index, choose_index_type
from src.retrieval.index import load_index
from src.retrieval.ranking_file import load_ranking

ROOT = Path(__file__).resolve().parents[2]
retrieve = runpy.run_path(str(ROOT / "eval" / "perform_retrieval.py"))["main"]
rank_randomly = runpy.run_path(str(ROOT / "tools" / "rank_randomly.py"))["main"]
DIMENSION = 16


def write_features(path, photos, **attributes):
    """{name: (keypoints [N, 2], descriptors [N, D])} in hloc's layout; attributes are JSON texts."""
    with h5py.File(path, "w") as file:
        for key, value in {"format_version": 1, "checkpoint_sha256": "aa", **attributes}.items():
            file.attrs[key] = json.dumps(value)
        for name, (keypoints, descriptors) in photos.items():
            group = file.create_group(name)
            group["keypoints"] = np.asarray(keypoints, np.float32)
            group["descriptors"] = np.asarray(descriptors, np.float32).T
            group["scores"] = np.ones(len(keypoints), np.float32)
            group["scales"] = np.ones(len(keypoints), np.float32)
            group["image_size"] = np.array([1000, 1000])


def random_photo(generator, count, dimension=DIMENSION):
    rows = generator.normal(size=(count, dimension))
    return generator.uniform(0, 1000, (count, 2)), rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def photos():
    generator = np.random.default_rng(1)
    counts = {"b/tower.jpg": 40, "a-1.jpg": 30, "a.png": 50, "blank.jpg": 0, "c.d.jpg": 20}
    return {name: random_photo(generator, count) for name, count in counts.items()}


@pytest.fixture
def features(tmp_path, photos):
    write_features(tmp_path / "features.h5", photos)
    return tmp_path / "features.h5"


@pytest.fixture
def queries(tmp_path, photos):
    """The tower moved and turned, a photo of nothing known, and a blank one."""
    keypoints, descriptors = photos["b/tower.jpg"]
    moved = keypoints @ [[0.9, 0.3], [-0.3, 0.9]] + [50, 20]
    unknown = random_photo(np.random.default_rng(5), 30)
    blank = (np.zeros((0, 2)), np.zeros((0, DIMENSION)))
    path = tmp_path / "queries.h5"
    write_features(path, {"tower_1": (moved, descriptors), "unknown_1": unknown, "zz_blank": blank})
    return path


def test_index_holds_every_descriptor_with_its_photo_and_keypoint(tmp_path, photos, features, monkeypatch):
    monkeypatch.setattr(build, "_ADD_ROWS", 45)  # several chunks
    index = load_index(build_index(features, tmp_path / "index"))
    assert index.names == ["a", "a-1", "b/tower", "blank", "c.d"]  # by name without extension, although '-' < '.'
    assert index.provenance["index_type"] == "Flat" and index.provenance["features"]["checkpoint_sha256"] == "aa"
    assert isinstance(index.keypoints, np.memmap) and isinstance(index.image_ids, np.memmap)
    assert (index.image_ids.dtype, index.keypoints.dtype) == (np.int32, np.float32)
    for number, name in enumerate(index.image_names):
        rows = np.flatnonzero(index.image_ids == number)
        keypoints, descriptors = photos[name]
        np.testing.assert_array_equal(index.keypoints[rows], keypoints.astype(np.float32))
        stored = [index.faiss_index.reconstruct(int(row)) for row in rows]
        np.testing.assert_array_equal(np.reshape(stored, (-1, DIMENSION)), descriptors.astype(np.float32))


def test_finished_index_is_kept_and_another_refused(tmp_path, features):
    folder = build_index(features, tmp_path / "index")
    made = (folder / "index.json").stat().st_mtime_ns
    build_index(features, folder)
    assert (folder / "index.json").stat().st_mtime_ns == made
    with pytest.raises(UserError, match="--overwrite"):
        build_index(features, folder, index_type="IVF2,Flat")
    build_index(features, folder, index_type="IVF2,Flat", overwrite=True)
    assert load_index(folder).provenance["index_type"] == "IVF2,Flat"


def test_changed_features_are_not_mistaken_for_the_same(tmp_path, photos, features):
    folder = build_index(features, tmp_path / "index")
    photos["a.png"][0][0] += 1
    write_features(features, photos)
    with pytest.raises(UserError, match="other features"):
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
        raise OSError("disk full")

    monkeypatch.setattr(faiss, "write_index", fail)
    with pytest.raises(OSError, match="disk full"):
        build_index(features, folder, index_type="IVF2,Flat", overwrite=True)
    assert load_index(folder).provenance["index_type"] == "Flat"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["features.h5", "index"]


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


@pytest.mark.parametrize("index_type", ["Nonsense", "IVF5000,Flat", "PQ7"])
def test_unusable_index_type_is_one_sentence(tmp_path, features, index_type):
    with pytest.raises(UserError, match=f"index_type {index_type}: faiss cannot"):
        build_index(features, tmp_path / "index", index_type=index_type)


def test_no_photos_and_no_descriptors(tmp_path):
    write_features(tmp_path / "none.h5", {})
    with pytest.raises(UserError, match="holds no photos"):
        build_index(tmp_path / "none.h5", tmp_path / "index")
    write_features(tmp_path / "blank.h5", {"a.jpg": (np.zeros((0, 2)), np.zeros((0, DIMENSION)))})
    index = load_index(build_index(tmp_path / "blank.h5", tmp_path / "index"))
    assert len(index) == 1 and index.faiss_index.d == DIMENSION and index.keypoints.shape == (0, 2)


def test_trained_index_is_the_same_for_the_same_seed(tmp_path, features):
    folders = [build_index(features, tmp_path / name, "IVF4,Flat", seed=3) for name in ("one", "two")]
    assert (folders[0] / "index.faiss").read_bytes() == (folders[1] / "index.faiss").read_bytes()
    assert load_index(folders[0]).faiss_index.nprobe == 4  # every list of so few


@pytest.mark.parametrize(
    "count, dimension, expected",
    [(1000, 40, "Flat"), (5_000_000, 40, "IVF8192,Flat"), (700_000_000, 40, "IVF131072,PQ20")],
)
def test_index_type_by_size(count, dimension, expected):
    assert choose_index_type(count, dimension) == expected
    faiss.index_factory(dimension, expected)


@pytest.mark.parametrize("damage", ["index.json", "index.faiss", "keypoints.npy", "image_names.json"])
def test_damaged_index_is_one_sentence(tmp_path, features, damage):
    folder = build_index(features, tmp_path / "index")
    data = (folder / damage).read_bytes()
    (folder / damage).write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"eval/build_index\.py"):
        load_index(folder)


def test_retrieval_finds_the_planted_photo(tmp_path, features, queries):
    build_index(features, tmp_path / "index")
    options = [f"--index={tmp_path}/index", f"--query_features={queries}", f"--output={tmp_path}/ranks.npz"]
    retrieve(options)
    ranking, provenance = load_ranking(tmp_path / "ranks.npz")
    assert ranking.query_names == ["tower_1", "unknown_1", "zz_blank"]
    assert ranking.index_names[ranking.ranks[0, 0]] == "b/tower" and int(ranking.scores[0, 0]) == 40
    assert ranking.ranks[2].tolist() == [0, 1, 2, 3, 4]
    assert provenance["index"]["features"]["checkpoint_sha256"] == "aa"
    made = (tmp_path / "ranks.npz").stat().st_mtime_ns
    retrieve(options)
    assert (tmp_path / "ranks.npz").stat().st_mtime_ns == made
    with pytest.raises(UserError, match="--overwrite"):
        retrieve([*options, "--num_rerank=1"])
    retrieve([*options, "--num_rerank=1", "--overwrite"])
    assert (load_ranking(tmp_path / "ranks.npz")[0].scores[0] >= 0).sum() == 1


def test_a_ranking_of_another_suffix_is_refused_before_the_search(tmp_path, features, queries, monkeypatch):
    build_index(features, tmp_path / "index")
    monkeypatch.setattr("src.retrieval.perform.search", None)
    with pytest.raises(UserError, match=r"ends in \.npz"):
        retrieve([f"--index={tmp_path}/index", f"--query_features={queries}", f"--output={tmp_path}/ranks.txt"])


@pytest.mark.parametrize("attributes", [{"checkpoint_sha256": "bb"}, {"pca": "other"}, {"use_whitening": True}])
def test_queries_of_another_network_are_refused(tmp_path, features, photos, attributes):
    build_index(features, tmp_path / "index")
    write_features(tmp_path / "queries.h5", photos, **attributes)
    with pytest.raises(UserError, match=f"made with {next(iter(attributes))}"):
        retrieve([f"--index={tmp_path}/index", f"--query_features={tmp_path}/queries.h5", f"--output={tmp_path}/r.npz"])


def test_queries_of_another_dimension_are_refused(tmp_path, features):
    build_index(features, tmp_path / "index")
    write_features(tmp_path / "queries.h5", {"q": random_photo(np.random.default_rng(0), 9, 8)})
    with pytest.raises(UserError, match="16 dimensions of the index"):
        retrieve([f"--index={tmp_path}/index", f"--query_features={tmp_path}/queries.h5", f"--output={tmp_path}/r.npz"])


def test_random_baseline(tmp_path, features, queries):
    build_index(features, tmp_path / "index")
    options = [f"--index={tmp_path}/index", f"--query_features={queries}"]
    for name, seed in (("one", 1), ("two", 1), ("other", 2)):
        rank_randomly([*options, f"--output={tmp_path}/{name}.npz", f"--seed={seed}"])
    one, two, other = (load_ranking(tmp_path / f"{name}.npz")[0] for name in ("one", "two", "other"))
    assert (one.ranks == two.ranks).all() and not (one.ranks == other.ranks).all()
    with pytest.raises(UserError, match="--overwrite"):
        rank_randomly([*options, f"--output={tmp_path}/one.npz", "--seed=2"])


def test_the_commands_as_processes(tmp_path, features, queries):
    def run(script, *options):
        command = [sys.executable, str(ROOT / "eval" / script), *options]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    assert run("build_index.py", "--features=features.h5", "--output=index").returncode == 0
    assert run("perform_retrieval.py", "--index=index", "--query_features=queries.h5").returncode == 0
    assert load_ranking(tmp_path / "ranks.npz")[0].ranks.shape == (3, 5)
    failed = run("perform_retrieval.py", "--index=nowhere", "--query_features=queries.h5")
    assert failed.returncode == 2 and failed.stderr.startswith("error: nowhere: no such folder (--index)")
