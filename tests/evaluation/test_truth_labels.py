"""One's own labelled photos as a ground truth: folders, tables and lists; figures by hand."""

import json

import numpy as np
import pytest
from metrics_file import read_metrics_file

from src.commands.compute_map import main as compute_map
from src.errors import UserError
from src.evaluation.evaluate import evaluate, extra_figures, photos_of_queries
from src.evaluation.ground_truth import labelled_ground_truth, truth_of_labels
from src.evaluation.ground_truth_files import load_ground_truth
from src.evaluation.protocols import choose_protocol, of_index, query_box
from src.evaluation.results import format_extra_figures
from src.records import Provenance, Ranking
from src.retrieval.ranking_file import save_ranking

NAMES = ["a/1", "a/2", "a/3", "b/1", "b/2", "c/1", "loose", "distractors/a/9"]
# best first, as numbers of NAMES; each query is somewhere in its own list
ORDERS = {
    "a/1": [0, 3, 1, 4, 2, 5, 6, 7],  # without a/1: b/1, a/2, b/2, a/3: ranks 1 and 3
    "a/2": [0, 2, 1, 3, 4, 5, 6, 7],  # a/1, a/3: 0 and 1
    "a/3": [7, 5, 6, 3, 4, 2, 1, 0],  # five others, a/2, a/1: 5 and 6
    "b/1": [4, 3, 0, 1, 2, 5, 6, 7],  # b/2: 0
    "b/2": [0, 1, 2, 5, 6, 7, 3, 4],  # six others, b/1: 6
}
# trapezoidal: half of (precision before + precision with it), mean over the positives
PRECISIONS = [
    (0 / 1 + 1 / 2 + 1 / 3 + 2 / 4) / 4,
    1.0,
    (0 / 5 + 1 / 6 + 1 / 6 + 2 / 7) / 4,
    1.0,
    (0 / 6 + 1 / 7) / 2,
]


def make_ranking(queries=ORDERS):
    scores = np.tile(np.linspace(0.9, 0.2, len(NAMES)), (len(queries), 1))
    return Ranking(list(queries), NAMES, list(queries.values()), scores)


def test_by_hand():
    truth = labelled_ground_truth([f"{name}.jpg" for name in NAMES])
    assert [query.name for query in truth.queries] == list(ORDERS)  # c/1 has nothing to find, loose has no class
    assert truth.queries[1].lists == {"positive": ("a/1", "a/3"), "junk": ("a/2",)}
    assert choose_protocol(truth) == "labelled" and query_box(truth.queries[0], "labelled") is None
    evaluation = evaluate(truth, make_ranking(), "labelled")
    metrics = evaluation.metrics["labelled"]
    np.testing.assert_allclose(metrics.average_precisions, PRECISIONS, atol=1e-15)
    assert metrics.pr_ranks == (1, 5)  # eight photos
    assert metrics.precisions[0].tolist() == [0.0, 0.5]  # depth 5 ends at the last positive, rank 3
    extra = extra_figures(truth, evaluation)
    assert extra == {"top-k": {"top-1": 2 / 5, "top-5": 3 / 5}}
    assert [line.split() for line in format_extra_figures(extra).splitlines()] == [
        ["top-1", "40.00"],
        ["top-5", "60.00"],
    ]
    assert "2 photos of the index are none of labelled's: distractors, negative for all" in evaluation.notes


def test_folder_none_and_table_give_the_same_files(tmp_path, capsys):
    for name in NAMES:
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / f"{name}.jpg").write_bytes(b"never read")
    table = tmp_path / "labels.csv"
    table.write_text("path,label\n" + "".join(f"/disk/photos/{name}.jpg,{name[0]}\n" for name in NAMES[:6]))
    ranks = str(save_ranking(tmp_path / "ranks.npz", make_ranking(), Provenance()))
    found = {}
    for name, options in (
        ("folder", ["--gt_path", str(tmp_path / "photos"), "--protocol", "labelled"]),
        ("none", ["--protocol", "labelled"]),
        ("table", ["--gt_path", str(table)]),
    ):
        output = tmp_path / name / "mAP.txt"
        compute_map(["--ranks", ranks, *options, "--output", str(output)])
        results = json.loads((output.parent / "results.json").read_text())
        found[name] = output.read_text(), results["top-k"], results["metrics"]["labelled"]["mAP"]
        assert list(read_metrics_file(output)) == ["labelled"] and results["protocol"] == "labelled"
    assert found["folder"] == found["none"] == found["table"]
    assert found["folder"][2] == pytest.approx(np.mean(PRECISIONS))
    said = capsys.readouterr().out
    assert "photos, protocol labelled: 5 queries, 8 photos" in said and "labels, protocol labelled" in said


def test_photos_that_the_index_lacks_are_left_out(caplog):
    """A damaged photo of a folder has no features: it neither searches nor is sought, and that is told."""
    caplog.set_level("INFO")
    truth = labelled_ground_truth([*NAMES, "b/damaged", "c/damaged"])
    assert len(truth.queries) == 8
    left = of_index(truth, NAMES)
    assert [query.name for query in left.queries] == list(ORDERS)
    whole = labelled_ground_truth(NAMES)
    assert [query.lists for query in left.queries] == [query.lists for query in whole.queries]
    ranking = make_ranking(queries={**ORDERS, "c/1": ORDERS["a/1"]})  # it had features, and has lost its only partner
    evaluation = evaluate(left, ranking, "labelled")
    np.testing.assert_allclose(evaluation.metrics["labelled"].average_precisions, PRECISIONS, atol=1e-15)
    assert evaluation.missing == ("b/damaged", "c/damaged")
    assert "(b/damaged, c/damaged): dropped from the lists" in caplog.text
    with pytest.raises(UserError, match="the index holds 0 of the 8 photos that labelled labels, and no two of one"):
        of_index(truth, ["x/y"])


