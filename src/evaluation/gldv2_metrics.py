"""Metrics of Google Landmarks v2 (Weyand et al., CVPR 2020): pure functions of predictions and solution."""

from typing import List, Mapping, NamedTuple, Sequence, Set, Tuple

import numpy as np

MAX_RETRIEVED = 100


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
