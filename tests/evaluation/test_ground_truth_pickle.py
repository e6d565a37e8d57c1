import pickle

import numpy as np
import pytest

from src.errors import UserError
from src.evaluation.ground_truth_files import load_ground_truth


def revisited(easy=(0,), hard=(1,), junk=(), **more):
    truth = {"easy": easy, "hard": hard, "junk": junk, "bbx": [1, 2, 3, 4], **more}
    return {"imlist": ["a", "b", "c"], "qimlist": ["q"], "gnd": [truth]}


def write_pickle(folder, content, protocol=2):
    file = folder / "gnd_rtest.pkl"
    file.write_bytes(pickle.dumps(content, protocol=protocol))
    return file


def test_classic_pickle(tmp_path):
    content = {"imlist": ["a", "b", "c"], "qimlist": ["a"], "gnd": [{"ok": [0, 2], "junk": [1], "bbx": [1, 2, 3, 4]}]}
    truth = load_ground_truth(write_pickle(tmp_path, content))
    assert truth.kind == "classic" and truth.index_names == ("a", "b", "c")
    assert truth.queries[0].lists == {"ok": ("a", "c"), "junk": ("b",)}


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_pickle_with_arrays(tmp_path, protocol):
    content = revisited(np.array([2, 0]), [np.int64(1)], np.array([]), bbx=np.array([[1.5, 2, 3, 4]]))
    (query,) = load_ground_truth(write_pickle(tmp_path, content, protocol)).queries
    assert query.lists == {"easy": ("c", "a"), "hard": ("b",), "junk": ()} and query.box == (1.5, 2, 3, 4)


def test_pickle_of_numpy_2(tmp_path):
    file = write_pickle(tmp_path, revisited(np.array([2])), 3)
    data = file.read_bytes()
    old, new = b"cnumpy.core.multiarray\n", b"cnumpy._core.multiarray\n"
    assert old in data or new in data
    for renamed in (data.replace(old, new), data.replace(new, old)):
        file.write_bytes(renamed)
        assert load_ground_truth(file).queries[0].lists["easy"] == ("c",)


class Harmful:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (open, (str(self.target), "w"))


def test_pickle_cannot_run_code(tmp_path):
    file = write_pickle(tmp_path, [Harmful(tmp_path / "harm")])
    with pytest.raises(UserError, match="open, which no ground truth needs"):
        load_ground_truth(file)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    "content, message",
    [
        ([1, 2], "not a ground truth: damaged, or of another form; give a dict of imlist, qimlist, gnd$"),
        ({"imlist": []}, "not a ground truth: no qimlist in it; give"),
        ({"imlist": ["a"], "qimlist": ["q", "r"], "gnd": [{}]}, "names 2 queries but gnd describes 1"),
        ({"imlist": ["a"], "qimlist": ["q"], "gnd": [{"easy": [0], "junk": []}]}, "q has no 'hard' list"),
        ({"imlist": ["a"], "qimlist": ["q"], "gnd": [{"ok": [0]}]}, "q has no 'junk' list"),
        ({"imlist": ["a"], "qimlist": ["q"], "gnd": [{"junk": [0]}]}, "no list 'easy', 'hard' or 'ok'"),
        ({"imlist": ["a"], "qimlist": ["q"], "gnd": [{"bbx": [1, 2, 3, 4]}]}, "no list 'easy', 'hard' or 'ok'"),
        (revisited(easy=[0.5]), "easy holds numbers that are not whole"),
        (revisited(easy=[3]), "easy goes past the 3 names"),
        (revisited(junk=[-1]), "junk goes past"),
        (revisited(bbx=[1, 2, 3]), "box holds 3 numbers"),
    ],
)
def test_malformed_pickle(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        load_ground_truth(write_pickle(tmp_path, content))


def test_truncated_pickle(tmp_path):
    file = write_pickle(tmp_path, revisited())
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(UserError, match="gnd_rtest.pkl: not a ground truth"):
        load_ground_truth(file)
