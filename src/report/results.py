"""What the report shows: each query with its first results, the query with the lowest average precision first."""

from typing import Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from ..evaluation.evaluate import Evaluation
from ..evaluation.ground_truth import Box, GroundTruth
from ..evaluation.metrics import Labels, positive_ranks
from ..evaluation.protocols import query_box
from ..records import Provenance, Ranking
from .figures import interpolated_precision

_ONE = 1.001  # a similarity of equal vectors, and what rounding adds to it


class ScoreMeaning(NamedTuple):
    """How a page writes a ranking's scores, and what they are, for its reader.

    Attributes:
        format: of a number.
        words: what the numbers are.
        inliers: their whole parts are numbers of inliers, which are then written in words.
    """

    format: str
    words: str
    inliers: bool = False

    def say(self, score: float) -> str:
        """A score in words, or as a number."""
        if not self.inliers:
            return self.format % score
        return f"{int(score)} inliers" if score >= 0 else "not verified"


def meaning_of_scores(provenance: Provenance, ranking: Ranking) -> ScoreMeaning:
    """What the scores of a ranking are, as far as its provenance says it."""
    last = str(provenance.settings.get("rerank", "none")).split(",")[-1]
    if last == "graph":
        return ScoreMeaning("%.4f", "score (nearness in the graph of verified pairs)")
    if last == "fusion":
        return ScoreMeaning("%.4f", "score (similarity, and a share of 1 for inliers)")
    searcher = provenance.settings.get("searcher", "votes")
    if last == "learned":
        return ScoreMeaning("%.3f", "score (soft votes of the matcher; below 0: not compared)")
    if searcher != "votes" and last != "ransac":
        vectors = {"global": "cosine of the global descriptors", "vlad": "cosine of the VLAD vectors"}
        words = f"similarity ({vectors.get(searcher, 'ASMK of the words of both photos')}, 1 at most)"
        return ScoreMeaning("%.4f", words if last == "none" else f"score (similarity after {last})")
    if counts_inliers(provenance):
        return ScoreMeaning("%.2f", "inliers (of the matches that RANSAC verified)", inliers=True)
    words, counts = "score", ranking.scores.size > 0 and bool(np.abs(ranking.scores[:, 0]).max() > _ONE)
    return ScoreMeaning("%.2f" if counts else "%.4f", words)


def counts_inliers(provenance: Provenance) -> bool:
    """Whether the whole part of a score is a number of inliers: RANSAC, which votes have by default, comes last."""
    settings = provenance.settings
    return "num_rerank" in settings and str(settings.get("rerank", "ransac")).split(",")[-1] == "ransac"


class Judgement(NamedTuple):
    """A ground truth, and a ranking judged by it."""

    ground_truth: GroundTruth
    evaluation: Evaluation


class ShownResult(NamedTuple):
    """One photo found for a query.

    Attributes:
        rank: from 1, junk left out; None of junk.
        number, name: of the photo in the index.
        score: of the ranking.
        kind: positive, negative, junk, or plain.
        missed: it is the first positive behind the first negative, which is in the way.
    """

    rank: Optional[int]
    number: int
    name: str
    score: float
    kind: str
    missed: bool = False


class ShownQuery(NamedTuple):
    """One query.

    Attributes:
        row: of the ranking.
        name, image_name, box: as in the ground truth; without one both names are the ranking's.
        box_used: the protocol searches with the box alone, not with the whole photo.
        average_precisions: by setting, NaN where the query has no positives; empty without ground truth.
        curve: interpolated precision at ``figures.LEVELS``; None without ground truth or positives.
        facts: how the query did, in words.
        results: the first ones.
    """

    row: int
    name: str
    image_name: str
    box: Optional[Box]
    box_used: bool
    average_precisions: Dict[str, float]
    curve: Optional[np.ndarray]
    facts: str
    results: Tuple[ShownResult, ...]


def main_setting(evaluation: Evaluation) -> str:
    """The setting that frames and order follow: medium, or the first where the protocol has no such one."""
    return "medium" if "medium" in evaluation.metrics else next(iter(evaluation.metrics))


def plain_queries(ranking: Ranking, num_results: int) -> List[ShownQuery]:
    """The queries of a ranking that nothing is known about, in its order."""
    return [
        ShownQuery(row, name, name, None, False, {}, None, "", _results(ranking, row, num_results, None))
        for row, name in enumerate(ranking.query_names)
    ]


def judged_queries(ranking: Ranking, judgement: Judgement, num_results: int) -> List[ShownQuery]:
    """The queries of a ground truth, lowest average precision first, those without positives last."""
    ground_truth, evaluation = judgement
    setting = main_setting(evaluation)
    order = np.argsort(np.nan_to_num(evaluation.metrics[setting].average_precisions, nan=2.0), kind="stable")
    queries = []
    for number in order.tolist():
        truth, row = ground_truth.queries[number], int(evaluation.rows[number])
        labels = evaluation.labels[setting][number]
        found = positive_ranks(ranking.ranks[row], labels.positives, labels.junk)
        precisions = {name: float(made.average_precisions[number]) for name, made in evaluation.metrics.items()}
        queries.append(
            ShownQuery(
                row,
                truth.name,
                truth.image_name,
                truth.box,
                query_box(truth, evaluation.protocol) is not None,
                precisions,
                interpolated_precision(found, labels.num_positives) if labels.num_positives else None,
                _facts(found, labels.num_positives),
                _results(ranking, row, num_results, labels),
            )
        )
    return queries


def _facts(found: np.ndarray, num_positives: int) -> str:
    if not num_positives:
        return "no positives"
    if not len(found):
        return f"{num_positives} to find, none in the index"
    return f"{num_positives} to find, the first at rank {found[0] + 1}"


def _results(ranking: Ranking, row: int, count: int, labels: Optional[Labels]) -> Tuple[ShownResult, ...]:
    """The first ``count`` photos, and behind them the first positive that was missed."""
    numbers = ranking.ranks[row]
    if labels is None:
        first = enumerate(numbers[:count].tolist())
        return tuple(_result(ranking, row, place, number, place + 1, "plain") for place, number in first)
    junk, positive = (np.isin(numbers, group) for group in (labels.junk, labels.positives))
    kinds = np.where(junk, "junk", np.where(positive, "positive", "negative")).tolist()
    ranks = np.cumsum(~junk).tolist()
    false = kinds.index("negative") if "negative" in kinds else len(kinds)
    behind = np.flatnonzero(positive[false:] & ~junk[false:]) + false
    missed = int(behind[0]) if behind.size else -1
    places = [*range(min(count, len(kinds))), *([missed] if missed >= count else [])]
    return tuple(
        _result(ranking, row, place, int(numbers[place]), None if junk[place] else ranks[place], kinds[place])._replace(
            missed=place == missed
        )
        for place in places
    )


def _result(ranking: Ranking, row: int, place: int, number: int, rank: Optional[int], kind: str) -> ShownResult:
    return ShownResult(rank, number, ranking.index_names[number], float(ranking.scores[row, place]), kind)
