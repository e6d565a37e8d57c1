"""What a benchmark's ground truth is, and the ground truths that names alone give: Holidays, UKBench, own folders."""

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import AbstractSet, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

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
            hard, junk (revisited); positive (instre, ukbench); positive, junk (holidays, labelled).
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
        kind: 'text', 'classic', 'revisited', 'instre', 'holidays', 'ukbench' or 'labelled'.
        queries: the queries; text folders in the order of their names, files in their own.
        index_names: photos of the index, without extension; None where any folder may be the index (text).
    """

    name: str
    kind: str
    queries: Tuple[QueryTruth, ...]
    index_names: Optional[Tuple[str, ...]] = None


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


def labelled_ground_truth(names: Sequence[str]) -> GroundTruth:
    """A folder for each class: a photo is of the class that its first folder names, and searches the others of it.

    Args:
        names: photos of the index, as paths; those in no folder or in a folder 'distractors' are negatives.

    Raises:
        UserError: see ``truth_of_labels``.
    """
    paths = [bare_name(name) for name in names if not is_distractor(name)]
    return truth_of_labels("labelled", "the photos", {path: path.split("/")[0] for path in paths if "/" in path})


def truth_of_labels(
    name: str, origin: str, labels: Mapping[str, str], chosen: Optional[AbstractSet[str]] = None
) -> GroundTruth:
    """The ground truth of labelled photos: the positives of a query are the others of its label.

    The query's own photo is junk: it is out of its own list. A photo that is alone with its label only distracts.

    Args:
        name: of the ground truth.
        origin: what errors name.
        labels: label of each photo, by its path without extension.
        chosen: the photos that search; None = all.

    Raises:
        UserError: fewer than two labels, or no query that has anything to find.
    """
    groups: Dict[str, List[str]] = defaultdict(list)
    for path in sorted(labels):
        groups[labels[path]].append(path)
    if len(groups) < 2:
        fact = f"all of one class ({next(iter(groups))})" if groups else "of no class: none lies in a folder"
        raise UserError(f"{origin} are {fact}; `protocol` labelled needs a folder for each class, or path,label rows")
    queries = tuple(
        QueryTruth(path, path, None, {"positive": tuple(each for each in group if each != path), "junk": (path,)})
        for group in groups.values()
        for path in group
        if len(group) > 1 and (chosen is None or path in chosen)
    )
    if not queries:
        raise UserError(f"{origin} hold no query that shares its label with another one: there is nothing to find")
    folders = {str(parent) for query in queries for parent in PurePosixPath(query.name).parents}
    clash = next((query.name for query in queries if query.name in folders), None)
    if clash is not None:  # a feature file has a group for either
        raise UserError(f"{origin} include {clash} and others in a folder {clash}/: rename one")
    return GroundTruth(name, "labelled", queries, tuple(sorted(labels)))


def _groups(names: Sequence[str], pattern: re.Pattern, group_of: Callable[[str], int]) -> Dict[int, List[str]]:
    """Sorted file names without folder and extension by group."""
    groups: Dict[int, List[str]] = defaultdict(list)
    for name in sorted({bare_name(name).rsplit("/", 1)[-1] for name in names if not is_distractor(name)}):
        if pattern.fullmatch(name):
            groups[group_of(name)].append(name)
    return groups


def _all_members(groups: Mapping[int, Sequence[str]]) -> tuple:
    return tuple(name for _, members in sorted(groups.items()) for name in members)


BY_NAMES = {"holidays": holidays_ground_truth, "ukbench": ukbench_ground_truth, "labelled": labelled_ground_truth}
