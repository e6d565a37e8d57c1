import logging
from pathlib import Path

import numpy as np
import pytest

from src.errors import UserError
from src.evaluation.evaluate import evaluate, extra_figures, landmark_means
from src.evaluation.ground_truth import GroundTruth, QueryTruth
from src.evaluation.ground_truth_files import load_ground_truth
from src.evaluation.protocols import choose_protocol, label_queries, query_box
from src.evaluation.results import format_extra_figures
from src.names import NameTable
from src.records import Ranking

GENUINE = Path(__file__).resolve().parents[3] / "shared" / "ground_truth"
needs_genuine = pytest.mark.skipif(not GENUINE.is_dir(), reason="the genuine ground truth is not here")


def text_truth(good=(), ok=(), junk=(), image="q", box=(0.0, 0.0, 9.0, 9.0)):
    lists = {"good": tuple(good), "ok": tuple(ok), "junk": tuple(junk)}
    return GroundTruth("tiny", "text", (QueryTruth("q_1", image, box, lists),))


def revisited_truth(easy=(), hard=(), junk=(), index="abcdef"):
    lists = {"easy": tuple(easy), "hard": tuple(hard), "junk": tuple(junk)}
    return GroundTruth("tiny", "revisited", (QueryTruth("q", "q", (0.0, 0.0, 9.0, 9.0), lists),), tuple(index))


def rank(names, query="q_1"):
    """A ranking of one query: ``names`` from best to worst, the index in the order of the alphabet."""
    index = sorted(names)
    scores = np.arange(len(index), 0, -1)
    return Ranking([query], index, np.array([[index.index(name) for name in names]]), scores[None])


def mean_average_precisions(evaluation):
    return {name: metrics.means().mean_average_precision for name, metrics in evaluation.metrics.items()}


def named(labels, names):
    """Positives and junk of the only query as letters."""
    index = sorted(names)
    return {
        setting: ("".join(index[i] for i in label.positives), "".join(index[i] for i in label.junk))
        for setting, (label,) in labels.items()
    }


def test_revisited_by_hand():
    truth = revisited_truth(easy="ab", hard="c", junk="d")
    evaluation = evaluate(truth, rank("dcaebf", "q"), "revisited")
    # easy: d and c ignored: a, e, b -> ranks 0, 2; medium: d ignored: c, a, e, b -> 0, 1, 3; hard: d, a, b ignored: 0
    expected = {"easy": (2 + 1 / 2 + 2 / 3) / 4, "medium": (2 + 2 + 2 / 3 + 3 / 4) / 6, "hard": 1.0}
    assert mean_average_precisions(evaluation) == pytest.approx(expected)
    assert evaluation.metrics["easy"].pr_ranks == (1, 5)  # the index holds six photos
    assert evaluation.metrics["medium"].precisions[0].tolist() == [1.0, 0.75]
    assert evaluation.metrics["medium"].recalls[0].tolist() == [pytest.approx(1 / 3), 1.0]


def test_revisited_ignores_queries_that_are_in_the_index():
    truth = revisited_truth(easy="b", hard="c")
    without = mean_average_precisions(evaluate(truth, rank("abcdef", "q"), "revisited"))
    assert mean_average_precisions(evaluate(truth, rank("qabcdef", "q"), "revisited")) == without


def test_revisited_counts_positives_that_are_not_in_the_index():
    truth = revisited_truth(easy="ab")
    assert mean_average_precisions(evaluate(truth, rank("acdef", "q"), "revisited"))["easy"] == 0.5


def test_query_without_positives(caplog):
    caplog.set_level(logging.INFO)
    evaluation = evaluate(revisited_truth(easy="a"), rank("abcdef", "q"), "revisited")
    assert np.isnan(mean_average_precisions(evaluation)["hard"])
    assert "hard: 1 of 1 queries have no positive" in caplog.text


def test_classic_by_hand():
    # b is junk; z is positive but not in the index; a appears in both lists and counts once
    truth = text_truth(good="ac", ok="az", junk="b")
    evaluation = evaluate(truth, rank("bdac"), "classic")
    assert list(evaluation.metrics) == ["classic"]
    assert mean_average_precisions(evaluation)["classic"] == pytest.approx((0 + 1 / 2 + 1 / 2 + 2 / 3) / 2 / 3)


