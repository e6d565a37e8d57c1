"""What a protocol makes of a ground truth: positive and ignored index photos of each query."""

from typing import Dict, Iterable, List, Mapping, Set

import numpy as np

from ..names import NameTable
from .metrics import Labels
from .protocol_table import TABLE
from .truth import GroundTruth, QueryTruth


def label_queries(ground_truth: GroundTruth, table: NameTable, protocol: str) -> Dict[str, List[Labels]]:
    """Labels of every query of ``ground_truth``, in its order, for each setting of ``protocol``.

    Args:
        ground_truth: of a kind the protocol can use.
        table: the index's names.
        protocol: a name in ``TABLE``.
    """
    queries_ignored = set(queries_in_index(ground_truth, table)) if protocol == "revisited" else set()
    labels: Dict[str, List[Labels]] = {setting: [] for setting in TABLE[protocol].settings}
    for query in ground_truth.queries:
        lists: Mapping[str, Set[str]] = {label: set(names) for label, names in query.lists.items()}
        settings = TABLE[protocol].settings
        if protocol == "modelzoo":
            lists = _modelzoo_lists(query, table)
            if lists["easy"] <= {query.image_name}:
                settings = {**settings, "easy": settings["hard"]}
        numbers = {label: set(_find(table, names)) for label, names in lists.items()}
        for setting, (positive, ignored) in settings.items():
            wanted = [label for label in positive if label in lists]  # a classic pickle has no good beside ok
            junk = queries_ignored.union(*(numbers[label] for label in ignored))
            num_positives = len(set().union(*(lists[label] for label in wanted)))
            found = set().union(*(numbers[label] for label in wanted))
            labels[setting].append(Labels(_sorted(found), _sorted(junk), num_positives))
    return labels


def _modelzoo_lists(query: QueryTruth, table: NameTable) -> Dict[str, Set[str]]:
    """Disjoint easy, hard and junk names of the index (see ``protocol_table``)."""
    easy = {query.image_name, *query.lists["good"]}
    hard = set(query.lists["ok"]) - easy
    junk = set(query.lists["junk"]) - easy - hard
    lists = {"easy": easy, "hard": hard, "junk": junk}
    return {label: {name for name in names if table.find(name) is not None} for label, names in lists.items()}


def queries_in_index(ground_truth: GroundTruth, table: NameTable) -> List[int]:
    """Index numbers of the queries' own photos."""
    return _find(table, [query.image_name for query in ground_truth.queries])


def named_photos(ground_truth: GroundTruth) -> List[str]:
    """Every index photo that the ground truth names, sorted."""
    listed = {name for query in ground_truth.queries for names in query.lists.values() for name in names}
    return sorted(listed.union(ground_truth.index_names or ()))


def _find(table: NameTable, names: Iterable[str]) -> List[int]:
    return [number for number in map(table.find, names) if number is not None]


def _sorted(numbers: Iterable[int]) -> np.ndarray:
    return np.array(sorted(numbers), dtype=np.int64)
