import os
from pathlib import Path

import pytest

from src.errors import UserError
from src.evaluation.evaluate import evaluate
from src.evaluation.ground_truth_files import load_ground_truth
from src.records import Ranking

GENUINE = Path(__file__).resolve().parents[3] / "shared" / "ground_truth"
needs_genuine = pytest.mark.skipif(not GENUINE.is_dir(), reason="the genuine ground truth is not here")
# by global_and_protocols.md 2.1: positives in total, fewest, most; junk
OXFORD, PARIS = ("gt_files_170407", 2840, 6, 221, 1495), ("paris_120310", 8955, 51, 289, 8245)


@needs_genuine
@pytest.mark.parametrize("folder, positives, fewest, most, junk", [OXFORD, PARIS])
def test_genuine_text_folders(folder, positives, fewest, most, junk):
    ground_truth = load_ground_truth(GENUINE / folder)
    assert (ground_truth.name, ground_truth.kind, ground_truth.index_names) == (folder, "text", None)
    assert len(ground_truth.queries) == 55
    found = [set(query.lists["good"]) | set(query.lists["ok"]) for query in ground_truth.queries]
    assert (sum(map(len, found)), min(map(len, found)), max(map(len, found))) == (positives, fewest, most)
    assert sum(len(query.lists["junk"]) for query in ground_truth.queries) == junk
    assert all(query.image_name in names for query, names in zip(ground_truth.queries, found))


@needs_genuine
def test_genuine_oxford_query():
    first = load_ground_truth(GENUINE / "gt_files_170407").queries[0]
    assert (first.name, first.image_name) == ("all_souls_1", "all_souls_000013")
    assert first.box == (136.5, 34.1, 648.5, 955.7)


@needs_genuine
@pytest.mark.parametrize("file, index_size", [("gnd_roxford5k.pkl", 4993), ("gnd_rparis6k.pkl", 6322)])
def test_genuine_pickles(file, index_size):
    ground_truth = load_ground_truth(GENUINE / file)
    assert ground_truth.kind == "revisited" and len(ground_truth.queries) == 70
    assert len(set(ground_truth.index_names)) == index_size
    assert not {query.image_name for query in ground_truth.queries} & set(ground_truth.index_names)
    assert all(query.box is not None for query in ground_truth.queries)


def write_text(folder, name="a_1", query="oxc1_x 1 2 30 40", good="", ok="y\nz\n", junk="w\n"):
    for label, text in (("query", query), ("good", good), ("ok", ok), ("junk", junk)):
        (folder / f"{name}_{label}.txt").write_text(text, encoding="utf-8")


def test_text_folder(tmp_path):
    write_text(tmp_path, good="oxc1_kept.jpg\r\n\r\n")
    (query,) = load_ground_truth(tmp_path).queries
    assert (query.name, query.image_name, query.box) == ("a_1", "x", (1.0, 2.0, 30.0, 40.0))
    assert query.lists == {"good": ("oxc1_kept",), "ok": ("y", "z"), "junk": ("w",)}


@pytest.mark.parametrize(
    "line",
    [
        "", "1 2 3 4", "x 1 2", "x 1 2 3", "x 1 2 3 four", "x 1 2 3 4\ny 1 2 3 4", "x.jpg (1, 2, 30, 40)",
        "x.jpg 1,5 2,5 30 40", "x.jpg, 1, 2, 30", "x," + "," * 100_000 + "y.jpg 1", "x " + "1" * 100_000 + " y.jpg 1",
    ],
)  # fmt: skip
def test_malformed_query_line(tmp_path, line):
    write_text(tmp_path, query=line)
    with pytest.raises(UserError, match=r"a_1_query\.txt.*<image> x1 y1 x2 y2"):
        load_ground_truth(tmp_path)


@pytest.mark.parametrize("line", ["x 5 2 5 40", "x 1 2 nan 4", "x 1 9 5 4"])
def test_empty_box(tmp_path, line):
    write_text(tmp_path, query=line)
    with pytest.raises(UserError, match=r"a_1_query\.txt.*x1 < x2"):
        load_ground_truth(tmp_path)


def test_malformed_list(tmp_path):
    wrong = {b"y\xff\n": "cannot be read as text", b"y\0\n\0": "holds zero", b"../../y\n": "unusable name '../../y'"}
    for content, fact in wrong.items():
        write_text(tmp_path)
        (tmp_path / "a_1_ok.txt").write_bytes(content)
        with pytest.raises(UserError, match=rf"a_1_ok\.txt: {fact}"):
            load_ground_truth(tmp_path)
    (tmp_path / "a_1_ok.txt").unlink()
    with pytest.raises(UserError, match=r"a_1_ok\.txt: no such file"):
        load_ground_truth(tmp_path)