def test_classic_name_that_is_positive_and_junk_is_skipped_but_counts():
    evaluation = evaluate(text_truth(good="ab", junk="a"), rank("abcd"), "classic")
    assert mean_average_precisions(evaluation)["classic"] == 0.5


def test_modelzoo_labels_of_oxford():
    names = "abcdq"
    labels = label_queries(text_truth(good="aq", ok="b", junk="c"), NameTable(names), "modelzoo")
    assert named(labels, names) == {"easy": ("aq", "bc"), "medium": ("abq", "c"), "hard": ("b", "acq")}
    # the port made the query of these 14 queries positive and junk at once
    labels = label_queries(text_truth(good="a", ok="bq", junk="c"), NameTable(names), "modelzoo")
    assert named(labels, names) == {"easy": ("aq", "bc"), "medium": ("abq", "c"), "hard": ("b", "acq")}


def test_modelzoo_labels_of_paris():
    names = "abcdq"
    labels = label_queries(text_truth(ok="abq", junk="c"), NameTable(names), "modelzoo")
    assert named(labels, names) == {"easy": ("ab", "cq"), "medium": ("abq", "c"), "hard": ("ab", "cq")}


def test_modelzoo_drops_what_is_not_in_the_index():
    names = "abcd"
    labels = label_queries(text_truth(good="az", ok="b", junk="c"), NameTable(names), "modelzoo")
    assert named(labels, names) == {"easy": ("a", "bc"), "medium": ("ab", "c"), "hard": ("b", "ac")}
    assert labels["easy"][0].num_positives == 1


def test_names_match_with_and_without_folder_and_extension():
    truth = text_truth(good=["a"], ok=["b"])
    ranking = Ranking(["q_1"], ["jpg/a.jpg", "jpg/b", "jpg/c"], [[2, 0, 1]], [[3, 2, 1]])
    assert mean_average_precisions(evaluate(truth, ranking, "classic"))["classic"] == pytest.approx(
        (0 + 1 / 2 + 1 / 2 + 2 / 3) / 4
    )


def test_missing_images_are_reported(caplog):
    caplog.set_level(logging.INFO)
    evaluation = evaluate(text_truth(good="uvwxyz", ok="a"), rank("ab"), "classic")
    assert evaluation.missing == tuple("uvwxyz")
    said = "6 of the 7 images that tiny names are not in the index (u, v, w, x, y ...): "
    assert evaluation.notes == (said + "positives among them count as not found", "the index holds 2 images: "
                                "precision and recall stop there")  # fmt: skip
    assert evaluation.notes[0] in caplog.text
    evaluation = evaluate(text_truth(good="uvwxyz", ok="a"), rank("ab"), "modelzoo")
    assert evaluation.notes[0] == said + "dropped from the lists"


def test_distractors_are_negatives():
    truth = revisited_truth(easy="ab", hard="c")
    names = ["distractors/a", "c", "distractors/b", "a", "d", "e", "f", "b"]
    index = sorted(names)
    order = [[index.index(name) for name in names]]
    evaluation = evaluate(truth, Ranking(["q"], index, order, [range(8, 0, -1)]), "revisited")
    # easy: distractor, (c ignored), distractor, a, d, e, f, b -> ranks 2 and 6
    assert mean_average_precisions(evaluation)["easy"] == pytest.approx((0 + 1 / 3 + 1 / 6 + 2 / 7) / 4)
    assert evaluation.index_size == 8 and not evaluation.missing
    assert "2 photos of the index are none of tiny's: distractors, negative for all" in evaluation.notes


def test_tied_scores_keep_the_order_of_the_ranking():
    truth = text_truth(good="b")
    for names, expected in (("bac", 1.0), ("abc", 0.25), ("acb", 1 / 6)):
        index = sorted(names)
        tied = Ranking(["q_1"], index, [[index.index(name) for name in names]], [[1.0, 1.0, 1.0]])
        assert mean_average_precisions(evaluate(truth, tied, "classic"))["classic"] == pytest.approx(expected)


