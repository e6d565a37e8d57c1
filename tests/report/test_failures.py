"""Why the worst queries fail: ranks, inliers and reasons by hand, and the picture."""

import cv2
import numpy as np
import pytest
from report.report_cases import NAMES, query, write_photos

from src.commands.worst_queries import main as worst_command
from src.errors import UserError
from src.evaluation.evaluate import evaluate
from src.evaluation.ground_truth import GroundTruth
from src.records import Provenance, Ranking
from src.report.failures import draw_failures, format_failures, worst_queries
from src.report.results import Judgement
from src.retrieval.ranking_file import save_ranking

BY_INLIERS = Provenance("w", settings={"num_rerank": 100})


def judged(provenance=BY_INLIERS, count=8):
    """Photos stand a to l in each row: 22, 21, 9, 4 inliers, then unverified ones."""
    queries = (
        query("found", good=("photo_a", "photo_b")),
        query("empty"),
        query("behind", (10.0, 10.0, 200.0, 100.0), good=("photo_a",), ok=("photo_d",), junk=("photo_b",)),
        query("unverified", good=("photo_i",)),
        query("lost", good=("photo_x",), junk=("photo_a",)),
    )
    scores = [22.5, 21.5, 9.4, 4.1, *np.linspace(-0.1, -1, 8)]
    names = [made.name for made in queries]
    ranking = Ranking(names, NAMES, [np.arange(12)] * 5, [scores] * 5)
    truth = GroundTruth("tiny", "text", queries)
    judgement = Judgement(truth, evaluate(truth, ranking, "classic"))
    return worst_queries(ranking, judgement, provenance, count), ranking


def test_failures_by_hand():
    failures, ranking = judged()
    assert [found.name for found in failures] == ["lost", "unverified", "behind"]  # lowest first; two have no failure
    lost, unverified, behind = failures
    assert (lost.false.name, lost.false.rank, lost.missed, lost.why) == ("photo_b", 1, None, "not in the ranking")
    assert unverified.false.rank == 1 and unverified.missed[:2] == ("photo_i", 9) and unverified.why == "not verified"
    # a is right, b is junk and counts no rank, c is false, d is missed
    assert behind.false[:2] == ("photo_c", 2) and behind.missed[:2] == ("photo_d", 3) and behind.why == "fewer inliers"
    assert behind.box == (10, 10, 200, 100) and len(judged(count=1)[0]) == 1
    lines = format_failures(failures, BY_INLIERS, ranking).splitlines()
    precision = f"{100 * (1 + (1 / 2 + 2 / 3) / 2) / 2:.2f}"
    assert " ".join(lines[3].split()) == (
        f"behind {precision} photo_c rank 2, 9 inliers photo_d rank 3, 4 inliers fewer inliers"
    )
    assert lines[-1] == "the first missed photo: not in the ranking 1, not verified 1, fewer inliers 1"


def test_similarities_are_not_called_inliers():
    failures, ranking = judged(Provenance("w", settings={"searcher": "global"}))
    said = format_failures(failures, Provenance("w", settings={"searcher": "global"}), ranking)
    assert "inliers" not in said and "a lower score" in said


def test_the_picture_shows_the_three_photos(tmp_path):
    """Of the query, of the false and of the missed photo; the latter two in one colour each."""
    photos = tmp_path / "photos"
    write_photos(photos)
    for name, colour in (("photo_c", (0, 0, 255)), ("photo_d", (0, 255, 0))):
        cv2.imwrite(str(photos / f"{name}.jpg"), np.full((200, 400, 3), colour, np.uint8))
    failures, ranking = judged()
    draw_failures(failures[2:], [photos], tmp_path / "w.png", BY_INLIERS, ranking)
    picture = cv2.imread(str(tmp_path / "w.png")).astype(int)
    width = picture.shape[1]
    for channel, place in ((2, 1 / 2), (1, 5 / 6)):
        rows, columns = np.nonzero((picture[:, :, channel] > 240) & (picture.sum(axis=2) < 280))
        assert len(rows) > 5000 and abs(columns.mean() / width - place) < 0.03
    with pytest.raises(UserError, match="nothing to draw"):
        draw_failures([], [photos], tmp_path / "w.png", BY_INLIERS, ranking)


def test_the_command(tmp_path, capsys):
    write_photos(tmp_path / "photos")
    (tmp_path / "gt").mkdir()
    for label, text in (("query", "oxc1_photo_a 0 0 9 9"), ("good", "photo_l"), ("ok", ""), ("junk", "")):
        (tmp_path / "gt" / f"q_1_{label}.txt").write_text(text)
    ranking = Ranking(["q_1"], NAMES, [np.arange(12)], [[9.5, *np.linspace(-0.1, -1, 11)]])
    save_ranking(tmp_path / "ranks.npz", ranking, BY_INLIERS)
    given = [f"--ranks={tmp_path}/ranks.npz", f"--gt_path={tmp_path}/gt", "--protocol=classic"]
    worst_command([*given, f"--images_path={tmp_path}/photos", f"--output_image={tmp_path}/w.png"])
    assert "rank 12, not verified" in capsys.readouterr().out and (tmp_path / "w.png").stat().st_size > 5000
    with pytest.raises(UserError, match="--num_queries is 0"):
        worst_command([*given, f"--images_path={tmp_path}/photos", "--num_queries=0"])