def test_hidden_files_of_macos_are_no_queries(tmp_path):
    write_text(tmp_path)
    (tmp_path / "._a_1_query.txt").write_bytes(b"\x00\x05\x16\x07\xff")
    assert [query.name for query in load_ground_truth(tmp_path).queries] == ["a_1"]
    write_text(tmp_path, name="")
    with pytest.raises(UserError, match="_good.txt: unusable name ''"):
        load_ground_truth(tmp_path)


def test_no_query_is_lost_by_the_name_of_a_file(tmp_path):
    for name in ("a_b", "a"):
        write_text(tmp_path, name=name)
    (tmp_path / "a_b_query.txt").rename(tmp_path / "a_b_Query.TXT")
    assert [query.name for query in load_ground_truth(tmp_path).queries] == ["a_b", "a"]
    (tmp_path / "a_b_Query.TXT").unlink()
    with pytest.raises(UserError, match="lists of a_b, and no a_b_query.txt; add it"):
        load_ground_truth(tmp_path)


def test_pipes_are_not_waited_for(tmp_path):
    write_text(tmp_path)
    (tmp_path / "a_1_ok.txt").unlink()
    for name in ("a_1_ok.txt", "gnd.pkl", "gnd.mat"):
        os.mkfifo(tmp_path / name)
    for path in (tmp_path, tmp_path / "gnd.pkl", tmp_path / "gnd.mat"):
        with pytest.raises(UserError, match="is a pipe or a device"):
            load_ground_truth(path)


def test_more_than_a_ground_truth_holds_is_not_read(tmp_path):
    for name in ("gnd.pkl", "gnd.mat"):
        with open(tmp_path / name, "wb") as stream:
            stream.truncate(2**40)
        with pytest.raises(UserError, match=f"{name}: {2**40} bytes are too many"):
            load_ground_truth(tmp_path / name)


@pytest.mark.parametrize(
    "line, image, box",
    [
        ("oxc1_my photo 2 1 2 30 40", "my photo 2", (1, 2, 30, 40)),
        ("my photo.jpg\t1.5 2 3e1 40\r\n", "my photo", (1.5, 2, 30, 40)),
        ("x", "x", None),
        ("my library 1", "my library 1", None),
        ("2021 05 06 1.JPG", "2021 05 06 1", None),
        ("my photo.jpg 1,2, 30 ,40", "my photo", (1, 2, 30, 40)),
        ("my photo 2; 1;2;30;40", "my photo 2", (1, 2, 30, 40)),
        ('"my photo.jpg" 1 2 30 40', "my photo", (1, 2, 30, 40)),
        ('"my photo.jpg"', "my photo", None),
    ],
)
def test_names_with_spaces_and_queries_without_a_box(tmp_path, line, image, box, caplog):
    caplog.set_level("INFO")
    write_text(tmp_path, name="my query", query=line, good="my photo.jpg\n", ok="sub folder\\b c\n")
    (query,) = load_ground_truth(tmp_path).queries
    assert (query.name, query.image_name, query.box) == ("my query", image, box)
    assert query.lists["good"] == ("my photo",) and query.lists["ok"] == ("sub folder/b c",)
    assert ("1 of 1 queries have no box" in caplog.text) == (box is None)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_texts_of_windows(tmp_path, encoding):
    write_text(tmp_path)
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    for label, text in (("query", "caf\u00e9 1 2 3 4\r\n"), ("ok", "caf\u00e9 1\r\n\r\ncaf\u00e9 2\r\n")):
        (tmp_path / f"a_1_{label}.txt").write_bytes((mark + text).encode(encoding))
    (query,) = load_ground_truth(tmp_path).queries
    assert query.image_name == "caf\u00e9" and query.lists["ok"] == ("caf\u00e9 1", "caf\u00e9 2")


def test_names_in_two_forms_of_unicode_are_one(tmp_path):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    write_text(tmp_path, name=decomposed, query=f"{composed} 1 2 3 4", good=decomposed, ok="", junk="")
    truth = load_ground_truth(tmp_path)
    assert truth.queries[0].name == composed and truth.queries[0].lists["good"] == (composed,)
    ranking = Ranking([decomposed], ["x", decomposed], [[1, 0]], [[2, 1]])
    for protocol, setting in (("modelzoo", "medium"), ("classic", "classic")):
        assert evaluate(truth, ranking, protocol).metrics[setting].average_precisions.tolist() == [1.0]


def test_nothing_there(tmp_path):
    with pytest.raises(UserError, match="`gt_path` is not set"):
        load_ground_truth("")
    with pytest.raises(UserError, match="no such ground truth"):
        load_ground_truth(tmp_path / "none")
    with pytest.raises(UserError, match=r"no \*_query\.txt"):
        load_ground_truth(tmp_path)
    (tmp_path / "gnd.json").write_text("{}")
    with pytest.raises(UserError, match="unknown ground truth"):
        load_ground_truth(tmp_path / "gnd.json")
    with pytest.raises(UserError, match="only `protocol` holidays, ukbench and labelled need none"):
        load_ground_truth("", "classic", ["a"])
