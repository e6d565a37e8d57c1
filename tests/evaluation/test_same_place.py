"""From how many inliers on it is the same place: pairs, isotonic steps, limits and errors, counted by hand."""

import json

import numpy as np
import pytest

from src.artifacts import sha256_of
from src.commands.calibrate_same_place import main as calibrate_command
from src.config import Config
from src.errors import UserError
from src.evaluation.evaluate import evaluate
from src.evaluation.ground_truth import GroundTruth, QueryTruth
from src.evaluation.same_place import Pairs, Share, calibrate, isotonic, measure, precision_from, verified_pairs
from src.matching.same_place import load_calibration
from src.records import Provenance, Ranking
from src.retrieval.ranking_file import load_ranking, save_ranking
from src.retrieval.rerank import search_settings


def pairs_of(*counts):
    """Pairs from (inliers, of the same place, of others)."""
    inliers = np.concatenate([np.full(same + other, number) for number, same, other in counts])
    same = np.concatenate([np.arange(same + other) < same for _, same, other in counts])
    return Pairs(inliers, same, 3, 0)


# 300 of the same place and 300 of others. Right from 40 on: 200 of 200; from 30: 297 of 300; from 20: 299 of 304
KNOWN = pairs_of((4, 1, 295), (20, 2, 2), (30, 97, 3), (40, 200, 0))


def test_junk_own_photos_and_unverified_pairs_are_no_pairs():
    queries = (
        QueryTruth("q1", "a", None, {"good": ("a", "b"), "ok": ("e",), "junk": ("c",)}),
        QueryTruth("q2", "elsewhere", None, {"good": ("c",), "ok": (), "junk": ()}),
    )
    truth = GroundTruth("gt", "text", queries)
    # q1: a is its own photo, c is junk, e was not verified
    scores = [[50.9, 20.5, 12.3, 4.0, -0.2], [7.99, 5.1, 0.4, -0.5, -0.9]]
    ranking = Ranking(["q2", "q1"], list("abcde"), [[2, 0, 1, 3, 4], [0, 2, 1, 3, 4]][::-1], scores)
    pairs = verified_pairs(truth, ranking, evaluate(truth, ranking, "classic"))
    # the ranking's first row is q2's: a 50, c 20, b 12, d 4
    assert sorted(zip(pairs.inliers.tolist(), pairs.same.tolist())) == [
        (0, True), (4, False), (12, False), (20, True), (50, False)]  # fmt: skip
    assert (pairs.num_queries, pairs.unverified) == (2, 1)


def test_isotonic_steps_by_hand():
    """Shares 0/4, 3/4, 1/4, 4/4 of 4 pairs each, and one pair more at either end: 1/5, then 3/4 and 1/4 joined, 4/5."""
    pairs = pairs_of((0, 0, 4), (5, 3, 1), (6, 1, 3), (9, 4, 0))
    counts, shares = isotonic(pairs.inliers, pairs.same)
    assert counts.tolist() == [0, 5, 9]
    np.testing.assert_allclose(shares, [1 / 5, 4 / 8, 4 / 5])


def test_isotonic_is_the_slow_twin_s():
    """The max-min formula (Robertson, Wright and Dykstra, 1988): largest over starts of the least mean to an end."""
    generator = np.random.default_rng(0)
    inliers = generator.integers(0, 12, 80)
    same = generator.uniform(size=80) < inliers / 12
    counts, shares = isotonic(inliers, same)
    assert (np.diff(shares) > 0).all() and 0 < shares[0] and shares[-1] < 1
    x, y = np.append(inliers, (0, inliers.max())), np.append(same, (1.0, 0.0))
    for number in np.unique(x):
        wanted = max(
            min(y[(x >= begin) & (x <= end)].mean() for end in np.unique(x[x >= number]))
            for begin in np.unique(x[x <= number])
        )
        assert shares[np.searchsorted(counts, number, "right") - 1] == pytest.approx(wanted)


