"""Predictions for Google Landmarks v2 (Weyand et al., CVPR 2020) judged: recognition by GAP, retrieval by mAP@100.

Solutions and predictions are the csv files of the Kaggle challenges; Public and Private queries are judged apart.
"""

import json
import logging
import math
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Sequence, Set, Tuple

import numpy as np

from ..artifacts import PathLike, atomic_write_json, is_made, sha256_of
from ..errors import UserError, reading
from ..outside import read_bounded
from ..records import Provenance
from ..tables import read_table

COLUMNS = {"recognition": "landmarks", "retrieval": "images"}
USAGES = ("Public", "Private", "Ignored")
MAX_RETRIEVED = 100
PR_RANKS = (1, 5, 10, 50, 100)

logger = logging.getLogger(__name__)


class Recognized(NamedTuple):
    """The one landmark predicted for a photo."""

    landmark: str
    score: float


def global_average_precision(
    predictions: Mapping[str, Recognized], solution: Mapping[str, Set[str]], ignore_non_landmarks: bool = False
) -> float:
    """GAP, also called micro-AP: sum of the precisions at the correct predictions / photos that show a landmark.

    Args:
        predictions: by photo, at most one each; sorted by falling score, ties by photo then landmark.
        solution: landmarks of each photo, none for a photo that shows none.
        ignore_non_landmarks: leave predictions for photos without landmark out, instead of counting them as wrong.
    """
    num_labelled = sum(map(bool, solution.values()))
    if not num_labelled:
        return float("nan")
    ranked = sorted(
        (-score, photo, landmark)
        for photo, (landmark, score) in predictions.items()
        if not ignore_non_landmarks or solution.get(photo)
    )
    correct = np.array([landmark in solution.get(photo, ()) for _, photo, landmark in ranked], dtype=bool)
    precisions = np.cumsum(correct) / np.arange(1, len(correct) + 1)
    return float(precisions[correct].sum() / num_labelled)


def top1_accuracy(predictions: Mapping[str, Recognized], solution: Mapping[str, Set[str]]) -> float:
    """Share of the photos that show a landmark whose prediction is one of theirs; NaN without such photos."""
    labelled = {photo: landmarks for photo, landmarks in solution.items() if landmarks}
    hits = [photo in predictions and predictions[photo].landmark in labelled[photo] for photo in labelled]
    return float(np.mean(hits)) if hits else float("nan")


def hit_positions(retrieved: Sequence[str], relevant: Set[str], depth: int) -> List[int]:
    """Places from 1 to ``depth`` that hold a relevant photo for the first time; a repeated photo keeps its place."""
    found: Set[str] = set()
    places = []
    for place, photo in enumerate(retrieved[:depth], start=1):
        if photo in relevant and photo not in found:
            found.add(photo)
            places.append(place)
    return places


def mean_average_precision(
    predictions: Mapping[str, Sequence[str]], solution: Mapping[str, Set[str]], depth: int = MAX_RETRIEVED
) -> float:
    """mAP@depth: finite sum of the precisions at the hits / min(relevant photos, depth), mean over all of ``solution``.

    A query without prediction, or without relevant photos, counts 0.
    """
    values = []
    for query, relevant in solution.items():
        places = hit_positions(predictions.get(query, ()), relevant, depth)
        precisions = sum(count / place for count, place in enumerate(places, start=1))
        values.append(precisions / min(len(relevant), depth) if relevant else 0.0)
    return float(np.mean(values)) if values else float("nan")


def mean_precisions(
    predictions: Mapping[str, Sequence[str]], solution: Mapping[str, Set[str]], depths: Sequence[int]
) -> Tuple[float, ...]:
    """mP@k of each k of ``depths``: hits in the first k / k, however few were retrieved, mean over all queries."""
    hits = [hit_positions(predictions.get(query, ()), relevant, max(depths)) for query, relevant in solution.items()]
    return tuple(
        float(np.mean([sum(place <= depth for place in places) / depth for places in hits])) for depth in depths
    )


def first_hit_positions(
    predictions: Mapping[str, Sequence[str]], solution: Mapping[str, Set[str]], depth: int = MAX_RETRIEVED
) -> Tuple[float, float]:
    """Mean and median place, from 1, of the first relevant photo; depth + 1 for a query without one."""
    hits = [hit_positions(predictions.get(query, ()), relevant, depth) for query, relevant in solution.items()]
    firsts = [places[0] if places else depth + 1 for places in hits]
    return float(np.mean(firsts)), float(np.median(firsts))


def read_solution(path: PathLike, task: str) -> Tuple[Dict[str, Dict[str, Set[str]]], Set[str]]:
    """Read ``id,landmarks,Usage`` (recognition) or ``id,images,Usage`` (retrieval).

    Returns:
        For Public and Private, the landmarks or photos of each query (none for a photo that shows no landmark); and the
        queries that are Ignored.

    Raises:
        UserError: not such a file, a Usage of another name, or a query twice.
    """
    solution: Dict[str, Dict[str, Set[str]]] = {"Public": {}, "Private": {}}
    ignored: Set[str] = set()
    for place, query, values, usage in _rows(path, "solution", ("id", COLUMNS[task], "Usage")):
        if usage not in USAGES:
            raise UserError(f"{place}: Usage is {usage!r}; it must be one of {', '.join(USAGES)}")
        if usage == "Ignored":
            ignored.add(query)
        else:
            solution[usage][query] = set(values.split()) - {"None"}
    return solution, ignored


