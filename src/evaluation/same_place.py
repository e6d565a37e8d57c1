"""How sure a number of inliers is that two photos show the same place: measured on the pairs of a judged ranking.

The probability is fitted by isotonic regression (Ayer et al., Annals of Mathematical Statistics 26, 1955): it rises
with the number of inliers and is free otherwise. A logistic curve in the logarithm of the number predicts held-out
pairs worse: it is too steep for few inliers, which chance gives evenly, and so too flat for many.
"""

from dataclasses import dataclass
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from ..artifacts import PathLike, digest, is_made
from ..errors import UserError, reading
from ..matching.same_place import ANSWERS, FORMAT_VERSION, NO, PERHAPS, YES, Calibration, conditions, holds_inliers
from ..names import NameTable
from ..records import Provenance, Ranking
from ..sealed import read_sealed, write_sealed
from .evaluate import Evaluation
from .ground_truth import GroundTruth

LEAST_PAIRS = 20  # of the same place, and of others
_NORMAL_QUANTILE = 1.959963984540054  # of 97.5 %


class Share(NamedTuple):
    """``count`` of ``total``."""

    count: int
    total: int

    def interval(self) -> Tuple[float, float]:
        """Wilson's score interval of 95 % (Wilson, JASA 22, 1927); (0, 1) for none of none."""
        if not self.total:
            return 0.0, 1.0
        share, spread = self.count / self.total, _NORMAL_QUANTILE**2 / self.total
        middle = share + spread / 2
        half = (spread * share * (1 - share) + spread**2 / 4) ** 0.5
        low, high = (middle - half) / (1 + spread), (middle + half) / (1 + spread)
        return (low if self.count else 0.0), (high if self.count < self.total else 1.0)

    def __str__(self) -> str:
        """Such as '12 of 1200, 1.00 % [0.57, 1.74]'."""
        share = f"{100 * self.count / self.total:.2f} %" if self.total else "-"
        return "{} of {}, {} [{:.2f}, {:.2f}]".format(*self, share, *(100 * limit for limit in self.interval()))

    def as_json(self) -> Dict[str, Any]:
        """Plain values."""
        share = self.count / self.total if self.total else None
        return {"count": self.count, "of": self.total, "share": share, "interval_95": list(self.interval())}


@dataclass(frozen=True, eq=False)
class Pairs:
    """The verified pairs of queries and photos; junk and the queries' own photos are none.

    Attributes:
        inliers: [P] int.
        same: [P] bool, the photo is a positive of the query.
        num_queries: that have such pairs.
        unverified: pairs of the same place in the index that were not verified: too few votes or correspondences.
    """

    inliers: np.ndarray
    same: np.ndarray
    num_queries: int
    unverified: int

    @property
    def identity(self) -> str:
        """Changes when any pair does."""
        return digest({"inliers": self.inliers.tolist(), "same": self.same.tolist()})


def verified_pairs(ground_truth: GroundTruth, ranking: Ranking, evaluation: Evaluation) -> Pairs:
    """The pairs of a ranking whose scores hold inliers, see ``Search.rank``; by setting medium, if there is one."""
    labels = evaluation.labels.get("medium") or next(iter(evaluation.labels.values()))
    table, unverified = NameTable(ranking.index_names), 0
    inliers: List[np.ndarray] = []
    same: List[np.ndarray] = []
    for query, row, label in zip(ground_truth.queries, evaluation.rows, labels):
        photos, scores, own = ranking.ranks[row], ranking.scores[row], table.find(query.image_name)
        left_out = label.junk if own is None else np.append(label.junk, own)
        counts, positive = ~np.isin(photos, left_out), np.isin(photos, label.positives)
        verified = counts & (scores >= 0)
        inliers.append(np.floor(scores[verified]).astype(np.int64))
        same.append(positive[verified])
        unverified += int((counts & positive).sum() - same[-1].sum())
    return Pairs(np.concatenate(inliers), np.concatenate(same), sum(len(own) > 0 for own in inliers), unverified)


