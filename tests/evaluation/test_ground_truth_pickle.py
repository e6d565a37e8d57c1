import pickle
from collections import Counter, OrderedDict, defaultdict, deque
from pathlib import Path, PureWindowsPath

import numpy as np
import pytest

from src import pickle_reader
from src.errors import UserError
from src.evaluation.ground_truth_files import load_ground_truth
from src.pickle_reader import load_plain


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


@pytest.mark.parametrize("protocol", range(6))
def test_containers_of_ones_own(tmp_path, protocol):
    truth = OrderedDict(
        easy={2}, hard=frozenset({0}), junk=np.array([1], dtype=">i2"), bbx=deque([1, 2, 3, np.int8(4)])
    )
    content = defaultdict(list, imlist=[Path("/data/a.jpg"), PureWindowsPath("C:\\data\\b.jpg"), np.str_("c")])
    content.update(qimlist=np.array(["caf\u00e9 1"]), gnd=(Counter(truth) if protocol % 2 else truth,))
    result = load_ground_truth(write_pickle(tmp_path, content, protocol))
    assert result.index_names == ("data/a", "data/b", "c")
    assert result.queries[0].image_name == "caf\u00e9 1" and result.queries[0].box == (1, 2, 3, 4)
    assert result.queries[0].lists == {"easy": ("c",), "hard": ("data/a",), "junk": ("data/b",)}


KINDS = ["?", "<i1", ">i2", "<u4", ">u8", "<f2", ">f4", "<f8", "S3", "<U3", ">U3"]


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_and_scalars_hold_what_numpy_wrote(protocol):
    for kind in KINDS:
        array = np.array([[0, 1, 0], [1, 1, 0]]).astype(kind)
        for written in (array, np.asfortranarray(array), array[:, ::2], array[:0], [array[0, 0]], {"k": array[1, 1]}):
            plain = load_plain(pickle.dumps(written, protocol))
            value = written["k"] if isinstance(written, dict) else written
            expected = np.asarray(value).astype("U3" if kind[0] == "S" else kind)
            assert np.array_equal(plain["k"] if isinstance(written, dict) else plain, expected.reshape(-1)) or (
                isinstance(written, dict) and plain["k"] == expected.item()
            )


def test_texts_of_python_2(tmp_path):
    name = b"caf\xc3\xa9"  # UTF-8 in a text that Python 2 calls bytes
    content = pickle.dumps(revisited(), protocol=2).replace(b"X\x01\x00\x00\x00a", b"U\x05" + name)
    (tmp_path / "gnd_rtest.pkl").write_bytes(content)
    assert load_ground_truth(tmp_path / "gnd_rtest.pkl").index_names == ("caf\u00e9", "b", "c")


ARRAY = "cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
DTYPE = "cnumpy\ndtype\n(S'{}'\nI0\nI1\ntR"
MANY = 10**12
DEEP = b"(" * 200_000 + b"t" * 200_000


def laughs(lines, first):
    """Each line holds the one before ten times."""
    return first + b"".join(b"\x94" + b"h" + bytes([n]) + b"0(" + (b"h" + bytes([n])) * 10 + b"t" for n in range(lines))