def read_predictions(path: PathLike, task: str) -> Dict[str, Any]:
    """Read ``id,landmarks`` ('landmark score', or nothing) or ``id,images`` (photos, best first).

    Returns:
        By query, ``Recognized`` (recognition; a query without prediction is left out) or the photos (retrieval).

    Raises:
        UserError: not such a file, a malformed prediction, or a query twice.
    """
    parse: Callable[[str], Any] = _parse_recognized if task == "recognition" else str.split
    predictions = {}
    for place, query, values in _rows(path, "predictions", ("id", COLUMNS[task])):
        try:
            predicted = parse(values)
        except ValueError as error:
            raise UserError(
                f"{place}: landmarks is {values!r}; expected one landmark and its score, or nothing"
            ) from error
        if predicted is not None:
            predictions[query] = predicted
    return predictions


def _parse_recognized(text: str) -> Any:
    if not text.split():
        return None
    landmark, number = text.split()
    score = float(number)
    if not math.isfinite(score):
        raise ValueError("the score is no number")
    return Recognized(landmark, score)


def _rows(path: PathLike, name: str, columns: Sequence[str]) -> Iterator[Tuple[Any, ...]]:
    """Where each row stands, for messages, and its wanted columns; a query may come once."""
    seen: Set[str] = set()
    for chunk in read_table(path, columns, name):
        for line, query, *values in chunk.itertuples():
            place = f"{path}, line {line}"
            if query in seen or not query:
                raise UserError(f"{place}: query {query!r} is empty or was there before")
            seen.add(query)
            yield (place, query, *values)


def evaluate_gldv2(task: str, predictions_path: PathLike, solution_path: PathLike) -> Dict[str, Dict[str, Any]]:
    """Figures, as fractions and places, of each part of the solution that has queries ('Public', 'Private').

    None is a figure over no query: GAP where no photo shows a landmark.

    Raises:
        UserError: a file is malformed, or a query of the predictions is not in the solution.
    """
    solution, ignored = read_solution(solution_path, task)
    predictions = read_predictions(predictions_path, task)
    known = ignored.union(*solution.values())
    unknown = sorted(set(predictions) - known)
    if unknown:
        fact = f"query {unknown[0]} is not in {solution_path} ({len(unknown)} are not)"
        raise UserError(f"{predictions_path}: {fact}; give the solution of the same photos")
    judge = _judge_recognition if task == "recognition" else _judge_retrieval
    figures = {}
    for usage, part in solution.items():
        if not part:
            continue
        chosen = {query: predicted for query, predicted in predictions.items() if query in part}
        if len(chosen) < len(part):
            logger.info("%s: %d of %d queries have no prediction", usage, len(part) - len(chosen), len(part))
        judged = {name: None if math.isnan(value) else value for name, value in judge(chosen, part).items()}
        figures[usage] = {"queries": len(part), "predictions": len(chosen), **judged}
    if not figures:
        raise UserError(f"{solution_path}: no query with Usage Public or Private; give the solution of a challenge")
    return figures


def save_figures(
    path: PathLike,
    task: str,
    predictions_path: PathLike,
    solution_path: PathLike,
    figures: Mapping[str, Any],
    overwrite: bool = False,
) -> None:
    """Write what ``evaluate_gldv2`` gave for these files as JSON; figures of the same files are kept.

    Raises:
        UserError: figures of other files are there and ``overwrite`` is off.
    """
    sources = {"predictions": sha256_of(predictions_path), "solution": sha256_of(solution_path)}
    provenance = Provenance(settings={"task": task}, sources=sources)
    if not is_made(path, provenance, _read_provenance, overwrite):
        atomic_write_json(path, {"task": task, "figures": figures, "provenance": provenance.as_json()})


def _read_provenance(path: Path) -> Provenance:
    """Of figures; one that nothing equals where the file is something else."""
    try:
        with reading(path):
            return Provenance.from_json(json.loads(read_bounded(path, "output"))["provenance"])
    except UserError:
        return Provenance()


def _judge_recognition(predictions: Mapping[str, Any], solution: Mapping[str, Any]) -> Dict[str, Any]:
    return {
        "GAP": global_average_precision(predictions, solution),
        "GAP, landmark photos only": global_average_precision(predictions, solution, ignore_non_landmarks=True),
        "top-1 accuracy": top1_accuracy(predictions, solution),
    }


def _judge_retrieval(predictions: Mapping[str, Any], solution: Mapping[str, Any]) -> Dict[str, Any]:
    mean_position, median_position = first_hit_positions(predictions, solution)
    return {
        f"mAP@{MAX_RETRIEVED}": mean_average_precision(predictions, solution),
        **{f"mP@{k}": value for k, value in zip(PR_RANKS, mean_precisions(predictions, solution, PR_RANKS))},
        "mean position of the first hit": mean_position,
        "median position of the first hit": median_position,
    }
