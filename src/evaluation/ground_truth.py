"""What a benchmark's ground truth is: records, the checks that all readers share, and truths that names alone give."""

import math
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from ..errors import UserError
from ..names import bare_name, is_distractor

# lists of the files that number their photos, by kind of ground truth
KIND_LISTS = {"revisited": ("easy", "hard", "junk"), "classic": ("ok", "junk"), "instre": ("positive",)}
Box = Tuple[float, float, float, float]


@dataclass(frozen=True)
class QueryTruth:
    """One query.

    Attributes:
        name: name of the query: 'all_souls_1' in a text folder, the photo's name elsewhere.
        image_name: name of the query's photo, without extension.
        box: (x1, y1, x2, y2) in pixels of that photo, or None.
        lists: names of index photos, without extension, by label: good, ok, junk (text); ok, junk (classic); easy,
            hard, junk (revisited); positive (instre, ukbench); positive, junk (holidays).
    """

    name: str
    image_name: str
    box: Optional[Box]
    lists: Mapping[str, Tuple[str, ...]]


@dataclass(frozen=True)
class GroundTruth:
    """A benchmark's queries.

    Attributes:
        name: name of the folder or file, without extension.
        kind: 'text', 'classic', 'revisited', 'instre', 'holidays' or 'ukbench'.
        queries: the queries; text folders in the order of their names, files in their own.
        index_names: photos of the index, without extension; None where any folder may be the index (text).
    """

    name: str
    kind: str
    queries: Tuple[QueryTruth, ...]
    index_names: Optional[Tuple[str, ...]] = None


def check_box(box: Sequence[float], origin: str) -> Box:
    """``box`` as four floats; UserError that names ``origin`` when it is not (x1, y1, x2, y2) around some pixels."""
    if len(box) != 4:
        raise UserError(f"{origin}: the box holds {len(box)} numbers; expected x1, y1, x2, y2")
    x1, y1, x2, y2 = (float(number) for number in box)
    if not (all(math.isfinite(number) for number in (x1, y1, x2, y2)) and x1 < x2 and y1 < y2):
        raise UserError(f"{origin}: box {list(box)} is empty; expected x1 < x2 and y1 < y2 in pixels")
    return x1, y1, x2, y2


def numbered_truth(
    file_name: str, name: str, index: Iterable[Any], queries: Iterable[Any], truths: Sequence[Mapping[str, Any]]
) -> GroundTruth:
    """A ground truth whose lists are index numbers, as the gnd files of Radenovic and of Iscen hold them.

    Args:
        file_name: what errors name.
        name: name of the ground truth.
        index: names of the index photos (imlist).
        queries: names of the queries' photos (qimlist).
        truths: for each query the lists of one of ``KIND_LISTS``, as numbers counted from 0, and perhaps a box ``bbx``.

    Raises:
        UserError: a list is missing, a number goes past ``index``, or something else does not fit.
    """
    index_names = tuple(bare_name(str(image)) for image in index)
    query_names = [bare_name(str(image)) for image in queries]
    if len(truths) != len(query_names) or not query_names:
        raise UserError(f"{file_name}: qimlist names {len(query_names)} queries but gnd describes {len(truths)}")
    kind = _kind_of(file_name, truths)
    built = []
    for image, truth in zip(query_names, truths):
        origin = f"{file_name}: query {image}"
        lists: Dict[str, Tuple[str, ...]] = {}
        for label in KIND_LISTS[kind]:
            if label not in truth:
                raise UserError(f"{origin} has no {label!r} list, which the others have")
            numbers = _check_numbers(truth[label], len(index_names), f"{origin}: {label}")
            lists[label] = tuple(index_names[number] for number in numbers)
        box = truth.get("bbx")
        if box is not None:
            box = check_box(np.asarray(box, dtype=np.float64).reshape(-1).tolist(), origin)
        built.append(QueryTruth(image, image, box, lists))
    return GroundTruth(name, kind, tuple(built), index_names)


def _kind_of(file_name: str, truths: Sequence[Mapping[str, Any]]) -> str:
    labels = {label for truth in truths for label in truth}
    for kind, lists in KIND_LISTS.items():
        if labels & set(lists) - {"junk"}:
            return kind
    raise UserError(f"{file_name}: its queries have no list 'easy', 'hard' or 'ok'; expected gnd_roxford5k or the like")


def _check_numbers(values: Any, size: int, origin: str) -> List[int]:
    numbers = np.asarray(values, dtype=np.float64).reshape(-1)
    if (numbers != np.floor(numbers)).any():
        raise UserError(f"{origin} holds numbers that are not whole")
    if ((numbers < 0) | (numbers >= size)).any():
        raise UserError(f"{origin} goes past the {size} names of imlist")
    return numbers.astype(np.int64).tolist()


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
