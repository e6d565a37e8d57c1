"""Figures that one protocol's readers expect beside mAP: by landmark for classic, the N-S score of UKBench."""

import re
from collections import Counter
from typing import Any, Dict, List

import numpy as np

from .protocols import Evaluation
from .truth import GroundTruth, QueryTruth

NS_DEPTH = 4


def summarise(ground_truth: GroundTruth, evaluation: Evaluation) -> Dict[str, Any]:
    """What results.json holds beside the metrics: 'mAP_by_landmark' (classic), 'N-S' (ukbench), or nothing."""
    if evaluation.protocol == "classic":
        return {"mAP_by_landmark": landmark_means(ground_truth, evaluation)}
    if evaluation.protocol == "ukbench" and NS_DEPTH in evaluation.metrics["ukbench"].pr_ranks:
        return {"N-S": ns_score(evaluation)}
    return {}


def landmark_means(ground_truth: GroundTruth, evaluation: Evaluation) -> Dict[str, float]:
    """Mean average precision, a fraction, over each landmark's queries that have positives."""
    found: Dict[str, List[float]] = {}
    for query, value in zip(ground_truth.queries, evaluation.metrics["classic"].average_precisions):
        if not np.isnan(value):
            found.setdefault(_landmark(query, ground_truth.kind), []).append(float(value))
    return {landmark: float(np.mean(values)) for landmark, values in found.items()}


def _landmark(query: QueryTruth, kind: str) -> str:
    """Name of a query's landmark: its own name without the number ('all_souls_1') in a text folder.

    The gnd files name a query by its photo, which may be 'oxford_002985' for All Souls: there it is what most of the
    query's positives are named after.
    """
    if kind == "text":
        return _without_number(query.name)
    names = Counter(_without_number(name.rsplit("/", 1)[-1]) for name in query.lists["ok"])
    return names.most_common(1)[0][0]


def _without_number(name: str) -> str:
    return re.sub(r"_\d+$", "", name)


def ns_score(evaluation: Evaluation) -> float:
    """N-S score (Nister and Stewenius, CVPR 2006): photos of the query's group, itself too, in the first four; mean."""
    metrics = evaluation.metrics["ukbench"]
    counts = np.array([labels.num_positives for labels in evaluation.labels["ukbench"]])
    return float((metrics.recalls[:, metrics.pr_ranks.index(NS_DEPTH)] * counts).mean())


def format_summary(summary: Dict[str, Any]) -> str:
    """Lines for the terminal of what ``summarise`` gives."""
    lines = [f"{landmark:20}{100 * value:9.2f}\n" for landmark, value in summary.get("mAP_by_landmark", {}).items()]
    if lines:
        lines.insert(0, "mAP by landmark\n")
    if "N-S" in summary:
        lines.append(f"N-S score {summary['N-S']:.4f}\n")
    return "".join(lines)
