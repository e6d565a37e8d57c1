"""Ground truth of the benchmarks whose file names say which photos belong together: Holidays and UKBench."""

import re
from collections import defaultdict
from typing import Callable, Dict, List, Mapping, Sequence

from ..errors import UserError
from ..names import bare_name, is_distractor
from .truth import GroundTruth, QueryTruth


def holidays_ground_truth(names: Sequence[str]) -> GroundTruth:
    """INRIA Holidays (Jegou et al., ECCV 2008): NNNNXX.jpg, group NNNN; XX = 00 searches the others of its group.

    Args:
        names: photos of the index; those of other names or in a folder 'distractors' are negatives.

    Raises:
        UserError: no query among them.
    """
    groups = _groups(names, re.compile(r"\d{6}"), lambda name: int(name) // 100)
    queries = []
    for group, members in sorted(groups.items()):
        query = f"{group:04}00"
        if query in members:
            lists = {"positive": tuple(name for name in members if name != query), "junk": (query,)}
            queries.append(QueryTruth(query, query, None, lists))
    if not queries:
        raise UserError("none of the photos is a query of Holidays: expected names such as 100000.jpg and 100001.jpg")
    return GroundTruth("holidays", "holidays", tuple(queries), _all_members(groups))


def ukbench_ground_truth(names: Sequence[str]) -> GroundTruth:
    """UKBench (Nister and Stewenius, CVPR 2006): ukbenchNNNNN.jpg in groups of four; each searches its own.

    Args:
        names: photos of the index; those of other names or in a folder 'distractors' are negatives.

    Raises:
        UserError: no photo of UKBench among them.
    """
    groups = _groups(names, re.compile(r"ukbench\d{5}"), lambda name: int(name[-5:]) // 4)
    if not groups:
        raise UserError("none of the photos is one of UKBench: expected names such as ukbench00000.jpg")
    queries = (
        QueryTruth(name, name, None, {"positive": tuple(members)})
        for _, members in sorted(groups.items())
        for name in members
    )
    return GroundTruth("ukbench", "ukbench", tuple(queries), _all_members(groups))


def _groups(names: Sequence[str], pattern: re.Pattern, group_of: Callable[[str], int]) -> Dict[int, List[str]]:
    """Sorted file names without folder and extension by group."""
    groups: Dict[int, List[str]] = defaultdict(list)
    for name in sorted({bare_name(name).rsplit("/", 1)[-1] for name in names if not is_distractor(name)}):
        if pattern.fullmatch(name):
            groups[group_of(name)].append(name)
    return groups


def _all_members(groups: Mapping[int, Sequence[str]]) -> tuple:
    return tuple(name for _, members in sorted(groups.items()) for name in members)


BY_NAMES = {"holidays": holidays_ground_truth, "ukbench": ukbench_ground_truth}
