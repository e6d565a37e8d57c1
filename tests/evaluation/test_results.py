import dataclasses
import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from metrics_file import parse_metrics, read_metrics_file

from src.errors import UserError
from src.evaluation.evaluate import evaluate
from src.evaluation.ground_truth import GroundTruth, QueryTruth
from src.evaluation.metrics import MeanMetrics
from src.evaluation.results import format_metrics, format_table, results_as_json, save_results
from src.records import Provenance, Ranking

README_BLOCK = """easy
mAP=91.85
mP@k[10 20 30 40 50 60 70 80 90] [91.07 83.47 78.89 74.85 71.79 69.44 67.51 65.84 64.65]
mR@k[10 20 30 40 50 60 70 80 90] [61.07 75.89 83.06 86.52 89.47 91.94 93.47 94.39 95.32]
hard
mAP=70.48
mP@k[10 20 30 40 50 60 70 80 90] [78.18 67.34 60.84 56.26 52.63 49.89 47.63 45.85 44.29]
mR@k[10 20 30 40 50 60 70 80 90] [46.36 59.41 66.55 71.33 74.33 76.97 79.62 81.93 82.98]
medium
mAP=82.09
mP@k[10 20 30 40 50 60 70 80 90] [89.36 84.21 78.45 74.3  70.04 66.04 62.77 59.81 57.25]
mR@k[10 20 30 40 50 60 70 80 90] [40.62 55.01 63.5  69.98 74.58 77.81 80.85 82.99 84.58]
"""
GOLDEN = (  # golden 'save_metrics_file'
    "hard\n  mAP=70.0\n  mP@k[1 5] [100.  80.]\n  mR@k[1 5] [50. 80.]\n"
    "medium\n  mAP=90.0\n  mP@k[1 5] [100. 100.]\n  mR@k[1 5] [ 50. 100.]\n"
)


def test_golden_metrics_file():
    means = {
        "medium": MeanMetrics(0.9, (1, 5), (1.0, 1.0), (0.5, 1.0)),
        "hard": MeanMetrics(0.7, (1, 5), (1.0, 0.8), (0.5, 0.8)),
    }
    assert format_metrics(means) == GOLDEN


def test_two_decimals():
    text = format_metrics({"x": MeanMetrics(1 / 3, (1, 5), (2 / 3, 0.5), (0.001, 0.123456))})
    assert text == "x\n  mAP=33.33\n  mP@k[1 5] [66.67 50.  ]\n  mR@k[1 5] [ 0.1  12.35]\n"


def test_block_of_the_model_zoo_readme():
    means = parse_metrics(README_BLOCK)
    assert list(means) == ["easy", "hard", "medium"]
    assert means["medium"].mean_average_precision == pytest.approx(0.8209)
    assert means["medium"].pr_ranks == tuple(range(10, 100, 10))
    assert means["medium"].mean_precisions[3] == pytest.approx(0.743)
    indented = README_BLOCK.replace("\nm", "\n  m").replace("\n  medium", "\nmedium")
    assert format_metrics(means) == indented
    assert format_metrics(parse_metrics(indented)) == indented


@pytest.mark.parametrize("seed", range(50))
def test_write_read_write(tmp_path, seed):
    random = np.random.default_rng(seed)
    size = int(random.integers(0, 41))  # long enough for NumPy to wrap the arrays
    depths = tuple(random.permutation(1000)[:size].tolist())

    def fractions():  # zeros and ones, and of every size
        return tuple(np.where(random.random(size) < 0.3, random.integers(0, 2, size), random.random(size) ** 9))

    means = {name: MeanMetrics(random.random(), depths, fractions(), fractions()) for name in ("easy", "hard", "x.y")}
    text = format_metrics(means)
    assert len(text.splitlines()) == 12
    (tmp_path / "mAP.txt").write_text(text)
    read = read_metrics_file(tmp_path / "mAP.txt")
    assert format_metrics(read) == text
    np.testing.assert_allclose(read["hard"].mean_recalls, means["hard"].mean_recalls, atol=5.1e-5)


