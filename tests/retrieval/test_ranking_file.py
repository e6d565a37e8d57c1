"""The ranking file: what is written is read back, and what is no ranking is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from src.errors import UserError
from src.records import Provenance, Ranking
from src.retrieval.ranking_file import PairMatches, RankedMatches, load_ranked_matches, load_ranking, save_ranking


@pytest.fixture
def ranking():
    return Ranking(["q_1", "é"], ["jpg/a", "b", "c"], [[2, 0, 1], [1, 0, 2]], [[3, 1, 0], [2.5, 2.5, 0]])


@pytest.fixture
def matches():
    """Of the first query: two inliers with photo 2, and photo 0, which had too few correspondences."""
    points = np.array([[1, 2, 3, 4], [5, 6.5, 7, 8]])
    return RankedMatches.from_pairs([(0, 2, PairMatches(points, 5, True)), (0, 0, PairMatches(points[:0], 3, False))])


def test_round_trip(tmp_path, ranking):
    made = Provenance("ab", {"name": "delf"}, {"seed": 0, "scales": (0.5, 1), "none": None}, {"photos": "p"}, {"n": 3})
    path = save_ranking(tmp_path / "new" / "ranks.npz", ranking, made)
    loaded, provenance = load_ranking(path)
    assert (loaded.query_names, loaded.index_names) == (ranking.query_names, ranking.index_names)
    assert loaded.ranks.dtype == np.int32 and loaded.scores.dtype == np.float32
    np.testing.assert_array_equal(loaded.ranks, ranking.ranks)
    np.testing.assert_array_equal(loaded.scores, ranking.scores)
    assert provenance == made and provenance.settings == {"seed": 0, "scales": [0.5, 1], "none": None}
    with np.load(path) as arrays:
        assert sorted(arrays) == ["index_names", "provenance", "query_names", "ranks", "scores"]
    assert load_ranked_matches(path) is None
    assert [file.name for file in path.parent.iterdir()] == ["ranks.npz"]


def test_same_ranking_same_bytes(tmp_path, ranking):
    made = [Provenance(settings=settings) for settings in ({"b": 1, "a": 2}, {"a": 2, "b": 1})]
    first = save_ranking(tmp_path / "1.npz", ranking, made[0]).read_bytes()
    assert save_ranking(tmp_path / "2.npz", ranking, made[1]).read_bytes() == first


def test_the_best_photos_alone(tmp_path, ranking):
    best = Ranking(ranking.query_names, ranking.index_names, ranking.ranks[:, :2], ranking.scores[:, :2])
    path = save_ranking(tmp_path / "ranks.npz", best, Provenance())
    loaded, _ = load_ranking(path)
    assert loaded.ranks.tolist() == [[2, 0], [1, 0]] and loaded.index_names == ranking.index_names
    with np.load(path) as arrays:
        assert int(arrays["num_images"]) == 3
        np.savez(tmp_path / "other.npz", **{**arrays, "num_images": 4})
    with pytest.raises(UserError, match="num_images is 4"):
        load_ranking(tmp_path / "other.npz")


def test_matches_round_trip(tmp_path, ranking, matches):
    path = save_ranking(tmp_path / "ranks.npz", ranking, Provenance(), matches)
    with np.load(path) as arrays:
        kept = {name: arrays[f"match_{name}"] for name in ("queries", "photos", "correspondences", "verified")}
        assert {name: array.tolist() for name, array in kept.items()} == {
            "queries": [0, 0], "photos": [2, 0], "correspondences": [5, 3], "verified": [True, False]}  # fmt: skip
        assert arrays["match_starts"].tolist() == [0, 2, 2] and arrays["match_points"].dtype == np.float32
    loaded = load_ranked_matches(path)
    best, poor = loaded.find(0, 2), loaded.find(np.int64(0), np.int32(0))
    assert best.points.tolist() == [[1, 2, 3, 4], [5, 6.5, 7, 8]] and best.verified and best.correspondences == 5
    assert poor.points.shape == (0, 4) and not poor.verified and poor.correspondences == 3
    assert loaded.find(1, 2) is None and loaded.find(0, 1) is None
    assert load_ranking(path)[0].ranks.tolist() == ranking.ranks.tolist()


def test_through_which_photos_round_trip(tmp_path, ranking, matches):
    """Photo 0 was found through 2, which has three points in common with it; other programs read the rest."""
    pairs = [(0, 2, matches.find(0, 2)), (0, 0, matches.find(0, 0))]
    step = PairMatches(np.arange(12.0).reshape(3, 4), 4, True)
    path = save_ranking(
        tmp_path / "ranks.npz", ranking, Provenance(), RankedMatches.from_pairs(pairs, [-1, 2], [(2, 0, step)])
    )
    with np.load(path) as arrays:
        assert arrays["match_through"].tolist() == [-1, 2] and arrays["match_through"].dtype == np.int32
        assert (arrays["step_queries"].tolist(), arrays["step_photos"].tolist()) == ([2], [0])
        np.savez(tmp_path / "wrong.npz", **{**arrays, "match_through": [-1, 3]})
        np.savez(tmp_path / "short.npz", **{**arrays, "match_through": [-1]})
        np.savez(tmp_path / "less.npz", **{name: array for name, array in arrays.items() if name != "step_points"})
    loaded = load_ranked_matches(path)
    assert loaded.find_through(0, 0) == 2 and loaded.find_through(0, 2) is None and loaded.find_through(1, 0) is None
    assert (
        loaded.steps.find(2, 0).points.tolist() == step.points.tolist() and loaded.steps.find(2, 0).correspondences == 4
    )
    assert loaded.find(0, 2).points.tolist() == matches.find(0, 2).points.tolist()
    for name, said in (("wrong", "which are no photos"), ("short", r"not \[2\]"), ("less", "no step_points in it")):
        with pytest.raises(UserError, match=said):
            load_ranked_matches(tmp_path / f"{name}.npz")


def test_no_matches_are_not_written(tmp_path, ranking):
    none = RankedMatches.from_pairs([])
    assert len(none) == 0 and none.points.shape == (0, 4) and none.find(0, 0) is None
    assert load_ranked_matches(save_ranking(tmp_path / "ranks.npz", ranking, Provenance(), none)) is None


@pytest.mark.parametrize(
    "damage, said",
    [
        ({"match_points": np.zeros((3, 4))}, "starts"),
        ({"match_points": np.zeros((2, 3))}, "points"),
        ({"match_starts": [0, 3, 2]}, "starts"),
        ({"match_photos": [1]}, r"not all \[2\]"),
    ],
)
def test_matches_that_do_not_belong_together(tmp_path, ranking, matches, damage, said):
    path = save_ranking(tmp_path / "ranks.npz", ranking, Provenance(), matches)
    with np.load(path) as arrays:
        np.savez(path, **{**arrays, **damage})
    with pytest.raises(UserError, match=said):
        load_ranked_matches(path)


def test_file_of_another_program_and_no_queries(tmp_path):
    arrays = {"query_names": ["q"], "index_names": ["a", "b"], "ranks": [[1, 0]], "scores": [[1.0, 0.5]]}
    np.savez(tmp_path / "ranks.npz", **arrays)
    loaded, provenance = load_ranking(tmp_path / "ranks.npz")
    assert loaded.query_names == ["q"] and provenance == Provenance()
    assert load_ranked_matches(tmp_path / "ranks.npz") is None
    np.savez(tmp_path / "older.npz", **arrays, provenance=json.dumps({"seed": 0}))
    assert load_ranking(tmp_path / "older.npz")[1] == Provenance()
    empty = Ranking([], ["a"], np.zeros((0, 1)), np.zeros((0, 1)))
    assert load_ranking(save_ranking(tmp_path / "empty.npz", empty, Provenance()))[0].query_names == []


@pytest.mark.parametrize("write", [lambda path: path.write_bytes(b"text"), lambda path: path.write_bytes(b""), None])
def test_not_a_ranking(tmp_path, write):
    path = tmp_path / "ranks.npz"
    if write:
        write(path)
    said = r"not a \.npz file; give a ranking, which holds query_names, " if write else "no such file"
    with pytest.raises(UserError, match=rf"ranks\.npz: {said}"):
        load_ranking(path)


SOUND = {"query_names": ["q"], "index_names": ["a", "b/c"], "ranks": [[1, 0]], "scores": [[1.0, 0.5]]}


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"ranks": [1, 0]}, r"ranks are \(2,\), not \[1, K\]"),
        ({"ranks": [[1, 0]] * 2}, r"ranks are \(2, 2\), not \[1, K\]"),
        ({"ranks": [[1.0, 0.0]]}, "ranks are float64, not whole numbers"),
        ({"ranks": [[True, False]]}, "ranks are bool"),
        ({"ranks": [["a", "b"]]}, "ranks are <U1"),
        ({"ranks": [[2, 0]]}, "ranks hold 0 to 2, the photos are numbered 0 to 1"),
        ({"ranks": [[1, -1]]}, "ranks hold -1 to 1"),
        ({"ranks": [[1, 2**32]]}, "ranks hold 1 to 4294967296"),  # as int32 a sound 0
        ({"ranks": 3}, r"ranks hold 3 to 3"),
        ({"scores": [[0.5, 1]]}, "scores must fall"),
        ({"scores": [[1]]}, r"scores are \(1, 1\), ranks \(1, 2\)"),
        ({"scores": [[np.nan, np.nan]]}, "scores hold a number that is not finite"),
        ({"scores": [[1e300, 0]]}, "scores hold a number that is not finite"),
        ({"scores": [["1", "0"]]}, "scores are <U1, not numbers"),
        ({"scores": [[1j, 0]]}, "scores are complex128"),
        ({"query_names": [1]}, "query_names is int64"),
        ({"query_names": "q"}, r"query_names is <U1 \(\), not a list of texts"),
        ({"query_names": ["../q"]}, r"unusable name '\.\./q'"),
        ({"index_names": ["a", "a"]}, "index names are not unique"),
        ({"index_names": ["a.jpg", "a.png"]}, "a.jpg and a.png, which differ by extension only"),
        ({"index_names": np.zeros(0, "U1"), "ranks": np.zeros((1, 0), int)}, "index_names is empty"),
        ({"index_names": [["a", "b"]]}, "not a list of texts"),
        ({"index_names": ["a", "/etc/passwd"]}, "unusable name '/etc/passwd'"),
        ({"index_names": ["a", ""]}, "unusable name ''"),
        ({"index_names": [b"a", b"\xff"]}, "can't decode"),
        ({"num_images": [2, 2]}, "damaged"),
        ({"num_images": "two"}, "damaged"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_a_foreign_program_gets_wrong_is_one_sentence(tmp_path, wrong, said):
    path = tmp_path / "ranks.npz"
    np.savez(path, **{**SOUND, **wrong})
    with pytest.raises(UserError, match=said) as refused:
        load_ranking(path)
    assert str(refused.value).startswith(f"{path}: ") and str(refused.value).isprintable()


def test_what_a_foreign_program_may_write(tmp_path):
    """Bytes as names, other widths of numbers, compressed; provenance of any kind is passed over."""
    path = tmp_path / "ranks.npz"
    names = {"query_names": [b"q"], "index_names": np.array(["a", "b/\u00e9"]).astype(object).astype("U300")}
    numbers = {"ranks": np.array([[1, 0]], np.uint64), "scores": np.array([[2, 1]], np.int8)}
    np.savez_compressed(path, **names, **numbers, provenance="[" * 100_000)
    ranking, provenance = load_ranking(path)
    assert (ranking.query_names, ranking.index_names) == (["q"], ["a", "b/\u00e9"])
    assert ranking.ranks.tolist() == [[1, 0]] and ranking.ranks.dtype == np.int32 and provenance == Provenance()


def test_the_example_of_the_documentation_is_read(tmp_path, monkeypatch):
    text = (Path(__file__).resolve().parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
    example = next(block for block in text.split("```python\n")[1:] if "ranks.npz" in block).split("```")[0]
    monkeypatch.chdir(tmp_path)
    exec(example, {})
    ranking, _ = load_ranking("ranks.npz")
    assert ranking.ranks.shape == (len(ranking.query_names), len(ranking.index_names))


def test_bad_content(tmp_path, ranking):
    np.savez(tmp_path / "lacking.npz", query_names=["q"], index_names=["a"], ranks=[[0]])
    with pytest.raises(
        UserError, match=r"lacking\.npz: damaged \(no scores in it\); give a ranking, which holds query_names"
    ):
        load_ranking(tmp_path / "lacking.npz")
    arrays = {"query_names": ["q"], "index_names": ["a", "b"], "ranks": [[1, 1]], "scores": [[1, 0]]}
    np.savez(tmp_path / "twice.npz", **arrays)
    with pytest.raises(UserError, match="once"):
        load_ranking(tmp_path / "twice.npz")
    arrays["query_names"] = np.array([{"q": 1}], dtype=object)  # would need a pickle
    np.savez(tmp_path / "object.npz", **arrays)
    with pytest.raises(UserError, match="query_names holds Python objects"):
        load_ranking(tmp_path / "object.npz")
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(UserError, match=r"a single array \(\.npy\), not a \.npz file"):
        load_ranking(tmp_path / "array.npy")
    with pytest.raises(UserError, match=r"ends in \.npz"):
        save_ranking(tmp_path / "ranks.txt", ranking, Provenance())
    path = save_ranking(tmp_path / "cut.npz", ranking, Provenance())
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"cut\.npz: damaged \("):
        load_ranking(path)
