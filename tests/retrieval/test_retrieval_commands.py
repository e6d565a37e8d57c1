"""perform_retrieval and rank_randomly on small feature files written by hand in the documented layout."""

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from handmade_features import DIMENSION, random_photo, write_features

from src.errors import UserError
from src.retrieval.build import build_index
from src.retrieval.ranking_file import load_ranking

ROOT = Path(__file__).resolve().parents[2]
retrieve = runpy.run_path(str(ROOT / "eval" / "perform_retrieval.py"))["main"]
rank_randomly = runpy.run_path(str(ROOT / "tools" / "rank_randomly.py"))["main"]


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


@pytest.mark.parametrize(
    "attributes",
    [
        {"checkpoint_sha256": "bb"},
        {"pca": "other"},
        {"use_whitening": True},
        {"precision": "bfloat16"},
        {"use_square_images": True},
    ],
)
def test_queries_of_another_network_are_refused(tmp_path, features, photos, attributes):
    build_index(features, tmp_path / "index")
    write_features(tmp_path / "queries.h5", photos, **attributes)
    with pytest.raises(UserError, match=f"made with {next(iter(attributes))}"):
        retrieve([f"--index={tmp_path}/index", f"--query_features={tmp_path}/queries.h5", f"--output={tmp_path}/r.npz"])


def test_queries_of_another_engine_and_of_an_older_extraction_are_searched(tmp_path, features, photos):
    """Attributes that older files lack stand for their defaults; engines agree at float32."""
    build_index(features, tmp_path / "index")
    plain = {
        "precision": "float32",
        "engine": "openvino",
        "use_square_images": False,
        "use_whitening": False,
        "pca": "",
    }
    write_features(tmp_path / "queries.h5", photos, **plain)
    retrieve([f"--index={tmp_path}/index", f"--query_features={tmp_path}/queries.h5", f"--output={tmp_path}/r.npz"])
    assert (load_ranking(tmp_path / "r.npz")[0].ranks.shape) == (5, 5)


@pytest.mark.parametrize("index_type", ["Flat", "IVF4,PQ4x4"])
@pytest.mark.parametrize("method", ["opencv", "magsac"])
def test_the_ranks_file_is_the_same_byte_for_byte(tmp_path, features, queries, index_type, method):
    build_index(features, tmp_path / "index", index_type)
    options = [f"--index={tmp_path}/index", f"--query_features={queries}", f"--ransac_method={method}"]
    files = []
    for threads in (1, 1, 2, 3):
        retrieve([*options, f"--output={tmp_path}/ranks.npz", f"--search_threads={threads}", "--overwrite"])
        files.append((tmp_path / "ranks.npz").read_bytes())
    assert files[1:] == files[:1] * 3


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