def test_the_seed_readme_itself():
    seeds = Path(__file__).resolve().parents[3] / "shared" / "seeds"
    found = [
        text for text in (path.read_text(errors="replace") for path in sorted(seeds.glob("000_*"))) if "mAP=" in text
    ]
    if not found:
        pytest.skip("the seed README is not here")
    assert README_BLOCK in found[0].replace("\r\n", "\n")


def test_nan_and_no_depths():
    means = {"hard": MeanMetrics(float("nan"), (), (), ())}
    text = format_metrics(means)
    assert text == "hard\n  mAP=nan\n  mP@k[] []\n  mR@k[] []\n"
    assert format_metrics(parse_metrics(text)) == text


def test_table():
    table = format_table({"classic": MeanMetrics(0.5, (1, 10), (1.0, 0.123), (0.25, 1.0))}).splitlines()
    assert [line.split() for line in table] == [
        ["setting", "mAP", "@1", "@10"],
        ["classic", "50.00", "mP", "100.00", "12.30"],
        ["mR", "25.00", "100.00"],
    ]


@pytest.fixture
def judged():
    lists = {"easy": ("a", "b"), "hard": (), "junk": ()}
    truth = GroundTruth("tiny", "revisited", (QueryTruth("q", "q", None, lists),), ("a", "b", "c"))
    return truth, evaluate(truth, Ranking(["q"], ["a", "b", "c"], [[0, 2, 1]], [[3, 2, 1]]), "revisited")


PROVENANCE = Provenance("abc", {"name": "delf"}, {"num_rerank": 100}, {"queries": "q"}, {"threads": 2})


