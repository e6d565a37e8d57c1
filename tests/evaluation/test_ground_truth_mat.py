import pickle
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from src.errors import UserError
from src.evaluation import truth_mat
from src.evaluation.ground_truth_files import load_ground_truth

INDEX, QUERIES = ["a_1", "a_2", "b_1", "b_2"], ["q_1", "q_2"]
GND = [
    {"bbx": [1.5, 2.0, 30.25, 40.0], "easy": [0, 3], "hard": [1], "junk": [2]},
    {"bbx": [0.0, 0.0, 9.0, 9.0], "easy": [2], "hard": [], "junk": []},
]


def cells(names):
    """A 1 x N cell array of texts, as MATLAB writes it."""
    array = np.empty((1, len(names)), dtype=object)
    array[0] = names
    return array


def structs(truths, fields):
    """A 1 x Q struct array; lists become 1 x n double rows that count from 1, boxes 1 x 4."""
    array = np.empty((1, len(truths)), dtype=[(field, object) for field in fields])
    for number, truth in enumerate(truths):
        for field in fields:
            shift = 0 if field == "bbx" else 1
            array[0, number][field] = np.array([truth[field]], dtype=np.float64) + shift
    return array


def write_mat(path, gnd, **variables):
    savemat(path, {"imlist": cells(INDEX), "qimlist": cells(QUERIES), "gnd": gnd, **variables})
    return path


@pytest.mark.parametrize("column", [False, True])
def test_twin_of_the_pickle(tmp_path, column):
    fields = ("bbx", "easy", "hard", "junk")
    gnd = structs(GND, fields)
    more = {"imlist": cells(INDEX).T, "qimlist": cells(QUERIES).T} if column else {}
    mat = load_ground_truth(write_mat(tmp_path / "gnd_rtest.mat", gnd.T if column else gnd, **more))
    twin = tmp_path / "gnd_rtest.pkl"
    twin.write_bytes(pickle.dumps({"imlist": INDEX, "qimlist": QUERIES, "gnd": GND}))
    assert mat == load_ground_truth(twin)
    assert mat.kind == "revisited" and mat.queries[0].lists["easy"] == ("a_1", "b_2")


def test_cell_array_of_structs(tmp_path):
    gnd = np.empty((1, 2), dtype=object)
    gnd[0, 0] = {"bbx": [[1.0, 2, 3, 4]], "easy": [[1.0, 4]], "hard": [[2.0]], "junk": [[3.0]]}
    gnd[0, 1] = {"bbx": [[1.0, 2, 3, 4]], "easy": [[3.0]], "junk": [[1.0]]}  # this one lacks a field
    first, second = load_ground_truth(write_mat(tmp_path / "gnd_rtest.mat", gnd)).queries
    assert first.lists == {"easy": ("a_1", "b_2"), "hard": ("a_2",), "junk": ("b_1",)}
    assert second.lists == {"easy": ("b_1",), "hard": (), "junk": ("a_1",)}


def test_missing_field_is_an_empty_list(tmp_path, caplog):
    path = write_mat(tmp_path / "gnd_rtest.mat", structs(GND, ("bbx", "easy", "hard")))
    assert [query.lists["junk"] for query in load_ground_truth(path).queries] == [(), ()]
    assert "2 queries have no field junk: taken as empty" in caplog.text


def test_classic(tmp_path):
    truths = [{"bbx": [1, 2, 3, 4], "ok": [0], "junk": [1, 2]}, {"bbx": [1, 2, 3, 4], "ok": [3], "junk": []}]
    truth = load_ground_truth(write_mat(tmp_path / "gnd_test.mat", structs(truths, ("ok", "junk", "bbx"))))
    assert truth.kind == "classic" and truth.queries[0].lists == {"ok": ("a_1",), "junk": ("a_2", "b_1")}


@pytest.mark.parametrize("fields", [("ok", "bbx"), ("positives", "box")])
def test_instre_by_the_place_of_its_fields(tmp_path, fields):
    gnd = np.empty((1, 2), dtype=[(field, object) for field in fields])
    gnd[0, 0] = (np.array([[1.0, 3.0]]), np.array([[10.0, 20.0, 30.0, 40.0]]))
    gnd[0, 1] = (np.array([[4.0]]), np.array([[0.0, 0.0, 5.0, 5.0]]))
    truth = load_ground_truth(write_mat(tmp_path / "gnd_instre.mat", gnd))
    assert truth.kind == "instre"
    assert [query.lists for query in truth.queries] == [{"positive": ("a_1", "b_1")}, {"positive": ("b_2",)}]
    assert truth.queries[0].box == (10.0, 20.0, 40.0, 60.0)  # x, y, width, height