def test_classic_pickle_is_judged_as_the_text_folder():
    text = text_truth(good="a", ok="c", junk="b", image="a")
    lists = {"ok": ("a", "c"), "junk": ("b",)}
    pickled = GroundTruth("tiny", "classic", (QueryTruth("a", "a", None, lists),), tuple("abcd"))
    assert choose_protocol(pickled) == "classic"
    first = evaluate(text, rank("bdac"), "classic").metrics["classic"]
    second = evaluate(pickled, rank("bdac", "a"), "classic").metrics["classic"]
    assert first.average_precisions == second.average_precisions


def test_holidays_takes_the_query_out_of_its_list():
    names = ["100000", "100100", "100001", "100101", "100002"]
    truth = load_ground_truth("", "holidays", names)
    index = sorted(names)
    orders = [[0, 3, 1, 2, 4], [4, 3, 0, 1, 2]]
    ranking = Ranking(["100000", "100100"], index, orders, [range(5, 0, -1)] * 2)
    evaluation = evaluate(truth, ranking, choose_protocol(truth))
    # 100000: itself skipped, 100100, then 100001 and 100002 at ranks 1 and 2; 100100: 100101 at rank 0
    expected = [(0 + 1 / 2 + 1 / 2 + 2 / 3) / 4, 1.0]
    np.testing.assert_allclose(evaluation.metrics["holidays"].average_precisions, expected, atol=1e-15)


def test_ukbench_score():
    names = [f"ukbench{number:05}" for number in range(8)]
    truth = load_ground_truth("", "ukbench", names)
    orders = np.array([np.roll(np.arange(8), -query) for query in range(8)])  # query, query + 1, ...
    ranking = Ranking(names, names, orders, [range(8, 0, -1)] * 8)
    evaluation = evaluate(truth, ranking, "ukbench")
    assert extra_figures(truth, evaluation) == {"N-S": pytest.approx((4 + 3 + 2 + 1) / 4)}
    assert format_extra_figures(extra_figures(truth, evaluation)) == "N-S score 2.5000\n"


def test_instre_by_hand():
    lists = {"positive": ("s/1/x", "s/2/x")}
    truth = GroundTruth("t", "instre", (QueryTruth("s/3/x", "s/3/x", None, lists),), ("s/1/x", "s/2/x", "m/1/x"))
    ranking = Ranking(["s/3/x"], ["m/1/x", "s/1/x", "s/2/x"], [[1, 0, 2]], [[3, 2, 1]])
    evaluation = evaluate(truth, ranking, choose_protocol(truth))
    assert mean_average_precisions(evaluation)["instre"] == pytest.approx((2 + 1 / 2 + 2 / 3) / 4)


def test_landmarks_of_a_text_folder():
    queries = tuple(
        QueryTruth(name, "q", None, {"good": tuple(good), "ok": (), "junk": ()})
        for name, good in (("keble_1", "a"), ("all_souls_1", "b"), ("keble_2", "c"), ("all_souls_2", ""))
    )
    truth = GroundTruth("t", "text", queries)
    ranking = Ranking([query.name for query in queries], list("abc"), [[0, 1, 2]] * 4, [[3, 2, 1]] * 4)
    evaluation = evaluate(truth, ranking, "classic")
    expected = {"keble": (1 + 1 / 6) / 2, "all_souls": 0.25}  # the last query has no positives
    assert extra_figures(truth, evaluation) == {"mAP_by_landmark": pytest.approx(expected)}
    assert list(extra_figures(truth, evaluation)["mAP_by_landmark"]) == ["keble", "all_souls"]
    lines = format_extra_figures(extra_figures(truth, evaluation)).splitlines()
    assert [line.split() for line in lines] == [["mAP", "by", "landmark"], ["keble", "58.33"], ["all_souls", "25.00"]]
    assert extra_figures(truth, evaluate(truth, ranking, "modelzoo")) == {}


