"""Predictions for Google Landmarks v2 judged: recognition by GAP, retrieval by mAP@100, Public and Private apart."""

import logging
import math
from typing import Any, Dict, Mapping

from ..artifacts import PathLike
from ..errors import UserError
from .gldv2_files import read_predictions, read_solution
from .gldv2_metrics import (
    MAX_RETRIEVED,
    first_hit_positions,
    global_average_precision,
    mean_average_precision,
    mean_precisions,
    top1_accuracy,
)

TASKS = ("recognition", "retrieval")
PR_RANKS = (1, 5, 10, 50, 100)

logger = logging.getLogger(__name__)


def evaluate_gldv2(task: str, predictions_path: PathLike, solution_path: PathLike) -> Dict[str, Dict[str, Any]]:
    """Figures, as fractions and places, of each part of the solution that has queries ('Public', 'Private').

    None is a figure over no query: GAP where no photo shows a landmark.

    Raises:
        UserError: a file is malformed, or a query of the predictions is not in the solution.
    """
    solution, ignored = read_solution(solution_path, task)
    predictions = read_predictions(predictions_path, task)
    known = ignored.union(*solution.values())
    strangers = sorted(set(predictions) - known)
    if strangers:
        raise UserError(
            f"{predictions_path}: query {strangers[0]} is not in {solution_path} ({len(strangers)} are not)"
        )
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
        raise UserError(f"{solution_path}: no query with Usage Public or Private")
    return figures


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