def test_queries_are_whole_photos_of_the_folder(tmp_path):
    for name in ("a/1.jpg", "a/2.PNG", "b/1.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    photos, protocol = photos_of_queries(tmp_path, "", "labelled")
    assert protocol == "labelled"
    assert [(photo.name, photo.box) for photo in photos] == [("a/1", None), ("a/2", None)]
    assert photos[1].path == str(tmp_path / "a/2.PNG")


@pytest.mark.parametrize(
    "name, text, encoding",
    [
        ("l.csv", "path,label\nx/1.jpg,red\nx/2.jpg,red\ny.jpg,blue\n", "utf-8"),
        ("l.csv", "sep=;\r\nLabel;Path;note\r\nred;x\\1.jpg;\r\nred;x\\2.jpg;n\r\nblue;y.jpg;\r\n", "utf-8-sig"),
        ("l.tsv", "path\tlabel\n\nx/1.jpg\tred\nx/2.jpg\tred\ny.jpg\tblue", "utf-16"),
        ("l.csv", 'path,label\n"x/1.jpg",red\n x/2.jpg , red\nx/2.jpg,red\n./y.jpg,"blue"\n', "utf-8"),
        ("l.txt", "x/1.jpg red\nx/2.jpg\tred\n\n  y.jpg blue \n", "utf-8"),
        ("l.csv", "path,label,query\nx/1.jpg,red,1\nx/2.jpg,red,YES\ny.jpg,blue,1.0\n", "utf-8"),
    ],
)
def test_dialects(tmp_path, name, text, encoding):
    (tmp_path / name).write_text(text, encoding=encoding, newline="")
    truth = load_ground_truth(tmp_path / name)
    assert (truth.name, truth.kind, truth.index_names) == ("l", "labelled", ("x/1", "x/2", "y"))
    assert [query.name for query in truth.queries] == ["x/1", "x/2"]


def test_column_query_chooses(tmp_path):
    (tmp_path / "l.csv").write_text("query,path,label\n,p q/1.jpg,r\nTrue,2.jpg,r\nno,3.jpg,r\n0,4.jpg,s\n")
    truth = load_ground_truth(tmp_path / "l.csv", "labelled")
    assert [query.name for query in truth.queries] == ["2"]
    assert truth.queries[0].lists["positive"] == ("3", "p q/1") and len(truth.index_names) == 4


@pytest.mark.parametrize(
    "name, text, said",
    [
        ("l.csv", "path;class\nx;1\n", "no column 'label'.*`gt_path` needs path,label"),
        ("l.csv", "path,label,query,query\nx,1,1,1\n", "two columns 'query'"),
        ("l.csv", "path,label\n1.jpg,\n", "line 2: a row is one path and one label"),
        ("l.csv", "path,label\n1.jpg,a\n2.jpg,a\n1.png,b\n", "line 4: 1 has the label b and a before; keep one"),
        ("l.csv", "path,label\n1.jpg,a\n2.jpg,a\n", "l.csv: the photos are all of one class"),
        ("l.csv", "path,label\n1.jpg,a\n2.jpg,b\n", "hold no query that shares its label"),
        ("l.csv", "path,label\n", "are of no class"),
        (
            "l.csv",
            "path,label,query\n1.jpg,a,maybe\n",
            "line 2: query is maybe; write 1 for a photo that searches, or 0",
        ),
        ("l.csv", "path,label,query\n1.jpg,a,0\n2.jpg,a,\n", "no row is a query"),
        ("l.csv", "path,label\n../1.jpg,a\n", "line 2: unusable name"),
        ("l.txt", "x/1.jpg red\nx/2.jpg\n", "entry 2: x/2.jpg is no 'path label'"),
        ("l.txt", "red wall.jpg\n", "entry 1: red wall.jpg is no 'path label'"),
        ("l.csv", "path,label\nx.jpg,r\nx/2.jpg,r\ny.jpg,b\n", "include x and others in a folder x/: rename one"),
    ],
)
def test_refusals(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=said):
        load_ground_truth(tmp_path / name)


def test_what_is_no_table(tmp_path):
    (tmp_path / "l.csv").write_bytes(b"path,label\n\xe9.jpg,a\n")
    with pytest.raises(UserError, match="line 2: cannot be read as text; save it as UTF-8"):
        load_ground_truth(tmp_path / "l.csv")
    with pytest.raises(UserError, match="absent.csv: no such"):
        load_ground_truth(tmp_path / "absent.csv", "labelled")
    with pytest.raises(UserError, match="`protocol` labelled for a folder of photos a class"):
        load_ground_truth(tmp_path)
    with pytest.raises(UserError, match="none lies in a folder"):
        labelled_ground_truth(["1.jpg", "2.jpg"])
    truth = truth_of_labels("l", "l", {"1": "a", "2": "a", "3": "b"})
    with pytest.raises(UserError, match="`protocol` classic needs a folder"):
        choose_protocol(truth, "classic")