def test_limits_by_hand():
    numbers, wrong = precision_from(KNOWN)
    assert dict(zip(numbers.tolist(), wrong)) == {4: (300, 600), 20: (5, 304), 30: (3, 300), 40: (0, 200)}
    made = calibrate(KNOWN, 0.01, 0.05, Provenance())
    assert (made.yes_from, made.no_below) == (40, 20)  # with one wrong pair more, 1 of 201, 4 of 301, 6 of 305
    assert [calibrate(KNOWN, share, 0.05, Provenance()).yes_from for share in (0.004, 0.01, 0.019, 0.02)] == [
        None, 40, 30, 20]  # fmt: skip
    assert calibrate(KNOWN, 0.019, 0.5, Provenance()).no_below == 20
    made = calibrate(KNOWN, 0.019, 0.05, Provenance())
    assert [made.judge(count).answer for count in (0, 19, 20, 29, 30, 500)] == ["no"] * 2 + ["perhaps"] * 2 + [
        "yes"
    ] * 2
    assert made.judge(4).probability == made.judge(19).probability == pytest.approx(2 / 297)
    assert made.judge(40).probability == made.judge(10**6).probability == pytest.approx(200 / 201)
    assert str(made.judge(40)) == "yes, 99.5 %" and str(made.judge(30)) == "yes, 97 %"


def test_a_yes_is_never_what_is_more_often_another_place():
    """From 5 on 1,005 pairs of which 5 are wrong; but those with 5 inliers are all wrong."""
    assert calibrate(pairs_of((5, 0, 5), (50, 1000, 0), (1, 0, 20)), 0.01, 0.05, Provenance()).yes_from == 50
    muddle = calibrate(pairs_of((5, 30, 30), (9, 40, 30)), 0.01, 0.05, Provenance())
    assert muddle.yes_from is None and muddle.no_below == 0 and muddle.judge(10**6).answer == "perhaps"


def test_errors_by_hand():
    made = calibrate(KNOWN, 0.019, 0.05, Provenance())
    others = pairs_of((3, 3, 50), (19, 2, 40), (25, 5, 9), (31, 20, 1))
    errors = measure(others, made)
    assert errors.misses == (5, 30) and errors.false_alarms == (1, 100)
    assert errors.answers == {"yes": (1, 21), "perhaps": (9, 14), "no": (90, 95)}
    assert made.measured == measure(KNOWN, made).as_json() and made.measured["wrong_yes"]["share"] == 0.01


def test_wilson_interval():
    """Wilson: 10 of 100 lies in [5.52, 17.44] % (Brown, Cai and DasGupta, 2001, give the formula)."""
    np.testing.assert_allclose(Share(10, 100).interval(), (0.05523, 0.17437), atol=5e-6)
    assert Share(0, 100).interval() == (0, pytest.approx(3.8415 / 103.8415, abs=1e-5)) and Share(0, 0).interval() == (
        0,
        1,
    )


@pytest.fixture
def files(tmp_path):
    """A ranking of 41 queries on 40 photos of as many places, each shown by two; the checkpoint, and the options."""
    folder, checkpoint = tmp_path / "gt", tmp_path / "model" / "net.ckpt"
    folder.mkdir()
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(b"weights")
    index = [f"p{number:02}" for number in range(40)]
    queries = [f"place_{number:02}" for number in range(40)]
    for number, name in enumerate(queries):
        for label, text in (
            ("query", f"oxc1_elsewhere{number} 0 0 9 9"),
            ("good", index[number]),
            ("ok", ""),
            ("junk", ""),
        ):
            (folder / f"{name}_{label}.txt").write_text(text)
    ranks = [[number, *(other for other in range(40) if other != number)] for number in range(40)]
    scores = [[30 + number % 3, 5, *[4] * 10, *[-0.5] * 28] for number in range(40)]
    config = Config(search_distance=0.7)
    extracted = {"image_scales": [1.0], "max_image_size": 480, "max_feature_num": 200}
    sides = {name: {"settings": extracted} for name in ("index", "queries")}
    settings = search_settings(config.retrieval, config.matching, 0)
    encoder = {"name": "delf", "pca": "abc", "pca_dim": 40}
    made = Provenance(sha256_of(checkpoint), encoder, settings, sides)
    save_ranking(tmp_path / "ranks.npz", Ranking(queries, index, ranks, scores), made)
    return tmp_path