def test_numbers_count_from_1(tmp_path):
    for wrong in (-1, 4):  # 0 and 5 as MATLAB counts, of four names
        truths = [{**GND[0], "easy": [wrong]}, GND[1]]
        path = write_mat(tmp_path / "gnd_rtest.mat", structs(truths, ("bbx", "easy", "hard", "junk")))
        with pytest.raises(UserError, match="q_1: easy goes past the 4 names"):
            load_ground_truth(path)


def test_missing_variable(tmp_path):
    savemat(tmp_path / "x.mat", {"imlist": cells(INDEX), "qimlist": cells(QUERIES)})
    with pytest.raises(UserError, match="x.mat: not a ground truth: it has no gnd"):
        load_ground_truth(tmp_path / "x.mat")


def test_not_a_mat_file(tmp_path):
    path = tmp_path / "x.mat"
    good = write_mat(tmp_path / "gnd_rtest.mat", structs(GND, ("bbx", "easy", "hard", "junk"))).read_bytes()
    for content in (b"", b"garbage" * 100, good[: len(good) // 2], good[:200] + bytes(len(good) - 200)):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"x\.mat"):
            load_ground_truth(path)
    savemat(path, {"imlist": 1.0, "qimlist": 2.0, "gnd": 3.0})
    with pytest.raises(UserError, match="x.mat: not a ground truth"):
        load_ground_truth(path)


def test_matlab_7_3(tmp_path):
    path = tmp_path / "gnd_rtest.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["imlist"] = [1, 2, 3]
    header = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    path.write_bytes(header.ljust(512, b"\x00") + path.read_bytes()[512:])
    with pytest.raises(UserError, match=r"gnd_rtest.mat: a MATLAB 7.3 file.*-v7"):
        load_ground_truth(path)


FAULTS = Path(__file__).resolve().parents[3] / "shared" / "faults"


@pytest.mark.skipif(not FAULTS.is_dir(), reason="the files that break things are not here")
def test_a_file_that_crashes_scipy():
    with pytest.raises(
        UserError, match="truth_crash.mat: not a ground truth: damaged, or of another form; give a .mat"
    ):
        load_ground_truth(FAULTS / "truth_crash.mat")


@pytest.mark.parametrize(
    "reader", ["import os; os.kill(os.getpid(), 11)", "while True: pass", "print('{')", "raise MemoryError"]
)
def test_whatever_happens_to_the_reading_process_is_one_sentence(tmp_path, monkeypatch, reader):
    (tmp_path / "reader.py").write_text(reader)
    (tmp_path / "x.mat").write_bytes(b"")
    monkeypatch.setattr(truth_mat, "_READER", tmp_path / "reader.py")
    monkeypatch.setattr(truth_mat, "_PATIENCE", 1)
    with pytest.raises(UserError, match="x.mat: not a ground truth: damaged, or of another form; give a .mat"):
        load_ground_truth(tmp_path / "x.mat")


def test_modules_beside_the_reader_or_in_the_current_folder_are_not_imported(tmp_path, monkeypatch):
    path = write_mat(tmp_path / "gnd_rtest.mat", structs(GND, ("bbx", "easy", "hard", "junk")))
    (tmp_path / "json.py").write_text("raise SystemExit(1)")
    monkeypatch.chdir(tmp_path)
    assert load_ground_truth(path).index_names == tuple(INDEX)
    reader = shutil.copy(truth_mat._READER, tmp_path)
    monkeypatch.setattr(truth_mat, "_READER", reader)
    assert load_ground_truth(path).index_names == tuple(INDEX)


def test_boxes_and_fields_of_no_use(tmp_path):
    odd = [{**truth, "bbx": [5.0, 5.0, 5.0, 9.0]} for truth in GND]
    with pytest.raises(UserError, match="query q_1: box .* is empty"):
        load_ground_truth(write_mat(tmp_path / "x.mat", structs(odd, ("bbx", "easy", "hard", "junk"))))
    with pytest.raises(UserError, match="gnd holds neither the fields easy, hard or ok, junk nor INSTRE's"):
        load_ground_truth(write_mat(tmp_path / "x.mat", structs([{"a": [1], "b": [2]}] * 2, ("a", "b"))))