def test_a_folder_is_no_metrics_file(tmp_path, judged, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for output in ("", ".", "..", tmp_path):
        with pytest.raises(UserError, match="is a folder; give `output` the name of a file"):
            save_results(output, *judged, PROVENANCE)
    assert list(tmp_path.iterdir()) == []


def test_results(tmp_path, judged):
    path = save_results(tmp_path / "out" / "mAP.txt", *judged, PROVENANCE)
    assert path == tmp_path / "out" / "results.json"
    results = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    easy = results["metrics"]["easy"]
    assert easy["mAP"] == easy["queries"]["q"]["AP"] == (2 + 1 / 2 + 2 / 3) / 4  # unrounded
    assert easy["k"] == [1] and easy["queries"]["q"]["P@k"] == [1.0] and easy["mR@k"] == [0.5]
    assert results["metrics"]["hard"]["mAP"] is None and results["metrics"]["hard"]["num_queries_with_positives"] == 0
    assert results["protocol"] == "revisited" and Provenance.from_json(results["settings"]) == PROVENANCE
    assert results["checkpoint_sha256"] == "abc" and results["versions"]["numpy"] == np.__version__
    assert list(read_metrics_file(tmp_path / "out" / "mAP.txt")) == ["easy", "hard", "medium"]
    save_results(tmp_path / "none" / "mAP.txt", *judged, Provenance())
    assert json.loads((tmp_path / "none/results.json").read_text())["checkpoint_sha256"] is None


def test_digest_is_that_of_the_content(judged):
    truth, evaluation = judged
    digest = results_as_json(truth, evaluation, PROVENANCE)["ground_truth_digest"]
    renamed = dataclasses.replace(truth, name="of another folder")
    assert results_as_json(renamed, evaluation, PROVENANCE)["ground_truth_digest"] == digest
    other = dataclasses.replace(truth, index_names=("a", "b"))
    assert results_as_json(other, evaluation, PROVENANCE)["ground_truth_digest"] != digest


def test_results_tell_what_is_missing_and_by_landmark():
    names = [f"gone_{number}" for number in range(20)]
    lists = {"good": ("a", *names), "ok": (), "junk": ()}
    truth = GroundTruth("tiny", "text", (QueryTruth("keble_1", "q", None, lists),))
    evaluation = evaluate(truth, Ranking(["keble_1"], ["a", "b"], [[0, 1]], [[1, 0]]), "classic")
    results = results_as_json(truth, evaluation, PROVENANCE)
    assert results["missing_images"] == sorted(names) and results["index_size"] == 2
    assert "positives among them count as not found" in results["notes"][0]
    assert results["mAP_by_landmark"] == {"keble": pytest.approx(1 / 21)}
    assert list(results["metrics"]) == ["classic"]


def test_other_results_are_kept(tmp_path, judged):
    truth, evaluation = judged
    output, results = tmp_path / "mAP.txt", tmp_path / "results.json"
    save_results(output, *judged, PROVENANCE)
    before = output.read_bytes(), results.read_bytes(), results.stat().st_mtime_ns
    save_results(output, *judged, dataclasses.replace(PROVENANCE, notes={"threads": 4}))  # the same: kept
    assert results.stat().st_mtime_ns == before[2]
    other = evaluate(truth, Ranking(["q"], ["a", "b", "c"], [[2, 0, 1]], [[3, 2, 1]]), "revisited")
    with pytest.raises(UserError, match=r"mAP\.txt: made under other settings \(figures\); give `overwrite`"):
        save_results(output, truth, other, PROVENANCE)
    with pytest.raises(UserError, match=r"results\.json.*\(figures\)"):
        save_results(tmp_path / "second.txt", truth, other, PROVENANCE)
    with pytest.raises(UserError, match=r"results\.json.*\(weights, num_rerank\)"):
        save_results(output, *judged, dataclasses.replace(PROVENANCE, weights="abd", settings={"num_rerank": 10}))
    assert (output.read_bytes(), results.read_bytes()) == before[:2] and not (tmp_path / "second.txt").exists()
    save_results(output, truth, other, PROVENANCE, overwrite=True)
    assert output.read_bytes() != before[0] and results.read_bytes() != before[1]


def test_what_is_missing_of_a_pair_is_written_and_other_files_are_kept(tmp_path, judged):
    output, results = tmp_path / "mAP.txt", tmp_path / "results.json"
    save_results(output, *judged, PROVENANCE)
    results.unlink()
    save_results(output, *judged, PROVENANCE)
    output.unlink()
    save_results(output, *judged, PROVENANCE)
    assert output.exists() and results.exists()
    results.write_text('{"settings": {}}')  # of an older version
    with pytest.raises(UserError, match=r"results\.json.*`overwrite`"):
        save_results(output, *judged, PROVENANCE)


@pytest.mark.parametrize("failing", ["results.json", "mAP.txt"])
def test_a_full_disk_leaves_the_old_pair(tmp_path, judged, failing, monkeypatch):
    output, results = tmp_path / "mAP.txt", tmp_path / "results.json"
    save_results(output, *judged, PROVENANCE)
    before = output.read_bytes(), results.read_bytes()
    write = Path.write_bytes

    def fail(path, data):
        if path.name.startswith(f".{Path(failing).stem}") or path.name.startswith(f"..{Path(failing).stem}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", fail)
    truth, _ = judged
    other = evaluate(truth, Ranking(["q"], ["a", "b", "c"], [[2, 0, 1]], [[3, 2, 1]]), "revisited")
    with pytest.raises(OSError, match=f"No space left on device: .*{failing}"):
        save_results(output, truth, other, PROVENANCE, overwrite=True)
    with pytest.raises(OSError, match="No space left"):
        save_results(tmp_path / "new" / "mAP.txt", truth, other, PROVENANCE)
    assert (output.read_bytes(), results.read_bytes()) == before
    assert sorted(os.listdir(tmp_path)) == ["mAP.txt", "new", "results.json"] and not os.listdir(tmp_path / "new")


@pytest.mark.parametrize("content", [b"[" * 10**6, b"\xff\xfe", b'{"settings": 3}', b"[]"])
def test_what_stands_there_may_be_anything(tmp_path, judged, content):
    (tmp_path / "results.json").write_bytes(content)
    with pytest.raises(UserError, match="give `output` another name, such as mAP.txt"):
        save_results(tmp_path / "results.json", *judged, PROVENANCE, overwrite=True)
    with pytest.raises(UserError, match=r"results\.json: made under other settings"):
        save_results(tmp_path / "mAP.txt", *judged, PROVENANCE)
    assert (tmp_path / "results.json").read_bytes() == content and not (tmp_path / "mAP.txt").exists()
    save_results(tmp_path / "mAP.txt", *judged, PROVENANCE, overwrite=True)
    assert json.loads((tmp_path / "results.json").read_text())["protocol"] == "revisited"