@pytest.mark.parametrize(
    "program, fact",
    [
        (f"{DTYPE}(I3\nS'|'\nNNNI-1\nI-1\nI0\ntb.".format("O8").encode(), "an array of kind 'O8'"),
        (f"cnumpy.core.multiarray\nscalar\n({DTYPE}S'AAAAAAAA'\ntR.".format("O8").encode(), "an array of kind 'O8'"),
        (f"cnumpy._core.multiarray\nscalar\n({DTYPE}S'AAAAAAAA'\ntR.".format("M8").encode(), "an array of kind 'M8'"),
        (
            DTYPE.format("i8").encode() + b"(I3\nS'|'\n(" + DTYPE.format("i8").encode() + b"I2\ntNNI8\nI8\nI0\ntb.",
            "records",
        ),
        (ARRAY.encode() + b"(I1\n(I1\nt" + DTYPE.format("i8").encode() + b"I0\n(lS'a'\natb.", "an array of objects"),
        (ARRAY.encode() + b"(I1\n(I2\nt" + DTYPE.format("i8").encode() + b"I0\nS'AAAAAAAA'\ntb.", "damaged"),
        (ARRAY.encode() + b"(I1\n(L99999999999999L\nt" + DTYPE.format("u1").encode() + b"I0\nS'A'\ntb.", "damaged"),
        (ARRAY.encode() + b".", "plain data do not need"),  # never filled
        (b"cnumpy.core.multiarray\n_reconstruct\n(dS'__call__'\nI1\nsb.", "plain data do not need"),
        (b"cbuiltins\nbytes\n(I%d\ntR." % MANY, "plain data do not need"),
        (b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval"),
        (b"cos\nsystem\n(S'true'\ntR.", "os.system"),
        (b"(S'true'\nios\nsystem\n.", "the instruction INST"),
        (b"\x80\x02cbuiltins\nlist\n)\x81.", "the instruction NEWOBJ"),
        (b"Pname\n.", "the instruction PERSID"),
        (b"\x80\x04B\xff\xff\xff\x7fx.", "damaged"),
        (b"\x80\x04\x8e" + MANY.to_bytes(8, "little") + b"x.", "damaged"),
        (b"\x80\x05\x96" + MANY.to_bytes(8, "little") + b"x.", "damaged"),
        (b"\x80\x04\x95" + MANY.to_bytes(8, "little") + b"N.", "damaged"),
        (b"]r\xff\xff\xff\x7f.", "damaged"),  # a memo of 16 GB, were it an array
        (b"\x8b\xff\xff\xff\x7f\x01.", "damaged"),
        (b"(" + DEEP + b"Nd.", "plain data do not need"),  # a key whose hash goes to its depths
        (b"\x80\x04\x8f(" + DEEP + b"\x90.", "plain data do not need"),
        (DEEP + b".", "nested too deep"),
        (b"]\x94h\x00a.", "nested too deep"),
        (b"\x80\x04" + laughs(12, b")") + b".", "far more of its values than it holds"),
        (b"\x80\x04" + laughs(7, b"X\x10\x27\x00\x00" + b"a" * 10_000) + b".", "far more of its values than it holds"),
        (b"]a.", "damaged"),
        (b".", "damaged"),
        (b"t.", "damaged"),
    ],
)
def test_programs_that_break_the_pickle_module(tmp_path, program, fact, monkeypatch):
    monkeypatch.setattr(pickle_reader, "_ALWAYS_ALLOWED", 10_000)
    (tmp_path / "gnd.pkl").write_bytes(program)
    with pytest.raises(UserError, match=f"gnd.pkl: not a ground truth: .*{fact}.*give a dict of imlist, qimlist, gnd$"):
        load_ground_truth(tmp_path / "gnd.pkl")


def test_copies_are_counted(tmp_path):
    text = b"X" + (10**6).to_bytes(4, "little") + b"a" * 10**6
    program = text + b"\x94c_codecs\nencode\n\x94" + b"0" + b"h\x01h\x00\x85R" * 100 + b"."
    (tmp_path / "gnd.pkl").write_bytes(program)
    with pytest.raises(UserError, match="far more of its values than it holds"):
        load_ground_truth(tmp_path / "gnd.pkl")


class Harmful:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (open, (str(self.target), "w"))


def test_pickle_cannot_run_code(tmp_path):
    file = write_pickle(tmp_path, [Harmful(tmp_path / "harm")])
    with pytest.raises(UserError, match="open, which plain data do not need"):
        load_ground_truth(file)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    "content, message",
    [
        ([1, 2], "not a ground truth: damaged, or of another form; give a dict of imlist, qimlist, gnd$"),
        ({"imlist": []}, "not a ground truth: no qimlist in it; give"),
        ({"imlist": ["a"], "qimlist": ["q", "r"], "gnd": [{}]}, "names 2 queries but gnd describes 1"),
        ({"imlist": ["a"], "qimlist": ["q"], "gnd": [{"easy": [0], "junk": []}]}, "q has no list 'hard'"),
        ({"imlist": ["a"], "qimlist": ["q"], "gnd": [{"ok": [0]}]}, "q has no list 'junk'"),
        ({"imlist": ["a"], "qimlist": ["q"], "gnd": [{"junk": [0]}]}, "no list 'easy', 'hard' or 'ok'"),
        ({"imlist": ["a"], "qimlist": ["q"], "gnd": [{"bbx": [1, 2, 3, 4]}]}, "no list 'easy', 'hard' or 'ok'"),
        (revisited(easy=[0.5]), "easy holds numbers that are not whole"),
        (revisited(easy=[True, False, False]), "easy holds true and false; give the places in imlist"),
        (revisited(hard=np.array([True, False, False])), "hard holds true and false"),
        ({**revisited(), "gnd": [{"easy": [0], "hard": [1]}]}, "query q has no list 'junk'; add it"),
        (revisited(easy=[3]), "easy goes past the 3 names"),
        (revisited(junk=[-1]), "junk goes past"),
        (revisited(bbx=[1, 2, 3]), "box holds 3 numbers"),
        (revisited(bbx=[1, 2, 3, float("inf")]), "query q: box .* is empty"),
        (revisited(bbx=[3, 2, 3, 4]), "query q: box .* is empty"),
        (revisited(easy=["one"]), "easy holds something that is no number"),
        (revisited(easy=[[0], [1, 2]]), "easy holds something that is no number"),
        (revisited(easy=[10**400]), "easy holds something that is no number"),
        ({**revisited(), "imlist": {"a", "b"}}, "imlist is a set, whose places count nothing; give a list"),
        ({**revisited(), "qimlist": ["a/q", "a/q.jpg"], "gnd": [{}, {}]}, "qimlist names a/q twice"),
        ({**revisited(), "gnd": {"q": {}}}, "gnd is a dict"),
        ({**revisited(), "gnd": ["q"]}, "gnd must be a list of dictionaries"),
        ({**revisited(), "imlist": ["a", "b", "c" * 10**5]}, "imlist: a photo's name of 100000 characters"),
        ({**revisited(), "imlist": [1, 2, 3]}, "imlist: a photo's name is int"),
        ({**revisited(), "qimlist": ["../../q"]}, r"qimlist: unusable name '\.\./\.\./q'"),
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
    for text in (b"hello world", b"h\x05."):  # recall a value that nobody stored
        file.write_bytes(text)
        with pytest.raises(UserError, match="not a ground truth: damaged, or of another form; give a dict of imlist"):
            load_ground_truth(file)