@needs_genuine
@pytest.mark.parametrize("folder", ["gt_files_170407", "paris_120310"])
def test_eleven_landmarks_of_five_queries(folder):
    """Grouped by the names of the queries (text) and by those of the positives (pickles): the same groups."""
    text = load_ground_truth(GENUINE / folder)
    numbered = tuple(
        QueryTruth(q.image_name, q.image_name, q.box, {"ok": q.lists["good"] + q.lists["ok"], "junk": q.lists["junk"]})
        for q in text.queries
    )
    groups = []
    for truth in (text, GroundTruth("gnd", "classic", numbered)):
        names = [query.name for query in truth.queries]
        ranking = Ranking(names, ["x"], np.zeros((55, 1)), np.zeros((55, 1)))
        evaluation = evaluate(truth, ranking, "classic")
        evaluation.metrics["classic"].average_precisions[:] = np.arange(55) // 5  # AP = number of the landmark
        groups.append(list(landmark_means(truth, evaluation).values()))
    assert groups == [list(range(11))] * 2


def test_rows_follow_the_names_of_the_queries():
    lists = {"good": ("a",), "ok": (), "junk": ()}
    other = {"good": ("b",), "ok": (), "junk": ()}
    truth = GroundTruth("t", "text", (QueryTruth("q_1", "a", None, lists), QueryTruth("q_2", "b", None, other)))
    ranking = Ranking(["q_2", "q_1"], ["a", "b"], [[1, 0], [0, 1]], [[2, 1], [2, 1]])
    assert evaluate(truth, ranking, "classic").metrics["classic"].average_precisions.tolist() == [1.0, 1.0]


def test_ranking_of_other_queries():
    with pytest.raises(UserError, match="it has no q_1"):
        evaluate(text_truth(good="a"), rank("ab", "other"), "classic")
    ranking = Ranking(["q_1", "q_2"], ["a", "b"], [[0, 1], [0, 1]], [[2, 1], [2, 1]])
    with pytest.raises(UserError, match="it has more queries"):
        evaluate(text_truth(good="a"), ranking, "classic")


def test_choice_of_protocol(caplog):
    caplog.set_level(logging.INFO)
    assert choose_protocol(revisited_truth()) == "revisited" and not caplog.text
    assert choose_protocol(text_truth()) == "modelzoo"
    assert "nothing published, easy and hard not even with the model zoo's" in caplog.text
    assert "`protocol` classic" in caplog.text
    assert choose_protocol(text_truth(), "classic") == "classic"
    with pytest.raises(UserError, match="needs a folder"):
        choose_protocol(revisited_truth(), "classic")
    with pytest.raises(UserError, match="gnd_r"):
        choose_protocol(text_truth(), "revisited")
    with pytest.raises(UserError, match="must be one of"):
        choose_protocol(text_truth(), "roxford")
    with pytest.raises(UserError, match="holidays needs the folder of photos, or none"):
        choose_protocol(text_truth(), "holidays")


def test_query_box():
    query = text_truth(box=(136.5, 34.1, 648.5, 955.7)).queries[0]
    assert query_box(query, "classic") == (136, 34, 648, 956)  # halves go to the even number
    assert query_box(query, "revisited") == (136, 34, 648, 956)
    assert query_box(query, "instre") == (136, 34, 648, 956)
    assert query_box(query, "modelzoo") is None and query_box(query, "holidays") is None
    assert query_box(text_truth(box=None).queries[0], "classic") is None


@needs_genuine
def test_perfect_ranking_of_the_genuine_pickle():
    truth = load_ground_truth(GENUINE / "gnd_roxford5k.pkl")
    place = {name: i for i, name in enumerate(truth.index_names)}
    order = []
    for query in truth.queries:
        first = [place[name] for label in ("easy", "hard", "junk") for name in query.lists[label]]
        order.append(first + sorted(set(place.values()) - set(first)))
    scores = np.tile(np.arange(len(place), 0, -1), (len(order), 1))
    ranking = Ranking([query.name for query in truth.queries], truth.index_names, order, scores)
    evaluation = evaluate(truth, ranking, "revisited")
    assert mean_average_precisions(evaluation) == pytest.approx({"easy": 1.0, "medium": 1.0, "hard": 1.0})
    with_positives = {name: sum(bool(q.lists[name]) for q in truth.queries) for name in ("easy", "hard")}
    assert {name: evaluation.metrics[name].num_valid for name in ("easy", "hard")} == with_positives
