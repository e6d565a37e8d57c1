"""Evaluation protocols: which index photos are positive and which are ignored, for each query.

``revisited`` (Radenovic et al., CVPR 2018; pickles): easy, medium and hard. The queries are no part of that
    benchmark's index; where a ranking holds them, they are ignored for every query. Positives that are not in the
    index count as not found.
``classic`` (Philbin et al., CVPR 2007; text folders): compute_ap.cpp. Positives are the distinct names of good and
    ok, found or not, the query's own photo among them; a name that is junk too is skipped but still counts.
``modelzoo`` (text folders): the three lines of the MindSpore model zoo's mAP.txt. Easy is the query's own photo and
    the good list, hard the ok list; queries are whole photos. Where easy holds nothing but the query (every query of
    Paris), easy takes the positives of hard. Names that are not in the index are dropped. Unlike the port, a photo has
    one label, the first of easy, hard, junk: a query listed in ok is not positive and ignored at once.
"""

import logging
from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence, Set, Tuple

import numpy as np

from src.errors import UserError
from src.evaluation.ground_truth import GroundTruth, QueryTruth
from src.evaluation.metrics import Labels, Metrics, compute_metrics
from src.evaluation.names import NameTable
from src.records import Ranking

logger = logging.getLogger(__name__)

PROTOCOLS = ("revisited", "classic", "modelzoo")
PR_RANKS = {"revisited": (1, 5, 10), "classic": (1, 5, 10), "modelzoo": tuple(range(10, 100, 10))}
_KIND = {"revisited": "revisited", "classic": "text", "modelzoo": "text"}
# setting: labels that are positive, labels that are ignored
_GRADED = {
    "easy": (("easy",), ("junk", "hard")),
    "medium": (("easy", "hard"), ("junk",)),
    "hard": (("hard",), ("junk", "easy")),
}
_SETTINGS = {"revisited": _GRADED, "classic": {"classic": (("good", "ok"), ("junk",))}, "modelzoo": _GRADED}
_SHOWN_NAMES = 5


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A ranking judged by a protocol.

    Attributes:
        protocol: one of ``PROTOCOLS``.
        rows: [Q] row of the ranking for each query of the ground truth.
        labels: by setting, Q labels in the order of the ground truth.
        metrics: by setting, in the same order.
    """

    protocol: str
    rows: np.ndarray
    labels: Dict[str, List[Labels]]
    metrics: Dict[str, Metrics]


def choose_protocol(ground_truth: GroundTruth, protocol: Optional[str] = None) -> str:
    """``protocol``, or the ground truth's default one: revisited for a pickle, modelzoo for a text folder.

    Raises:
        UserError: the protocol does not exist, or cannot use this kind of ground truth.
    """
    if not protocol:
        if ground_truth.kind == "revisited":
            return "revisited"
        logger.info(
            "protocol modelzoo: its figures compare with nothing published; --protocol classic gives the "
            "published Oxford / Paris mAP"
        )
        return "modelzoo"
    if protocol not in PROTOCOLS:
        raise UserError(f"--protocol is {protocol!r}; it must be one of {', '.join(PROTOCOLS)}")
    if _KIND[protocol] != ground_truth.kind:
        needed = "a gnd_r*.pkl file" if protocol == "revisited" else "a folder of *_query.txt, *_good.txt ... files"
        raise UserError(f"--protocol {protocol} needs {needed} as --gt_path; {ground_truth.name} is not one")
    return protocol


def query_box(query: QueryTruth, protocol: str) -> Optional[Tuple[int, int, int, int]]:
    """The part of the query's photo that the protocol searches with.

    Returns:
        (left, top, right, bottom) in pixels of the photo, right and bottom exclusive, rounded half to even as in the
        reference; not clipped to the photo. None = the whole photo.
    """
    if protocol == "modelzoo" or query.box is None:
        return None
    left, top, right, bottom = (round(number) for number in query.box)
    return left, top, right, bottom


def evaluate(ground_truth: GroundTruth, ranking: Ranking, protocol: str) -> Evaluation:
    """Judge ``ranking`` by ``protocol``; logs what the figures leave out.

    Raises:
        UserError: the protocol cannot use this ground truth, or the ranking was made for other queries.
    """
    choose_protocol(ground_truth, protocol)
    rows = _rows_of_queries(ground_truth, ranking)
    labels = label_queries(ground_truth, ranking.index_names, protocol)
    depths = [depth for depth in PR_RANKS[protocol] if depth <= len(ranking.index_names)]
    if len(depths) < len(PR_RANKS[protocol]):
        logger.warning("the index holds %d images: precision and recall stop there", len(ranking.index_names))
    metrics = {name: compute_metrics(ranking.ranks[rows], labels[name], depths) for name in labels}
    for name, setting in metrics.items():
        if setting.num_valid < len(rows):
            empty = len(rows) - setting.num_valid
            logger.info("%s: %d of %d queries have no positive and are left out of the means", name, empty, len(rows))
    return Evaluation(protocol, rows, labels, metrics)


def label_queries(ground_truth: GroundTruth, index_names: Sequence[str], protocol: str) -> Dict[str, List[Labels]]:
    """Labels of every query of ``ground_truth``, in its order, for each setting of ``protocol``."""
    table = NameTable(index_names)
    _report_missing(ground_truth, table)
    always_ignored: Set[int] = set()
    if protocol == "revisited":
        always_ignored = set(_find(table, [query.image_name for query in ground_truth.queries]))
        if always_ignored:
            logger.info("%d query images are in the index: ignored, as protocol revisited asks", len(always_ignored))
    labels: Dict[str, List[Labels]] = {setting: [] for setting in _SETTINGS[protocol]}
    for query in ground_truth.queries:
        lists = {label: set(names) for label, names in query.lists.items()}
        settings = _SETTINGS[protocol]
        if protocol == "modelzoo":
            lists = _modelzoo_lists(query, table)
            if lists["easy"] <= {query.image_name}:
                settings = {**settings, "easy": settings["hard"]}
        for setting, (positive, ignored) in settings.items():
            positive_names = set().union(*(lists[label] for label in positive))
            junk = set(_find(table, set().union(*(lists[label] for label in ignored)))) | always_ignored
            labels[setting].append(
                Labels(_find(table, positive_names), np.array(sorted(junk), dtype=np.int64), len(positive_names))
            )
    return labels


def _modelzoo_lists(query: QueryTruth, table: NameTable) -> Dict[str, Set[str]]:
    """Disjoint easy, hard and junk names of the index (see the head of this file)."""
    easy = {query.image_name, *query.lists["good"]}
    hard = set(query.lists["ok"]) - easy
    junk = set(query.lists["junk"]) - easy - hard
    lists = {"easy": easy, "hard": hard, "junk": junk}
    return {label: {name for name in names if table.find(name) is not None} for label, names in lists.items()}


def _find(table: NameTable, names: Sequence[str]) -> np.ndarray:
    """Sorted index numbers of those ``names`` that are in the index."""
    return np.array(sorted({number for number in map(table.find, names) if number is not None}), dtype=np.int64)


def _report_missing(ground_truth: GroundTruth, table: NameTable) -> None:
    listed = {name for query in ground_truth.queries for names in query.lists.values() for name in names}
    named = sorted(set(ground_truth.index_names or ()) | listed)
    missing = [name for name in named if table.find(name) is None]
    if missing:
        first = ", ".join(missing[:_SHOWN_NAMES]) + (" ..." if len(missing) > _SHOWN_NAMES else "")
        logger.warning(
            "%d of the %d images that %s names are not in the index (%s)",
            len(missing),
            len(named),
            ground_truth.name,
            first,
        )


def _rows_of_queries(ground_truth: GroundTruth, ranking: Ranking) -> np.ndarray:
    table = NameTable(ranking.query_names)
    rows = [table.find(query.name) for query in ground_truth.queries]
    lacking = [query.name for query, row in zip(ground_truth.queries, rows) if row is None]
    if lacking or len(rows) != len(ranking.query_names):
        detail = f"it has no {lacking[0]}" if lacking else "it has more queries"
        raise UserError(
            f"the ranking holds {len(ranking.query_names)} queries, {ground_truth.name} {len(rows)} ({detail}): "
            "extract the query features and rank again with this --gt_path"
        )
    return np.array(rows, dtype=np.int64)
