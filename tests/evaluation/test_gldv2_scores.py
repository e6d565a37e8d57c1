import math

import pytest

from src.errors import UserError
from src.evaluation.gldv2 import (
    Recognized,
    evaluate_gldv2,
    first_hit_positions,
    global_average_precision,
    hit_positions,
    mean_average_precision,
    mean_precisions,
    top1_accuracy,
)

# Inputs made for the constants that the TensorFlow reference's tests state (global_and_protocols.md, 2.8).
LANDMARKS = {"a": {"0", "12"}, "b": {"100", "200"}, "c": {"1"}, "d": set(), "e": set()}
RECOGNIZED = {"b": Recognized("0", 0.01), "c": Recognized("1", 10.0), "d": Recognized("12", 150.0)}
RELEVANT = {"a": {"x", "y"}, "b": {"x"}, "c": {"u", "v", "w"}, "d": {"u"}}
RETRIEVED = {"b": ["z", "x"], "c": ["v"], "d": ["u", "v"]}


def test_constants_of_the_reference():
    assert global_average_precision(RECOGNIZED, LANDMARKS) == pytest.approx(0.166667, abs=1e-6)
    assert global_average_precision(RECOGNIZED, LANDMARKS, ignore_non_landmarks=True) == pytest.approx(1 / 3)
    assert top1_accuracy(RECOGNIZED, LANDMARKS) == pytest.approx(1 / 3)
    assert mean_average_precision(RETRIEVED, RELEVANT) == pytest.approx(0.458333, abs=1e-6)
    assert mean_average_precision(RETRIEVED, RELEVANT, depth=1) == 0.5
    assert mean_precisions(RETRIEVED, RELEVANT, (1, 2)) == (0.5, 0.375)
    assert first_hit_positions(RETRIEVED, RELEVANT) == (26.25, 1.5)
    assert first_hit_positions(RETRIEVED, RELEVANT, depth=1) == (1.5, 1.5)


def test_gap_by_hand():
    solution = {"p": {"1"}, "q": {"2"}, "r": {"3"}, "s": {"4"}}
    predictions = {"p": Recognized("1", 0.9), "q": Recognized("9", 0.8), "r": Recognized("3", 0.7)}
    assert global_average_precision(predictions, solution) == pytest.approx((1 + 2 / 3) / 4)
    # equal scores go by photo: p (right), q (wrong), r (right)
    tied = {photo: Recognized(landmark, 1.0) for photo, (landmark, _) in reversed(list(predictions.items()))}
    assert global_average_precision(tied, solution) == pytest.approx((1 + 2 / 3) / 4)
    assert global_average_precision({}, solution) == 0.0
    assert math.isnan(global_average_precision(predictions, {"p": set()}))


def test_a_repeated_photo_keeps_its_place_and_counts_once():
    assert hit_positions(["x", "x", "y"], {"x", "y"}, 100) == [1, 3]
    assert mean_average_precision({"q": ["x", "x", "y"]}, {"q": {"x", "y"}}) == pytest.approx((1 + 2 / 3) / 2)
    assert mean_precisions({"q": ["x", "x", "y"]}, {"q": {"x", "y"}}, (2, 3)) == (0.5, pytest.approx(2 / 3))


def test_only_the_first_hundred_count():
    relevant = {f"r{number}" for number in range(150)}
    retrieved = [f"r{number}" for number in range(150)]
    assert mean_average_precision({"q": retrieved}, {"q": relevant}) == 1.0  # divided by 100, not 150
    assert mean_average_precision({"q": ["no"] * 100 + retrieved}, {"q": relevant}) == 0.0


def write(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text)
    return [folder / f"{name}.csv" for name in ("predictions", "solution")]


def test_recognition_files(tmp_path):
    files = write(
        tmp_path,
        solution="id,landmarks,Usage\na,0 12,Public\nb,100 200,Public\nc,1,Public\nd,,Public\ne,,Private\nf,7,Private\n"
        "i,,Ignored\n",
        predictions="id,landmarks\nb,0 0.01\nc,1 10.0\nd,12 150 \ne,\nf,7 0.5\ni,3 0.1\n",
    )
    figures = evaluate_gldv2("recognition", *files)
    assert figures["Public"]["GAP"] == pytest.approx(1 / 6)
    assert figures["Public"]["GAP, landmark photos only"] == pytest.approx(1 / 3)
    assert (figures["Public"]["queries"], figures["Public"]["predictions"]) == (4, 3)
    assert figures["Private"]["GAP"] == 1.0 and figures["Private"]["top-1 accuracy"] == 1.0


def test_retrieval_files(tmp_path):
    files = write(
        tmp_path,
        solution='id,images,Usage\na,x y,Private\nb,x,Private\nc,"u v w",Private\nd,u,Private\ni,None,Ignored\n',
        predictions="id,images\nb,z x\nc,v \nd,u v\ni,u\n",
    )
    figures = evaluate_gldv2("retrieval", *files)
    assert list(figures) == ["Private"]
    assert figures["Private"]["mAP@100"] == pytest.approx(0.458333, abs=1e-6)
    assert figures["Private"]["mP@1"] == 0.5 and figures["Private"]["mP@100"] == pytest.approx(0.0075)
    assert figures["Private"]["mean position of the first hit"] == 26.25


def test_a_figure_over_nothing_is_none(tmp_path):
    files = write(tmp_path, solution="id,landmarks,Usage\na,,Public\n", predictions="id,landmarks\na,1 2\n")
    assert evaluate_gldv2("recognition", *files)["Public"]["GAP"] is None


SOLUTION = "id,landmarks,Usage\na,1,Public\n"


@pytest.mark.parametrize(
    "predictions, solution, said",
    [
        ("id,landmarks\nb,1 2\n", SOLUTION, "query b is not in .*solution.csv"),
        ("id,landmarks\na,1\n", SOLUTION, "line 2: landmarks is '1'; expected one landmark and its score"),
        ("id,landmarks\na,1 2 3 4\n", SOLUTION, "one landmark and its score"),
        ("id,landmarks\na,1 nan\n", SOLUTION, "one landmark and its score"),
        ("id,landmarks\na,1 1e999\n", SOLUTION, "one landmark and its score"),
        ("id,landmarks\na,1 2\na,1 3\n", SOLUTION, "line 3: query 'a' is empty or was there before"),
        ("id,images\na,x\n", SOLUTION, "predictions.csv: no column 'landmarks'"),
        ("id,landmarks\n", "id,landmarks,Usage\na,1,Secret\n", "line 2: Usage is 'Secret'"),
        ("id,landmarks\n", "id,landmarks\na,1\n", "solution.csv: no column 'Usage'"),
        ("id,landmarks\n", "id,landmarks,Usage\n", "no query with Usage Public or Private"),
        ("id,landmarks\n", "", "solution.csv: no column 'id'"),
    ],
)
def test_malformed_files(tmp_path, predictions, solution, said):
    with pytest.raises(UserError, match=said):
        evaluate_gldv2("recognition", *write(tmp_path, predictions=predictions, solution=solution))


def test_files_that_are_no_text(tmp_path):
    files = write(tmp_path, predictions="", solution=SOLUTION)
    files[0].write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="damaged .*give a csv file"):
        evaluate_gldv2("recognition", *files)
    files[0].unlink()
    with pytest.raises(UserError, match="no such file"):
        evaluate_gldv2("recognition", *files)
