import json
import os

import numpy as np
import pytest

from src.errors import UserError
from src.evaluation.comparison import bootstrap_interval, compare_results


def write(path, precisions, **changes):
    """A results.json of one setting; ``precisions`` are the APs of queries q_0, q_1 ..."""
    known = [value for value in precisions if value is not None]
    setting = {
        "mAP": float(np.mean(known)) if known else None,
        "queries": {f"q_{number}": {"AP": value} for number, value in enumerate(precisions)},
    }
    results = {
        "protocol": "revisited",
        "ground_truth": "gnd",
        "ground_truth_digest": "0123",
        "index_size": 9,
        "metrics": {"medium": setting},
        **changes,
    }
    path.write_text(json.dumps(results))
    return path


def test_by_hand(tmp_path):
    first = write(tmp_path / "a.json", [0.5, 0.5, 0.25, None, 1.0])
    second = write(tmp_path / "b.json", [0.75, 0.25, 1.0, None, 1.0], index_size=20)
    comparison = compare_results(first, second)
    assert (comparison.protocol, comparison.ground_truth, comparison.index_sizes) == ("revisited", "gnd", (9, 20))
    medium = comparison.settings["medium"]
    assert medium.maps == (0.5625, 0.75) and medium.difference == 0.1875
    assert (medium.wins, medium.losses, medium.ties) == (2, 1, 1)
    assert list(medium.queries) == ["q_2", "q_0", "q_4", "q_1"]  # largest gain first
    assert medium.queries["q_0"] == (0.5, 0.75)
    back = compare_results(second, first).settings["medium"]
    assert back.difference == -0.1875 and (back.wins, back.losses) == (1, 2)
    assert medium.interval[0] < medium.difference < medium.interval[1]


def test_no_positives(tmp_path):
    first, second = write(tmp_path / "a.json", [None, 0.5]), write(tmp_path / "b.json", [0.5, None])
    medium = compare_results(first, second).settings["medium"]
    assert medium.difference is None and medium.interval is None and medium.queries == {}


def test_interval_of_known_distributions():
    assert bootstrap_interval(np.full(30, 0.25), 0) == (0.25, 0.25)
    differences = np.random.default_rng(0).normal(0.1, 0.2, 400)
    low, high = bootstrap_interval(differences, 0)
    spread = differences.std() / 20  # standard error of the mean; the interval is about normal
    assert low == pytest.approx(differences.mean() - 1.96 * spread, abs=0.1 * spread)
    assert high == pytest.approx(differences.mean() + 1.96 * spread, abs=0.1 * spread)
    # two queries: the resampled mean is 0, 1/2 or 1 with probabilities 1/4, 1/2, 1/4
    assert bootstrap_interval(np.array([0.0, 1.0]), 3) == (0.0, 1.0)


def test_interval_is_that_of_the_pairs():
    """The same gain for every query is certain, however much the queries differ."""
    before = np.random.default_rng(1).random(50)
    low, high = bootstrap_interval(before + 0.125 - before, 0)
    assert low == pytest.approx(0.125) and high == pytest.approx(0.125)


def test_interval_is_seeded_and_does_not_depend_on_the_chunks(monkeypatch):
    differences = np.random.default_rng(2).normal(size=70)
    interval = bootstrap_interval(differences, 5)
    assert bootstrap_interval(differences, 5) == interval != bootstrap_interval(differences, 6)
    monkeypatch.setattr("src.evaluation.comparison._CHUNK", 70 * 2048)
    assert bootstrap_interval(differences, 5) == interval


def test_other_benchmarks_are_refused(tmp_path):
    first = write(tmp_path / "a.json", [0.5])
    with pytest.raises(UserError, match="protocol revisited, .*b.json of classic: .*do not compare"):
        compare_results(first, write(tmp_path / "b.json", [0.5], protocol="classic"))
    with pytest.raises(UserError, match=r"a.json was judged by gnd, .*another ground truth \(gnd\)"):
        compare_results(first, write(tmp_path / "b.json", [0.5], ground_truth_digest="4567"))


SETTING = {"mAP": 0.5, "queries": {"q_0": {"AP": 0.5}}}


def changed(**changes):
    return {"metrics": {"medium": {**SETTING, **changes}}}


@pytest.mark.parametrize(
    "changes",
    [
        {"metrics": 3},
        {"metrics": {"m": {}}},
        {"protocol": None},
        {"index_size": "many"},
        changed(mAP="0.5"),
        changed(mAP=float("nan")),
        changed(queries=["q_0"]),
        changed(queries={"q_0": 0.5}),
        changed(queries={"q_0": {"AP": float("inf")}}),
    ],
)
def test_results_of_another_form(tmp_path, changes):
    first = write(tmp_path / "a.json", [0.5])
    path = write(tmp_path / "b.json", [0.5], **changes)
    with pytest.raises(
        UserError, match=r"b\.json: damaged \(.*\); give a results\.json that the command compute_map made"
    ):
        compare_results(first, path)


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"\0", b"\xff", b"[" * 10**6, b'{"a":' * 10**6, b"1" * 10**6])
def test_no_results(tmp_path, text):
    path = tmp_path / "b.json"
    path.write_bytes(text)
    with pytest.raises(UserError, match=r"b\.json: damaged \(.*\); give a results\.json"):
        compare_results(write(tmp_path / "a.json", [0.5]), path)


def test_what_is_not_opened(tmp_path):
    first = write(tmp_path / "a.json", [0.5])
    with pytest.raises(UserError, match="no such file"):
        compare_results(tmp_path / "none.json", first)
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    for name in ("pipe.json", "zero.json"):
        with pytest.raises(UserError, match=f"{name}: is a pipe or a device"):
            compare_results(tmp_path / name, first)
    with open(tmp_path / "huge.json", "wb") as stream:
        stream.truncate(2**40)
    with pytest.raises(UserError, match=f"huge.json: {2**40} bytes are too many"):
        compare_results(first, tmp_path / "huge.json")


def test_other_queries_or_settings_are_told(tmp_path):
    first = write(tmp_path / "a.json", [0.5])
    for second in (write(tmp_path / "b.json", [0.5, 1]), write(tmp_path / "b.json", [], metrics={"hard": SETTING})):
        with pytest.raises(UserError, match="b.json: has other settings or queries than .*a.json"):
            compare_results(first, second)
