import numpy as np
import pytest

from src.errors import UserError
from src.records import Ranking
from src.retrieval.ranking_file import load_ranking, save_ranking


@pytest.fixture
def ranking():
    return Ranking(["q_1", "é"], ["jpg/a", "b", "c"], [[2, 0, 1], [1, 0, 2]], [[3, 1, 0], [2.5, 2.5, 0]])


def test_round_trip(tmp_path, ranking):
    path = save_ranking(tmp_path / "new" / "ranks.npz", ranking, {"seed": 0, "scales": [0.5, 1], "none": None})
    loaded, provenance = load_ranking(path)
    assert (loaded.query_names, loaded.index_names) == (ranking.query_names, ranking.index_names)
    assert loaded.ranks.dtype == np.int32 and loaded.scores.dtype == np.float32
    np.testing.assert_array_equal(loaded.ranks, ranking.ranks)
    np.testing.assert_array_equal(loaded.scores, ranking.scores)
    assert provenance == {"seed": 0, "scales": [0.5, 1], "none": None}
    assert [file.name for file in path.parent.iterdir()] == ["ranks.npz"]


def test_same_ranking_same_bytes(tmp_path, ranking):
    first = save_ranking(tmp_path / "1.npz", ranking, {"b": 1, "a": 2}).read_bytes()
    assert save_ranking(tmp_path / "2.npz", ranking, {"a": 2, "b": 1}).read_bytes() == first


def test_file_of_another_program_and_no_queries(tmp_path):
    arrays = {"query_names": ["q"], "index_names": ["a", "b"], "ranks": [[1, 0]], "scores": [[1.0, 0.5]]}
    np.savez(tmp_path / "ranks.npz", **arrays)
    loaded, provenance = load_ranking(tmp_path / "ranks.npz")
    assert loaded.query_names == ["q"] and provenance == {}
    empty = Ranking([], ["a"], np.zeros((0, 1)), np.zeros((0, 1)))
    assert load_ranking(save_ranking(tmp_path / "empty.npz", empty, {}))[0].query_names == []


@pytest.mark.parametrize("write", [lambda path: path.write_bytes(b"text"), lambda path: path.write_bytes(b""), None])
def test_not_a_ranking(tmp_path, write):
    path = tmp_path / "ranks.npz"
    if write:
        write(path)
    with pytest.raises(UserError, match=r"ranks\.npz"):
        load_ranking(path)


def test_bad_content(tmp_path, ranking):
    np.savez(tmp_path / "lacking.npz", query_names=["q"], index_names=["a"], ranks=[[0]])
    with pytest.raises(UserError, match="scores"):
        load_ranking(tmp_path / "lacking.npz")
    arrays = {"query_names": ["q"], "index_names": ["a", "b"], "ranks": [[1, 1]], "scores": [[1, 0]]}
    np.savez(tmp_path / "twice.npz", **arrays)
    with pytest.raises(UserError, match="once"):
        load_ranking(tmp_path / "twice.npz")
    arrays["query_names"] = np.array([{"q": 1}], dtype=object)  # would need a pickle
    np.savez(tmp_path / "object.npz", **arrays)
    with pytest.raises(UserError, match="not a ranking"):
        load_ranking(tmp_path / "object.npz")
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(UserError, match="not a ranking"):
        load_ranking(tmp_path / "array.npy")
    with pytest.raises(UserError, match=r"ends in \.npz"):
        save_ranking(tmp_path / "ranks.txt", ranking, {})
    path = save_ranking(tmp_path / "cut.npz", ranking, {})
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match="not a ranking"):
        load_ranking(path)
