"""The queries of a ground truth as photos, a ranking judged by a protocol, and figures expected beside mAP."""

import logging
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np

from ..artifacts import PathLike, require_folder
from ..errors import UserError
from ..images import list_images
from ..names import NameTable
from ..records import Photo, Ranking
from .ground_truth import GroundTruth, QueryTruth
from .ground_truth_files import load_ground_truth
from .metrics import Labels, Metrics, compute_metrics
from .protocols import TABLE, choose_protocol, label_queries, named_photos, queries_in_index, query_box

logger = logging.getLogger(__name__)

_SHOWN_NAMES = 5
NS_DEPTH = 4


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A ranking judged by a protocol.

    Attributes:
        protocol: one of ``PROTOCOLS``.
        rows: [Q] row of the ranking for each query of the ground truth.
        labels: by setting, Q labels in the order of the ground truth.
        metrics: by setting, in the same order.
        index_size: photos in the ranking's index.
        missing: photos that the ground truth names and the index lacks, sorted.
        notes: what a reader of the figures should know, a sentence each.
    """

    protocol: str
    rows: np.ndarray
    labels: Dict[str, List[Labels]]
    metrics: Dict[str, Metrics]
    index_size: int
    missing: Tuple[str, ...] = ()
    notes: Tuple[str, ...] = ()


def evaluate(ground_truth: GroundTruth, ranking: Ranking, protocol: str) -> Evaluation:
    """Judge ``ranking`` by ``protocol``; logs what the figures leave out.

    Raises:
        UserError: the protocol cannot use this ground truth, or the ranking was made for other queries.
    """
    choose_protocol(ground_truth, protocol)
    rows = _rows_of_queries(ground_truth, ranking)
    table, size = NameTable(ranking.index_names), len(ranking.index_names)
    labels = label_queries(ground_truth, table, protocol)
    named = named_photos(ground_truth)
    missing = tuple(name for name in named if table.find(name) is None)
    notes = _notes_on_index(ground_truth, table, protocol, len(named), missing, size)
    depths = [depth for depth in TABLE[protocol].pr_ranks if depth <= size]
    if len(depths) < len(TABLE[protocol].pr_ranks):
        notes.append(f"the index holds {size} images: precision and recall stop there")
    ranks = [ranking.ranks[row] for row in rows]  # views: a copy of a million-photo ranking is large
    metrics = {name: compute_metrics(ranks, labels[name], depths, size) for name in labels}
    for name, setting in metrics.items():
        empty = len(rows) - setting.num_valid
        if empty:
            notes.append(f"{name}: {empty} of {len(rows)} queries have no positive and are left out of the means")
    for note in notes:
        logger.info("%s", note)
    return Evaluation(protocol, rows, labels, metrics, size, missing, tuple(notes))


def _notes_on_index(
    ground_truth: GroundTruth, table: NameTable, protocol: str, num_named: int, missing: Tuple[str, ...], size: int
) -> List[str]:
    """How the index differs from what the ground truth describes, and what the protocol made of that."""
    notes = []
    if missing:
        first = ", ".join(missing[:_SHOWN_NAMES]) + (" ..." if len(missing) > _SHOWN_NAMES else "")
        rule = "dropped from the lists" if TABLE[protocol].drops_missing else "positives among them count as not found"
        notes.append(
            f"{len(missing)} of the {num_named} images that {ground_truth.name} names are not in the index ({first}): "
            f"{rule}"
        )
    num_queries = len(queries_in_index(ground_truth, table)) if protocol == "revisited" else 0
    if num_queries:
        notes.append(f"{num_queries} query images are in the index: ignored, as protocol revisited asks")
    others = size - (num_named - len(missing)) - num_queries
    if ground_truth.index_names and others > 0:
        notes.append(f"{others} photos of the index are none of {ground_truth.name}'s: distractors, negative for all")
    return notes


def _rows_of_queries(ground_truth: GroundTruth, ranking: Ranking) -> np.ndarray:
    table = NameTable(ranking.query_names)
    rows = [table.find(query.name) for query in ground_truth.queries]
    lacking = [query.name for query, row in zip(ground_truth.queries, rows) if row is None]
    others = ground_truth.kind != "labelled" and len(rows) != len(ranking.query_names)
    if lacking or others:
        detail = f"it has no {lacking[0]}" if lacking else "it has more queries"
        fact = f"the ranking holds {len(ranking.query_names)} queries, {ground_truth.name} {len(rows)} ({detail})"
        fix = "extract the query features and rank again with this `gt_path`"
        raise UserError(f"{fact}: mend what *.failed.txt beside the query features lists, {fix}")
    return np.array(rows, dtype=np.int64)


def extra_figures(ground_truth: GroundTruth, evaluation: Evaluation) -> Dict[str, Any]:
    """What readers of a protocol expect beside mAP: mAP_by_landmark (classic), N-S (ukbench), top-k (labelled)."""
    if evaluation.protocol == "classic":
        return {"mAP_by_landmark": landmark_means(ground_truth, evaluation)}
    if evaluation.protocol == "ukbench" and NS_DEPTH in evaluation.metrics["ukbench"].pr_ranks:
        return {"N-S": ns_score(evaluation)}
    if evaluation.protocol == "labelled":
        return {"top-k": top_accuracies(evaluation)}
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


def top_accuracies(evaluation: Evaluation) -> Dict[str, float]:
    """By depth k, the share of the queries with a positive among their first k results, themselves left out."""
    metrics = evaluation.metrics["labelled"]
    found = metrics.recalls[~np.isnan(metrics.average_precisions)] > 0
    return {f"top-{depth}": float(share) for depth, share in zip(metrics.pr_ranks, found.mean(axis=0))}


def photos_of_queries(images_path: PathLike, gt_path: PathLike, protocol: str = "") -> Tuple[List[Photo], str]:
    """The queries of a ground truth, by their names there, with the boxes of the protocol ('' = its default).

    Returns:
        The photos, and the protocol used.

    Raises:
        UserError: unusable ground truth or protocol, or a query's photo is not in the folder.
    """
    files = list_images(require_folder(images_path, "images_path"))
    ground_truth = load_ground_truth(gt_path, protocol, files)
    protocol = choose_protocol(ground_truth, protocol)
    table = NameTable(files)
    photos = []
    for query in ground_truth.queries:
        number = table.find(query.image_name)
        if number is None:
            raise UserError(f"{images_path}: no photo {query.image_name} in it, which query {query.name} needs")
        path = Path(images_path) / files[number]
        photos.append(Photo(query.name, str(path), query_box(query, protocol)))
    return photos, protocol
