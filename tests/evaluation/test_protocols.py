import logging
from pathlib import Path

import numpy as np
import pytest

from src.errors import UserError
from src.evaluation.ground_truth import GroundTruth, QueryTruth, load_ground_truth
from src.evaluation.protocols import choose_protocol, evaluate, label_queries, query_box
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
    labels = label_queries(text_truth(good="aq", ok="b", junk="c"), names, "modelzoo")
    assert named(labels, names) == {"easy": ("aq", "bc"), "medium": ("abq", "c"), "hard": ("b", "acq")}
    # the port made the query of these 14 queries positive and junk at once
    labels = label_queries(text_truth(good="a", ok="bq", junk="c"), names, "modelzoo")
    assert named(labels, names) == {"easy": ("aq", "bc"), "medium": ("abq", "c"), "hard": ("b", "acq")}


def test_modelzoo_labels_of_paris():
    names = "abcdq"
    labels = label_queries(text_truth(ok="abq", junk="c"), names, "modelzoo")
    assert named(labels, names) == {"easy": ("ab", "cq"), "medium": ("abq", "c"), "hard": ("ab", "cq")}


def test_modelzoo_drops_what_is_not_in_the_index():
    names = "abcd"
    labels = label_queries(text_truth(good="az", ok="b", junk="c"), names, "modelzoo")
    assert named(labels, names) == {"easy": ("a", "bc"), "medium": ("ab", "c"), "hard": ("b", "ac")}
    assert labels["easy"][0].num_positives == 1


def test_names_match_with_and_without_folder_and_extension():
    truth = text_truth(good=["a"], ok=["b"])
    ranking = Ranking(["q_1"], ["jpg/a.jpg", "jpg/b", "jpg/c"], [[2, 0, 1]], [[3, 2, 1]])
    assert mean_average_precisions(evaluate(truth, ranking, "classic"))["classic"] == pytest.approx(
        (0 + 1 / 2 + 1 / 2 + 2 / 3) / 4
    )


def test_missing_images_are_logged(caplog):
    evaluate(text_truth(good="uvwxyz", ok="a"), rank("ab"), "classic")
    assert "6 of the 7 images that tiny names are not in the index (u, v, w, x, y ...)" in caplog.text


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
    assert "nothing published" in caplog.text and "--protocol classic" in caplog.text
    assert choose_protocol(text_truth(), "classic") == "classic"
    with pytest.raises(UserError, match="needs a folder"):
        choose_protocol(revisited_truth(), "classic")
    with pytest.raises(UserError, match="gnd_r"):
        choose_protocol(text_truth(), "revisited")
    with pytest.raises(UserError, match="must be one of"):
        choose_protocol(text_truth(), "holidays")


def test_query_box():
    query = text_truth(box=(136.5, 34.1, 648.5, 955.7)).queries[0]
    assert query_box(query, "classic") == (136, 34, 648, 956)  # halves go to the even number
    assert query_box(query, "revisited") == (136, 34, 648, 956)
    assert query_box(query, "modelzoo") is None
    assert query_box(text_truth(box=None).queries[0], "classic") is None


def walk(positives, junk, ranked):
    """compute_ap.cpp as its description reads: one pass over the list, single precision."""
    old_recall, old_precision, area = np.float32(0), np.float32(1), np.float32(0)
    hits = seen = 0
    for name in ranked:
        if name in junk:
            continue
        hits += name in positives
        seen += 1
        recall, precision = np.float32(hits / len(positives)), np.float32(hits / seen)
        area += (recall - old_recall) * ((old_precision + precision) / np.float32(2))
        old_recall, old_precision = recall, precision
    return area


@needs_genuine
@pytest.mark.parametrize("folder, seed", [("gt_files_170407", 0), ("gt_files_170407", 1), ("paris_120310", 2)])
def test_classic_against_compute_ap(folder, seed):
    truth = load_ground_truth(GENUINE / folder)
    random = np.random.default_rng(seed)
    listed = sorted({name for query in truth.queries for names in query.lists.values() for name in names})
    index = [name for name in listed if random.random() < 0.95] + [f"other_{i}" for i in range(500)]
    # positives drift to the front, so that the precisions are not all near 0
    bias = np.array([[name in query.lists["good"] + query.lists["ok"] for name in index] for query in truth.queries])
    ranks = np.argsort(random.normal(size=bias.shape) - 1.5 * bias, axis=1)
    scores = np.tile(np.arange(len(index), 0, -1), (len(ranks), 1))
    metrics = evaluate(truth, Ranking([query.name for query in truth.queries], index, ranks, scores), "classic")
    expected = [
        walk({*query.lists["good"], *query.lists["ok"]}, set(query.lists["junk"]), [index[i] for i in row])
        for query, row in zip(truth.queries, ranks)
    ]
    assert 0.1 < np.mean(expected) < 0.9
    np.testing.assert_allclose(metrics.metrics["classic"].average_precisions, expected, atol=2e-5)


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
