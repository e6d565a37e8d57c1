"""The commands that judge, run as they are called."""

import json

import numpy as np
import pytest
from metrics_file import read_metrics_file

from src.commands.compare import main as compare
from src.commands.compute_gldv2 import main as compute_gldv2
from src.commands.compute_map import main as compute_map
from src.commands.summarise_results import main as summarise_results
from src.errors import UserError
from src.records import Provenance, Ranking
from src.retrieval.ranking_file import save_ranking


def save(path, queries, index, ranks):
    scores = np.tile(np.arange(len(index), 0, -1), (len(queries), 1))
    return str(save_ranking(path, Ranking(queries, index, ranks, scores), Provenance("abc")))


@pytest.fixture
def oxford(tmp_path):
    """A text folder of two queries, and rankings of a good and a bad search."""
    folder = tmp_path / "gt"
    folder.mkdir()
    for name, good in (("keble_1", "a\nb"), ("balliol_1", "c\ngone")):
        for label, text in (("query", "oxc1_q 1 2 30 40"), ("good", good), ("ok", ""), ("junk", "d")):
            (folder / f"{name}_{label}.txt").write_text(text)
    queries, index = ["balliol_1", "keble_1"], ["jpg/a", "jpg/b", "jpg/c", "jpg/d"]
    good = save(tmp_path / "good.npz", queries, index, [[3, 2, 0, 1], [0, 1, 2, 3]])
    bad = save(tmp_path / "bad.npz", queries, index, [[3, 2, 0, 1], [2, 3, 0, 1]])
    return ["--gt_path", str(folder)], good, bad


def test_compute_map_says_what_it_did(tmp_path, oxford, capsys):
    ground_truth, good, _ = oxford
    compute_map(["--ranks", good, *ground_truth, "--protocol", "classic", "--output", str(tmp_path / "out/mAP.txt")])
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "gt, protocol classic: 2 queries, 4 photos"
    assert [line.split() for line in said[-2:]] == [["balliol", "50.00"], ["keble", "100.00"]]
    assert list(read_metrics_file(tmp_path / "out/mAP.txt")) == ["classic"]
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert results["missing_images"] == ["gone"] and results["metrics"]["classic"]["mAP"] == 0.75


def test_the_default_protocol_of_a_text_folder(tmp_path, oxford, capsys):
    ground_truth, good, _ = oxford
    compute_map(["--ranks", good, *ground_truth, "--output", str(tmp_path / "mAP.txt")])
    assert "gt, protocol modelzoo: 2 queries" in capsys.readouterr().out
    assert list(read_metrics_file(tmp_path / "mAP.txt")) == ["easy", "hard", "medium"]


def test_holidays_and_ukbench_need_no_ground_truth(tmp_path, capsys):
    ranks = save(tmp_path / "h.npz", ["100000"], ["100000", "100001", "distractors/100002"], [[0, 2, 1]])
    compute_map(["--ranks", ranks, "--protocol", "holidays", "--output", str(tmp_path / "h/mAP.txt")])
    assert json.loads((tmp_path / "h/results.json").read_text())["metrics"]["holidays"]["mAP"] == 0.25
    names = [f"ukbench{number:05}" for number in range(4)]
    ranks = save(tmp_path / "u.npz", names, names, [[0, 1, 2, 3]] * 4)
    compute_map(["--ranks", ranks, "--protocol", "ukbench", "--output", str(tmp_path / "u/mAP.txt")])
    assert "N-S score 4.0000" in capsys.readouterr().out
    with pytest.raises(UserError, match="`gt_path` is not set"):
        compute_map(["--ranks", ranks, "--output", str(tmp_path / "n/mAP.txt")])


def test_compare(tmp_path, oxford, capsys):
    ground_truth, good, bad = oxford
    for name, ranks in (("good", good), ("bad", bad)):
        compute_map(
            ["--ranks", ranks, *ground_truth, "--protocol", "classic", "--output", str(tmp_path / name / "mAP.txt")]
        )
    files = [str(tmp_path / name / "results.json") for name in ("bad", "good")]
    capsys.readouterr()
    compare(files)
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    # keble_1 was c, (d is junk), a, b: ranks 1 and 2; balliol_1 is the same in both
    before = (0 + 1 / 2 + 1 / 2 + 2 / 3) / 4
    assert said[2][:4] == ["classic", f"{50 * (before + 0.5):.2f}", "75.00", f"{50 * (1 - before):+.2f}"]
    assert said[2][-3:] == ["1", "0", "1"]
    assert said[3:] == [[f"{100 * before:.2f}", "100.00", f"{100 * (1 - before):+.2f}", "keble_1"]]
    compare([*files, "--json", "--seed", "3"])
    comparison = json.loads(capsys.readouterr().out)
    assert comparison["settings"]["classic"]["difference"] == pytest.approx((1 - before) / 2)
    assert comparison["settings"]["classic"]["interval"] == [0.0, pytest.approx(1 - before)]


def test_compute_gldv2(tmp_path, capsys):
    (tmp_path / "s.csv").write_text("id,images,Usage\na,x,Public\nb,y,Public\n")
    (tmp_path / "p.csv").write_text("id,images\na,z x\n")
    command = ["--task", "retrieval", "--predictions", str(tmp_path / "p.csv"), "--solution", str(tmp_path / "s.csv"),
               "--output", str(tmp_path / "figures.json")]  # fmt: skip
    compute_gldv2(command)
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert said[0] == ["Public"] and ["mAP@100", "0.250000"] in said and ["queries", "2"] in said
    assert json.loads((tmp_path / "figures.json").read_text())["figures"]["Public"]["mAP@100"] == 0.25
    compute_gldv2(command)  # the same again is fine
    with pytest.raises(UserError, match="--overwrite has no effect without --output"):
        compute_gldv2([*command[:-2], "--overwrite"])
    (tmp_path / "p.csv").write_text("id,images\na,x\n")
    with pytest.raises(UserError, match="`overwrite`"):
        compute_gldv2(command)


def test_summarise_results(tmp_path, oxford, capsys):
    ground_truth, good, _ = oxford
    for protocol in ("classic", "modelzoo"):
        output = tmp_path / protocol / "mAP.txt"
        compute_map(["--ranks", good, *ground_truth, "--protocol", protocol, "--output", str(output)])
    capsys.readouterr()
    summarise_results([f"{name}={tmp_path / name}/results.json" for name in ("classic", "modelzoo")])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["mAP,", "%", "classic", "easy", "medium", "hard"]
    assert rows[1] == ["classic", "75.00", "-", "-", "-"]
    assert rows[2][:2] == ["modelzoo", "-"] and rows[2][-1] == "-"  # no query has a positive in the setting hard
    with pytest.raises(UserError, match="write NAME=results.json"):
        summarise_results(["results.json"])
    with pytest.raises(UserError, match="damaged .*give a results.json"):
        summarise_results([f"x={good}"])
