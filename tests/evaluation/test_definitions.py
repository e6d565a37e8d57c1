"""The evaluation against the benchmarks' own definitions, written down again here, on random rankings.

``walk`` is compute_ap.cpp as its description reads (one pass over the list, in double precision); ``revisited`` is the
evaluation of the revisited benchmark as its paper and its description read.
"""

from pathlib import Path

import numpy as np
import pytest

from src.evaluation.evaluate import evaluate
from src.evaluation.ground_truth import GroundTruth, QueryTruth
from src.evaluation.ground_truth_files import load_ground_truth
from src.records import Ranking

GENUINE = Path(__file__).resolve().parents[3] / "shared" / "ground_truth"
needs_genuine = pytest.mark.skipif(not GENUINE.is_dir(), reason="the genuine ground truth is not here")
SEEDS = range(20)


def walk(positives, junk, ranked):
    old_recall, old_precision, area, hits, seen = 0.0, 1.0, 0.0, 0, 0
    for name in ranked:
        if name in junk:
            continue
        hits += name in positives
        seen += 1
        recall, precision = hits / len(positives), hits / seen
        area += (recall - old_recall) * ((old_precision + precision) / 2)
        old_recall, old_precision = recall, precision
    return area


def places_of(positives, junk, ranked):
    """Places from 1 of the positives after the junk is taken out."""
    kept = [name for name in ranked if name not in junk]
    return [place for place, name in enumerate(kept, start=1) if name in positives]


def precisions_at(places, depths):
    """mP@k of the revisited benchmark: k is cut to the place of the last positive."""
    values = []
    for depth in depths:
        cut = min(depth, max(places)) if places else depth
        values.append(sum(place <= cut for place in places) / cut)
    return values


def revisited(places, num_positives):
    area = 0.0
    for count, place in enumerate(places):
        before = count / (place - 1) if place > 1 else 1.0
        area += (before + (count + 1) / place) / 2 / num_positives
    return area


def random_ranking(truth, index, seed):
    """Random, with positives drifting to the front so that the precisions are not all near 0."""
    random = np.random.default_rng(seed)
    labels = ("good", "ok", "easy", "hard")
    wanted = [{name for label in labels for name in query.lists.get(label, ())} for query in truth.queries]
    bias = np.array([[name in names for name in index] for names in wanted])
    ranks = np.argsort(random.normal(size=bias.shape) - random.uniform(0, 3) * bias, axis=1)
    scores = np.tile(np.arange(len(index), 0, -1), (len(ranks), 1))
    return Ranking([query.name for query in truth.queries], index, ranks, scores)


def ranked_names(ranking):
    names = np.array(ranking.index_names)
    return [names[row].tolist() for row in ranking.ranks]


def check_classic(truth, index, seed):
    ranking = random_ranking(truth, index, seed)
    metrics = evaluate(truth, ranking, "classic").metrics["classic"]
    for row, (query, ranked) in enumerate(zip(truth.queries, ranked_names(ranking))):
        positives, junk = {*query.lists["good"], *query.lists["ok"]}, set(query.lists["junk"])
        assert metrics.average_precisions[row] == pytest.approx(walk(positives, junk, ranked), abs=1e-9)
        expected = precisions_at(places_of(positives, junk, ranked), metrics.pr_ranks)
        np.testing.assert_allclose(metrics.precisions[row], expected, atol=1e-9)
    assert metrics.means().mean_average_precision == pytest.approx(metrics.average_precisions.mean(), abs=1e-12)


def check_revisited(truth, index, seed):
    ranking = random_ranking(truth, index, seed)
    metrics = evaluate(truth, ranking, "revisited").metrics
    rules = {"easy": ("easy", "junk hard"), "medium": ("easy hard", "junk"), "hard": ("hard", "junk easy")}
    for setting, lists in rules.items():
        expected, depths = [], metrics[setting].pr_ranks
        for query, ranked in zip(truth.queries, ranked_names(ranking)):
            positives, junk = ({name for label in part.split() for name in query.lists[label]} for part in lists)
            if positives:
                places = places_of(positives, junk, ranked)
                expected.append([revisited(places, len(positives)), *precisions_at(places, depths)])
            else:
                expected.append([np.nan] * (1 + len(depths)))
        found = np.column_stack([metrics[setting].average_precisions, metrics[setting].precisions])
        np.testing.assert_allclose(found, expected, atol=1e-9)
        means = metrics[setting].means()
        np.testing.assert_allclose(
            [means.mean_average_precision, *means.mean_precisions], np.nanmean(expected, axis=0), atol=1e-9
        )


@needs_genuine
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("folder", ["gt_files_170407", "paris_120310"])
def test_genuine_classic(folder, seed):
    truth = load_ground_truth(GENUINE / folder)
    listed = sorted({name for query in truth.queries for names in query.lists.values() for name in names})
    random = np.random.default_rng(1000 + seed)
    index = [name for name in listed if random.random() < 0.95] + [f"other_{i}" for i in range(500)]  # some are missing
    check_classic(truth, index, seed)


@needs_genuine
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("file", ["gnd_roxford5k.pkl", "gnd_rparis6k.pkl"])
def test_genuine_revisited(file, seed):
    truth = load_ground_truth(GENUINE / file)
    check_revisited(truth, truth.index_names, seed)


def made_up_truth(kind, labels, seed):
    """Twelve queries on 80 photos; some lists are empty, some photos in two lists of a classic query, some missing."""
    random = np.random.default_rng(seed)
    index = [f"photo_{number}" for number in range(80)]
    queries = []
    for number in range(12):
        shuffled = random.permutation(index + [f"missing_{i}" for i in range(10)]).tolist()
        ends = np.sort(random.integers(0, 50, size=3))
        lists = dict(zip(labels, (tuple(part) for part in np.split(np.array(shuffled[:50]), ends)[:3])))
        if kind == "text" and not lists["good"] + lists["ok"]:
            lists["ok"] = (shuffled[60],)
        if kind == "text" and number % 2:
            lists["junk"] += lists["ok"][:1]
        queries.append(QueryTruth(f"query_{number}", f"photo_of_{number}", None, lists))
    return GroundTruth("made up", kind, tuple(queries)), index


@pytest.mark.parametrize("seed", SEEDS)
def test_made_up_classic(seed):
    check_classic(*made_up_truth("text", ("good", "ok", "junk"), seed), seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_made_up_revisited(seed):
    check_revisited(*made_up_truth("revisited", ("easy", "hard", "junk"), seed), seed)


@pytest.mark.parametrize("seed", range(3))
def test_both_definitions_agree(seed):
    truth, index = made_up_truth("text", ("good", "ok", "junk"), seed)
    for query, ranked in zip(truth.queries, ranked_names(random_ranking(truth, index, seed))):
        positives, junk = {*query.lists["good"], *query.lists["ok"]}, set(query.lists["junk"])
        area = revisited(places_of(positives, junk, ranked), len(positives))
        assert area == pytest.approx(walk(positives, junk, ranked), abs=1e-12)