def isotonic(inliers: np.ndarray, same: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """The rising step function of the number of inliers that is nearest to ``same`` in squares.

    Two pairs are added that keep it off 0 and 1, which no number of pairs proves: one of the same place with no inlier,
    and one of other places with the most.

    Args:
        inliers, same: [P] of each pair.

    Returns:
        [K] first number of each step, the first 0, and [K] shares of the same place, strictly rising.
    """
    inliers, same = np.append(inliers, (0, inliers.max())), np.append(same, (True, False))
    numbers, places = np.unique(inliers, return_inverse=True)
    blocks: List[List[float]] = []  # first number, pairs of the same place, pairs
    for number, positive, pairs in zip(numbers, np.bincount(places, weights=same), np.bincount(places)):
        blocks.append([int(number), positive, pairs])
        while len(blocks) > 1 and blocks[-2][1] * blocks[-1][2] >= blocks[-1][1] * blocks[-2][2]:
            _, positive, pairs = blocks.pop()
            blocks[-1][1] += positive
            blocks[-1][2] += pairs
    first, positives, totals = np.array(blocks).T
    return first.astype(np.int64), positives / totals


def precision_from(pairs: Pairs) -> Tuple[np.ndarray, List[Share]]:
    """The rising numbers of inliers that occur, and for each the pairs with so many or more that are no same place."""
    order = np.argsort(-pairs.inliers, kind="stable")
    wrong = np.cumsum(~pairs.same[order])
    numbers, last = np.unique(pairs.inliers[order][::-1], return_index=True)
    ends = len(order) - 1 - last
    return numbers, [Share(int(wrong[end]), int(end) + 1) for end in ends]


def calibrate(pairs: Pairs, yes_errors: float, no_chance: float, provenance: Provenance) -> Calibration:
    """The calibration that the pairs give.

    Args:
        pairs: see ``require_pairs``.
        yes_errors: a yes begins at the least number of inliers from which on at most this share of the pairs is no same
            place, one such pair more counted in, and which is itself more often the same place than not. None may
            fulfil it: an error of 1 % takes a hundred pairs to show.
        no_chance: a number of inliers is a no where the probability of the same place is below this, at most 0.5.
        provenance: see ``Calibration``.
    """
    counts, probabilities = isotonic(pairs.inliers, pairs.same)
    likely = counts[probabilities >= 0.5]
    yes_from: Optional[int] = None
    for number, wrong in zip(*precision_from(pairs)):
        if len(likely) and number >= likely[0] and wrong.count + 1 <= yes_errors * (wrong.total + 1):
            yes_from = int(number)
            break
    possible = counts[probabilities >= no_chance]
    no_below = int(possible[0]) if len(possible) else int(pairs.inliers.max()) + 1
    made = Calibration(counts, probabilities, yes_from, no_below, provenance, {})
    return Calibration(counts, probabilities, yes_from, no_below, provenance, measure(pairs, made).as_json())


def require_pairs(pairs: Pairs) -> None:
    """UserError when either kind of pairs is too rare to say anything."""
    same = int(pairs.same.sum())
    if min(same, len(pairs.same) - same) < LEAST_PAIRS:
        fact = f"the ranking has {same} verified pairs of the same place and {len(pairs.same) - same} of others"
        raise UserError(f"{fact}; {LEAST_PAIRS} of each are needed: give one of more photos in `ranks`")


@dataclass(frozen=True)
class Errors:
    """What a calibration's answers were for pairs whose places are known.

    Attributes:
        answers: for each of ``ANSWERS`` how many were given, and of these how many are of other places.
        false_alarms: pairs of other places that are a yes, of all such.
        misses: pairs of the same place that are a no, of all such.
        num_queries, unverified: see ``Pairs``.
    """

    answers: Dict[str, Share]
    false_alarms: Share
    misses: Share
    num_queries: int
    unverified: int

    def table(self, calibration: Calibration) -> str:
        """The limits, the answers, and the errors, for people."""
        yes, no = calibration.yes_from, calibration.no_below
        below = f"to {yes - 1}" if yes is not None else "on"
        limits = {YES: "never" if yes is None else f"from {yes}", PERHAPS: f"{no} {below}", NO: f"below {no}"}
        pairs = f"{self.misses.total} verified pairs of the same place, {self.false_alarms.total} of others"
        head = f"{'answer':8}  {'inliers':10}  {'same place':>10}  {'other place':>11}"
        rows = [
            f"{name:8}  {limits[name]:10}  {of.total - of.count:10}  {of.count:11}" for name, of in self.answers.items()
        ]
        return "\n".join([
            f"{self.num_queries} queries: {pairs}",
            head,
            *rows,
            f"wrong yes, of all yes:                     {self.answers[YES]}",
            f"false alarms, other places that are a yes: {self.false_alarms}",
            f"misses, same places that are a no:         {self.misses}",
            f"same places that were not verified:        {self.unverified}",
        ])  # fmt: skip

    def as_json(self) -> Dict[str, Any]:
        """Plain values."""
        answers = {name: {"answers": share.total, "other_place": share.count} for name, share in self.answers.items()}
        return {
            "queries": self.num_queries,
            "pairs": self.false_alarms.total + self.misses.total,
            "same_place": self.misses.total,
            "same_place_not_verified": self.unverified,
            "answers": answers,
            "wrong_yes": self.answers[YES].as_json(),
            "false_alarms": self.false_alarms.as_json(),
            "misses": self.misses.as_json(),
        }


def measure(pairs: Pairs, calibration: Calibration) -> Errors:
    """The errors of a calibration on some pairs."""
    numbers, places = np.unique(pairs.inliers, return_inverse=True)
    given = np.array([calibration.judge(number).answer for number in numbers])[places]
    other = ~pairs.same
    answers = {name: Share(int((other & (given == name)).sum()), int((given == name).sum())) for name in ANSWERS}
    misses = Share(int((pairs.same & (given == NO)).sum()), int(pairs.same.sum()))
    false_alarms = Share(answers[YES].count, int(other.sum()))
    return Errors(answers, false_alarms, misses, pairs.num_queries, pairs.unverified)


def save_errors(path: PathLike, errors: Errors, made: Provenance, overwrite: bool = False) -> None:
    """Write measured errors as JSON; UserError when others stand there.

    Args:
        path: file to write.
        errors: what was measured.
        made: on what and with which calibration.
        overwrite: replace other errors.
    """

    def read(there: PathLike) -> Provenance:
        with reading(there, "give `overwrite`, or another `output`"):
            return Provenance.from_json(read_sealed(there, FORMAT_VERSION, "give another `output`")["provenance"])

    if not is_made(path, made, read, overwrite):
        write_sealed(path, FORMAT_VERSION, {**errors.as_json(), "provenance": made.as_json()})


def conditions_of_ranking(made: Provenance, origin: str) -> Provenance:
    """What the inliers of a ranking depend on; see ``matching.same_place.conditions``.

    Args:
        made: the ranking's provenance.
        origin: its file, for messages.

    Raises:
        UserError: the ranking does not say it, holds no inliers, or queries and index were extracted differently.
    """
    try:
        index, queries = (made.sources[name]["settings"] for name in ("index", "queries"))
        of_index, of_queries = (
            conditions(Provenance(made.weights, made.encoder, side), made.settings) for side in (index, queries)
        )
    except (KeyError, TypeError):
        of_index = None
    if of_index is None or not holds_inliers(made.settings):
        fact = "its scores hold no inliers, or it does not say of which settings"
        raise UserError(f"{origin}: {fact}; give a ranking of perform_retrieval with `rerank` ransac in `ranks`")
    different = of_index.differences(of_queries)
    if different:
        names = ", ".join(different)
        raise UserError(
            f"{origin}: queries and index were extracted under other settings ({names}); extract both alike"
        )
    return of_index
