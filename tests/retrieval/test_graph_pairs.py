"""The known pairs of a graph, kept in the folder of the index: written, read back, made anew, and shared."""

import signal

import numpy as np
import pytest

from src.errors import Interrupted
from src.records import Matches
from src.retrieval.graph_pairs import Neighbours, kept_pairs

MADE_BY = {"index": "ab", "settings": {"seed": 0}}


def matches(rows, num_others=2):
    """Inliers at ``rows`` [n, 2], and some correspondences that are none."""
    rows = np.concatenate([np.reshape(rows, (-1, 2)), np.full((num_others, 2), 7)])
    return Matches(rows, np.zeros(len(rows)), np.arange(len(rows)) < len(rows) - num_others)


def neighbours(**pairs):
    """Of photo numbers p1, p2 ... with (similarity, rows of the inliers)."""
    numbers = {int(name[1:]): pair for name, pair in pairs.items()}
    verified = {9: matches([[1, 1]]), **{number: matches(rows) for number, (_, rows) in numbers.items()}}
    return Neighbours.of(verified, {number: similarity for number, (similarity, _) in numbers.items()})


FIRST = neighbours(p3=(0.1, [[1, 2], [3, 4]]), p1=(0.7, [[70_000, 0]]))
NONE = neighbours()


def require_same(ours, theirs):
    assert sorted(ours) == sorted(theirs)
    for photo in ours:
        for name in ("photos", "similarities", "correspondences", "row_starts", "rows"):
            np.testing.assert_array_equal(getattr(ours[photo], name), getattr(theirs[photo], name))


def test_what_a_neighbour_has():
    assert FIRST.photos.tolist() == [3, 1] and FIRST.similarity(1) == 0.7 and FIRST.similarity(9) == 0
    assert FIRST.inliers(3).indices.tolist() == [[1, 2], [3, 4]] and FIRST.inliers(3).num_inliers == 2
    assert FIRST.num_correspondences(1) == 3 and len(NONE.photos) == 0


def test_round_trip_and_two_writers(tmp_path):
    path = tmp_path / "graph.npz"
    with kept_pairs(path, MADE_BY, 10) as known:
        assert known == {}
        known.update({4: FIRST, 2: NONE})
        with kept_pairs(path, MADE_BY, 10) as other:  # another process, that ends before
            other[7] = neighbours(p2=(0.5, [[0, 0]]))
    with kept_pairs(path, MADE_BY, 10) as known:
        require_same(known, {2: NONE, 4: FIRST, 7: neighbours(p2=(0.5, [[0, 0]]))})
        assert known[7].rows.dtype == np.int32  # rows of the file are as wide as the largest needs
        made = path.stat().st_mtime_ns
    assert path.stat().st_mtime_ns == made and [each.name for each in tmp_path.iterdir()] == ["graph.npz"]


def test_what_was_found_before_a_signal_stays(tmp_path):
    with pytest.raises(Interrupted, match="are kept"), kept_pairs(tmp_path / "graph.npz", MADE_BY, 10) as known:
        known[4] = FIRST
        signal.raise_signal(signal.SIGTERM)
    with kept_pairs(tmp_path / "graph.npz", MADE_BY, 10) as known:
        require_same(known, {4: FIRST})


def damage(path, **changes):
    with np.load(path) as arrays:
        np.savez(path, **{**arrays, **changes})


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-30]), "damaged"),
        (lambda path: path.write_bytes(b"text"), "not a .npz file"),
        (lambda path: damage(path, neighbours=np.array([3, 10])), "photos of other numbers"),
        (lambda path: damage(path, row_starts=np.array([0, 4, 3])), "do not divide"),
        (lambda path: damage(path, similarities=np.zeros(3)), "different lengths"),
    ],
)
def test_a_damaged_file_is_made_anew(tmp_path, caplog, change, said):
    path = tmp_path / "graph.npz"
    with kept_pairs(path, MADE_BY, 10) as known:
        known[4] = FIRST
    change(path)
    with kept_pairs(path, MADE_BY, 10) as known:
        assert known == {} and said in caplog.text and "it is made anew" in caplog.text
        known[2] = FIRST
    with kept_pairs(path, MADE_BY, 10) as known:
        require_same(known, {2: FIRST})


def test_pairs_of_other_settings_are_not_taken(tmp_path):
    with kept_pairs(tmp_path / "graph.npz", MADE_BY, 10) as known:
        known[4] = FIRST
    with kept_pairs(tmp_path / "graph.npz", {**MADE_BY, "index": "cd"}, 10) as known:
        assert known == {}


def test_a_folder_that_takes_no_file_is_told(tmp_path, caplog):
    (tmp_path / "graph.npz").mkdir()
    (tmp_path / "file").write_text("")
    with kept_pairs(tmp_path / "file" / "graph.npz", MADE_BY, 10) as known:
        known[4] = FIRST
    assert "the pairs of the graph are not kept" in caplog.text
