"""perform_retrieval and rank_randomly on small feature files written by hand in the documented layout."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from handmade_features import DIMENSION, random_photo, write_features, write_global

from src.artifacts import sha256_of
from src.commands.perform_retrieval import main as retrieve
from src.commands.rank_randomly import main as rank_randomly
from src.config import RetrievalConfig
from src.errors import UserError
from src.features.feature_file import FeatureFile
from src.matching.same_place import holds_inliers
from src.retrieval.build import build_index
from src.retrieval.global_search import GlobalSearch
from src.retrieval.index_search import SearchOfLocal
from src.retrieval.ranking_file import load_ranked_matches, load_ranking

BOTH = {"name": "delf and global", "pca_dim": 3, "pooling": "gem"}  # the encoder of a file of both kinds
ROOT = Path(__file__).resolve().parents[2]


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
    assert sorted(ranking.ranks[2]) == [0, 1, 2, 3, 4]
    assert provenance.weights == "aa" and provenance.sources["query_features"] == sha256_of(queries)
    assert provenance.sources["index"]["sources"] == {"features": [sha256_of(features)]}
    made = (tmp_path / "ranks.npz").stat().st_mtime_ns
    retrieve(options)
    assert (tmp_path / "ranks.npz").stat().st_mtime_ns == made
    with pytest.raises(UserError, match=r"other settings \(num_rerank\); give `overwrite`"):
        retrieve([*options, "--num_rerank=1"])
    retrieve([*options, "--num_rerank=1", "--overwrite"])
    assert (load_ranking(tmp_path / "ranks.npz")[0].scores[0] >= 0).sum() == 1


def test_a_ranking_of_another_suffix_is_refused_before_the_search(tmp_path, features, queries, monkeypatch):
    build_index(features, tmp_path / "index")
    monkeypatch.setattr("src.retrieval.search.open_index_search", None)
    with pytest.raises(UserError, match=r"ends in \.npz"):
        retrieve([f"--index={tmp_path}/index", f"--query_features={queries}", f"--output={tmp_path}/ranks.txt"])


def test_the_matches_of_the_best_photos_are_kept(tmp_path, features, queries, photos):
    """The tower's matches are its own points and the query's, which were turned; photos past the best have none."""
    build_index(features, tmp_path / "index")
    options = [f"--index={tmp_path}/index", f"--query_features={queries}", f"--output={tmp_path}/ranks.npz"]
    retrieve([*options, "--keep_matches=2"])
    ranking, _ = load_ranking(tmp_path / "ranks.npz")
    matches = load_ranked_matches(tmp_path / "ranks.npz")
    assert sorted(zip(matches.queries, matches.photos)) == sorted(
        (row, photo) for row in range(3) for photo in ranking.ranks[row, :2]
    )
    tower = matches.find(0, ranking.ranks[0, 0])
    assert tower.verified and tower.correspondences == 40
    theirs, own = tower.points[:, :2], tower.points[:, 2:]
    np.testing.assert_allclose(theirs, own @ [[0.9, 0.3], [-0.3, 0.9]] + [50, 20], atol=1e-3)
    assert {tuple(point) for point in own} == {tuple(point) for point in np.float32(photos["b/tower.jpg"][0])}
    blank = matches.find(2, 0)
    assert blank.correspondences == 0 and not blank.verified and not len(blank.points)
    retrieve([*options, "--keep_matches=0", "--overwrite"])
    assert load_ranked_matches(tmp_path / "ranks.npz") is None
    assert load_ranking(tmp_path / "ranks.npz")[0].scores.tobytes() == ranking.scores.tobytes()


@pytest.mark.parametrize(
    "parts, name",
    [
        ({"weights": "bb"}, "weights"),
        ({"encoder": {"pca": "other"}}, "pca"),
        ({"encoder": {"use_whitening": True, "precision": "bfloat16"}}, "precision, use_whitening"),
    ],
)
def test_queries_of_another_network_are_refused(tmp_path, features, photos, parts, name):
    build_index(features, tmp_path / "index")
    write_features(tmp_path / "queries.h5", photos, **parts)
    with pytest.raises(UserError, match=rf"made otherwise than the index \({name}\)"):
        retrieve([f"--index={tmp_path}/index", f"--query_features={tmp_path}/queries.h5", f"--output={tmp_path}/r.npz"])


def test_queries_of_other_limits_and_another_engine_are_searched(tmp_path, features, photos):
    """What a descriptor means is the same; engines agree at float32."""
    build_index(features, tmp_path / "index")
    other = {"settings": {"max_feature_num": 9}, "sources": {"protocol": "classic"}, "notes": {"engine": "openvino"}}
    write_features(tmp_path / "queries.h5", photos, **other)
    retrieve([f"--index={tmp_path}/index", f"--query_features={tmp_path}/queries.h5", f"--output={tmp_path}/r.npz"])
    assert (load_ranking(tmp_path / "r.npz")[0].ranks.shape) == (5, 5)


@pytest.mark.parametrize("option", ["--mutual_check", "--match_ratio=0.8", "--batch_size=3", "--match_distance=0.7"])
def test_an_option_that_would_do_nothing_is_refused(tmp_path, features, queries, option):
    build_index(features, tmp_path / "index")
    options = [f"--index={tmp_path}/index", f"--query_features={queries}", f"--output={tmp_path}/ranks.npz"]
    with pytest.raises(UserError, match=f"{option.split('=')[0]} has no effect"):
        retrieve([*options, option])
    assert not (tmp_path / "ranks.npz").exists()


def test_tests_of_exact_correspondences_in_a_recipe_are_left_aside(tmp_path, features, queries):
    build_index(features, tmp_path / "index")
    (tmp_path / "recipe.yaml").write_text("mutual_check: true\nmatch_ratio: 0.8\n")
    options = [f"--index={tmp_path}/index", f"--query_features={queries}", f"--config={tmp_path}/recipe.yaml"]
    retrieve([*options, f"--output={tmp_path}/index.npz"])
    retrieve([*options, f"--output={tmp_path}/exact.npz", "--correspondences=exact", "--mutual_check"])
    of_index, exact = (load_ranking(tmp_path / f"{name}.npz")[1].settings for name in ("index", "exact"))
    assert "mutual_check" not in of_index and exact["mutual_check"] and exact["match_ratio"] == 0.8


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


@pytest.mark.parametrize(
    "blank, said",
    [("photos", "index: its photos have no features"), ("queries", r"queries\.h5: no query has a feature")],
)
def test_features_that_are_missing_everywhere_are_an_error(tmp_path, photos, blank, said):
    """Chance would rank the photos, and nothing would show it."""
    nothing = (np.zeros((0, 2)), np.zeros((0, DIMENSION)))
    for name in ("photos", "queries"):
        write_features(tmp_path / f"{name}.h5", dict.fromkeys(photos, nothing) if name == blank else photos)
    build_index(tmp_path / "photos.h5", tmp_path / "index")
    with pytest.raises(UserError, match=f"{said}.*extract again"):
        retrieve([f"--index={tmp_path}/index", f"--query_features={tmp_path}/queries.h5", f"--output={tmp_path}/r.npz"])
    assert not (tmp_path / "r.npz").exists()


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
    with pytest.raises(UserError, match=r"other settings \(seed\)"):
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


@pytest.fixture
def chain(tmp_path):
    """Photos a and b share 30 points, b and c 30 others; the query shows a. Points lie where they lay, moved."""
    generator = np.random.default_rng(3)
    first, second, others = (random_photo(generator, 30) for _ in range(3))
    joined = tuple(np.concatenate(parts) for parts in zip(first, second))
    photos = {"a.jpg": first, "b.jpg": joined, "c.jpg": (second[0] + 7, second[1]), "d.jpg": others}
    write_features(tmp_path / "features.h5", photos)
    write_features(tmp_path / "queries.h5", {"q": (first[0] * 0.9, first[1]), "zz_blank": (first[0][:0], first[1][:0])})
    return tmp_path


@pytest.mark.parametrize("searcher", ["votes", "asmk_star"])
def test_a_photo_that_shares_nothing_with_the_query_is_found_through_another_one(chain, searcher):
    config = RetrievalConfig(codebook_size=8 if searcher != "votes" else 0)
    build_index(chain / "features.h5", chain / "index", searcher=searcher, retrieval=config)
    options = [f"--index={chain}/index", f"--query_features={chain}/queries.h5"]
    retrieve([*options, f"--output={chain}/plain.npz"])
    retrieve([*options, "--rerank=ransac,graph", f"--output={chain}/graph.npz"])
    plain, graph = (load_ranking(chain / f"{name}.npz") for name in ("plain", "graph"))
    assert [graph[0].index_names[photo] for photo in graph[0].ranks[0, :3]] == ["a", "b", "c"]
    assert graph[0].scores[0, 2] > graph[0].scores[0, 3] and plain[0].scores[0, 2] < 5  # inliers by chance
    assert graph[1].settings["rerank"] == "ransac,graph" and graph[1].settings["graph_k"] == 9
    assert not holds_inliers(graph[1].settings)
    matches = load_ranked_matches(chain / "graph.npz")
    assert (
        matches.find(0, 0).verified and len(matches.find(0, 0).points) == 30
    )  # of the query and a, whatever the order
    assert [matches.find_through(0, photo) for photo in range(4)] == [None, None, 1, None]
    step = matches.steps.find(1, 2)  # points of b, where c has them moved by 7
    np.testing.assert_allclose(step.points[:, 2:], step.points[:, :2] + 7, atol=1e-3)
    assert len(step.points) == 30


@pytest.mark.parametrize("kind", ["votes", "global"])
def test_the_pairs_of_the_graph_are_found_once(chain, kind, monkeypatch):
    """The second run searches the queries alone, and its ranking is the same byte for byte."""
    local = {name: (photo.keypoints, photo.descriptors) for name, photo in read_all(chain / "features.h5")}
    vectors = {name: np.eye(4)[number] for number, name in enumerate(local)}
    write_global(chain / "both.h5", vectors, local)
    build_index(chain / "both.h5", chain / "index", searcher=kind)
    asked, first = [], chain / "index" / "graph.npz"
    for each in (GlobalSearch, SearchOfLocal):
        rank = each.rank
        monkeypatch.setattr(each, "rank", lambda self, query, rank=rank: (asked.append(query), rank(self, query))[1])
    options = [f"--index={chain}/index", f"--query_features={chain}/both.h5", "--rerank=ransac,graph"]
    rankings = []
    for name in ("first", "second"):
        retrieve([*options, f"--output={chain}/{name}.npz"])
        rankings.append((chain / f"{name}.npz").read_bytes())
        assert len(asked) == (8 if name == "first" else 4)  # the index photos' searches and the queries'
        asked.clear()
    assert rankings[0] == rankings[1] and first.is_file()
    retrieve([*options, f"--output={chain}/other.npz", "--num_rerank=3"])
    assert len(asked) == 8  # made under other settings
    first.unlink()
    retrieve([*options, f"--output={chain}/anew.npz"])
    assert (chain / "anew.npz").read_bytes() == rankings[0] and first.is_file()
    (chain / "index" / ".graph.1-0.tmp.npz").touch()  # of a killed run; neither is a stranger there
    build_index(chain / "both.h5", chain / "index", searcher=kind, seed=1, overwrite=True)
    assert not first.exists()


def read_all(path):
    with FeatureFile(path) as file:
        return list(file)


def test_a_graph_over_votes_counts_global_descriptors_where_both_have_them(chain, caplog):
    """d has as good as the vector of a and of the query: it comes before b, which a matches."""
    (query,) = [photo for name, photo in read_all(chain / "queries.h5") if name == "q"]
    local = {name: (photo.keypoints, photo.descriptors) for name, photo in read_all(chain / "features.h5")}
    angles = {"a.jpg": 5, "b.jpg": 89, "c.jpg": 90, "d.jpg": 1}
    vectors = {name: [np.cos(np.radians(angle)), np.sin(np.radians(angle))] for name, angle in angles.items()}
    write_global(chain / "both.h5", vectors, local, encoder=BOTH)
    build_index(chain / "both.h5", chain / "index")
    asked = {"q": (query.keypoints, query.descriptors)}
    write_global(chain / "q.h5", {"q": [1.0, 0.0]}, asked, encoder=BOTH)
    write_global(chain / "other.h5", {"q": [1.0, 0.0]}, asked, encoder={**BOTH, "pooling": "mac"})
    write_features(chain / "local.h5", asked, encoder={"name": "delf", "pca_dim": 3})
    options = [f"--index={chain}/index", "--rerank=ransac,graph"]
    orders = {}
    for name in ("q", "other", "local"):
        retrieve([*options, f"--query_features={chain}/{name}.h5", f"--output={chain}/{name}.npz"])
        ranking, provenance = load_ranking(chain / f"{name}.npz")
        orders[name] = [ranking.index_names[photo] for photo in ranking.ranks[0]]
        assert provenance.settings.get("graph_cosines", False) == (name == "q")
        assert ("made otherwise than those of the index (pooling); the graph does without" in caplog.text) == (
            name == "other"
        )
        caplog.clear()
    assert orders["other"] == orders["local"] and orders["local"][:3] == ["a", "b", "c"]
    assert orders["q"][:2] == ["a", "d"]


def test_the_graph_of_global_descriptors_counts_both_kinds(chain):
    angles = {"a.jpg": 5, "b.jpg": 60, "c.jpg": 90, "d.jpg": 10}
    vectors = {name: np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))]) for name, angle in angles.items()}
    with FeatureFile(chain / "features.h5") as old, FeatureFile(chain / "queries.h5") as asked:
        local = {name: (photo.keypoints, photo.descriptors) for name, photo in old}
        query = asked.read("q")
    write_global(chain / "both.h5", vectors, local)
    write_global(chain / "q.h5", {"q": np.array([1.0, 0.0])}, {"q": (query.keypoints, query.descriptors)})
    build_index(chain / "both.h5", chain / "index", searcher="global")
    options = [f"--index={chain}/index", f"--query_features={chain}/q.h5", f"--output={chain}/ranks.npz"]
    retrieve([*options, "--rerank=ransac,graph"])
    ranking, _ = load_ranking(chain / "ranks.npz")
    order = [ranking.index_names[photo] for photo in ranking.ranks[0]]
    assert order[0] == "a" and order.index("d") < order.index("c")  # d looks alike, c is two steps away


def test_what_the_graph_needs_is_said(chain):
    build_index(chain / "features.h5", chain / "index")
    options = [f"--index={chain}/index", f"--query_features={chain}/queries.h5", f"--output={chain}/ranks.npz"]
    for rerank, said in (
        ("graph", "ranks what ransac has verified; give ransac,graph"),
        ("graph,ransac", "ranks what ransac has verified"),
        ("ransac,graph,graph", "graph stands there twice"),
        ("ransac,fusion", "fusion is for an index of global descriptors; this one takes ransac, then graph, or none"),
        ("ransac,aqe", "aqe is for an index of global descriptors; this one takes ransac, then graph, or none"),
    ):
        with pytest.raises(UserError, match=said):
            retrieve([*options, f"--rerank={rerank}"])
    with pytest.raises(UserError, match="graph_k has no effect"):
        retrieve([*options, "--graph_k=3"])
    (chain / "features.h5").unlink()
    with pytest.raises(UserError, match="features.h5"):
        retrieve([*options, "--rerank=ransac,graph"])
    assert not (chain / "ranks.npz").exists()