def run(files, *more, ranks="ranks.npz"):
    given = [f"--ranks={files}/{ranks}", f"--gt_path={files}/gt", "--protocol=classic"]
    more = more if any("errors" in option or "evaluate" in option for option in more) else (*more, "--yes_errors=0.03")
    calibrate_command([*given, *more, *([] if any("_image" in option for option in more) else ["--output_image="])])


def test_the_command_saves_beside_the_checkpoint(files, capsys):
    run(files, f"--checkpoint_path={files}/model/net.ckpt", f"--output_image={files}/curve.png")
    made = load_calibration(files / "model" / "same_place.json")
    assert (made.yes_from, made.no_below, made.provenance.weights) == (30, 30, sha256_of(files / "model/net.ckpt"))
    assert made.provenance.encoder["max_image_size"] == 480 and made.provenance.encoder["search_distance"] == 0.7
    said = capsys.readouterr().out
    assert (
        "40 verified pairs of the same place, 440 of others" in said and (files / "curve.png").stat().st_size > 10_000
    )
    before = (files / "model" / "same_place.json").read_bytes()
    run(files, f"--checkpoint_path={files}/model/net.ckpt")  # already made
    with pytest.raises(
        UserError, match=r"same_place\.json: made under other settings \(yes_errors\); give `overwrite`"
    ):
        run(files, f"--checkpoint_path={files}/model/net.ckpt", "--yes_errors=0.2")
    assert (files / "model" / "same_place.json").read_bytes() == before


def test_the_command_measures_errors(files, capsys):
    run(files, f"--output={files}/cal.json")
    run(files, f"--evaluate={files}/cal.json", f"--output={files}/errors.json")
    assert "misses, same places that are a no:         0 of 40, 0.00 % [0.00, 8.76]" in capsys.readouterr().out
    errors = json.loads((files / "errors.json").read_text())
    assert errors["false_alarms"]["count"] == 0 and errors["false_alarms"]["of"] == 440
    assert errors["answers"] == {
        "yes": {"answers": 40, "other_place": 0}, "perhaps": {"answers": 0, "other_place": 0},
        "no": {"answers": 440, "other_place": 440},
    }  # fmt: skip


def test_wrong_input_is_one_sentence(files):
    with pytest.raises(UserError, match="give --checkpoint_path to save the calibration beside it"):
        run(files)
    with pytest.raises(UserError, match="0.6 is no such share"):
        run(files, "--no_chance=0.6")
    (files / "other.ckpt").write_bytes(b"other")
    with pytest.raises(UserError, match=r"ranks\.npz: made with another checkpoint than .*other\.ckpt"):
        run(files, f"--checkpoint_path={files}/other.ckpt")
    save_ranking(files / "foreign.npz", load_ranking(files / "ranks.npz")[0], Provenance())
    with pytest.raises(UserError, match=r"foreign\.npz: its scores hold no inliers"):
        run(files, f"--output={files}/cal.json", ranks="foreign.npz")
    run(files, f"--output={files}/cal.json")
    with pytest.raises(UserError, match="--no_chance has no effect together with --evaluate"):
        run(files, f"--evaluate={files}/cal.json", "--no_chance=0.1")
    text = (files / "cal.json").read_text()
    (files / "cal.json").write_text(text.replace('"no_below": 30', '"no_below": 31'))
    with pytest.raises(UserError, match=r"cal\.json: damaged \(its checksum differs\); make it again with the command"):
        run(files, f"--evaluate={files}/cal.json")
