"""The evaluation protocols, one entry each: which lists of the ground truth are positive, which are ignored.

``revisited`` (Radenovic et al., CVPR 2018; gnd_r*): easy, medium and hard. The queries are no part of that benchmark's
    index; where a ranking holds them, they are ignored for every query.
``classic`` (Philbin et al., CVPR 2007; text folders, gnd_oxford5k, gnd_paris6k): compute_ap.cpp. Positives are the
    distinct names of good and ok, the query's own photo among them; a name that is junk too is skipped but still
    counts.
``modelzoo`` (text folders): the three lines of the MindSpore model zoo's mAP.txt. Easy is the query's own photo and
    the good list, hard the ok list; queries are whole photos. Where easy holds nothing but the query (every query of
    Paris), easy takes the positives of hard. Unlike the port, a photo has one label, the first of easy, hard, junk: a
    query listed in ok is not positive and ignored at once.
``holidays`` (Jegou et al., ECCV 2008; file names): whole photos; the query is taken out of its own list.
``ukbench`` (Nister and Stewenius, CVPR 2006; file names): whole photos; every photo is a query and one of its own
    four positives. N-S score: positives among the first four, mean over the queries.
``labelled`` (one's own photos, a folder for each class or a table of path and label): whole photos; the positives of a
    query are the other photos of its class, and the query is taken out of its own list. Photos that are not in the
    index, such as damaged ones, are dropped as queries too. Top-k: share of the queries with a positive among the
    first k.
``instre`` (Wang and Jiang, 2015, queries of Iscen et al., CVPR 2017; gnd_instre.mat): cropped queries, no junk.

Photos of the index that a query's lists do not name, distractors among them, are negatives.
"""

import logging
from dataclasses import dataclass, replace
from typing import Dict, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

import numpy as np

from ..errors import UserError
from ..names import NameTable
from .ground_truth import GroundTruth, QueryTruth
from .metrics import Labels

logger = logging.getLogger(__name__)

Setting = Tuple[Tuple[str, ...], Tuple[str, ...]]  # lists that are positive, lists that are ignored


@dataclass(frozen=True)
class Protocol:
    """One protocol.

    Attributes:
        kinds: kinds of ground truth it can use.
        needs: what `gt_path` must be.
        settings: by name, the lists that are positive and those that are ignored.
        pr_ranks: depths of precision and recall.
        crops: whether queries are cropped to their boxes.
        drops_missing: whether photos that are not in the index are dropped from the lists; otherwise positives among
            them count as not found.
    """

    kinds: Tuple[str, ...]
    needs: str
    settings: Mapping[str, Setting]
    pr_ranks: Tuple[int, ...] = (1, 5, 10)
    crops: bool = False
    drops_missing: bool = False


_GRADED = {
    "easy": (("easy",), ("junk", "hard")),
    "medium": (("easy", "hard"), ("junk",)),
    "hard": (("hard",), ("junk", "easy")),
}
_TEXT = "a folder of *_query.txt, *_good.txt ... files"
_PHOTOS = "the folder of photos, or none"
TABLE = {
    "revisited": Protocol(("revisited",), "a gnd_r*.pkl or gnd_r*.mat file", _GRADED, crops=True),
    "classic": Protocol(
        ("text", "classic"),
        f"{_TEXT}, or gnd_oxford5k.pkl or gnd_paris6k.pkl",
        {"classic": (("good", "ok"), ("junk",))},
        crops=True,
    ),
    "modelzoo": Protocol(("text",), _TEXT, _GRADED, tuple(range(10, 100, 10)), drops_missing=True),
    "holidays": Protocol(("holidays",), _PHOTOS, {"holidays": (("positive",), ("junk",))}),
    "ukbench": Protocol(("ukbench",), _PHOTOS, {"ukbench": (("positive",), ())}, (1, 4)),
    "labelled": Protocol(
        ("labelled",),
        "the folder of photos with a folder for each class, none, or a .csv of path,label[,query]",
        {"labelled": (("positive",), ("junk",))},
        drops_missing=True,
    ),
    "instre": Protocol(("instre",), "gnd_instre.mat", {"instre": (("positive",), ())}, crops=True),
}
PROTOCOLS = tuple(TABLE)


def choose_protocol(ground_truth: GroundTruth, protocol: Optional[str] = None) -> str:
    """``protocol``, or the ground truth's default one: modelzoo for a text folder, its kind's own for the others.

    Raises:
        UserError: the protocol does not exist, or cannot use this kind of ground truth.
    """
    if not protocol:
        if ground_truth.kind != "text":
            return ground_truth.kind
        logger.info(
            "protocol modelzoo: its figures compare with nothing published, easy and hard not even with the model "
            "zoo's (docs/differences.md); `protocol` classic gives the published Oxford / Paris mAP"
        )
        return "modelzoo"
    if protocol not in PROTOCOLS:
        raise UserError(f"`protocol` is {protocol!r}; it must be one of {', '.join(PROTOCOLS)}")
    if ground_truth.kind not in TABLE[protocol].kinds:
        raise UserError(
            f"`protocol` {protocol} needs {TABLE[protocol].needs} as `gt_path`; {ground_truth.name} is not one"
        )
    return protocol


def query_box(query: QueryTruth, protocol: str) -> Optional[Tuple[int, int, int, int]]:
    """The part of the query's photo that the protocol searches with.

    Returns:
        (left, top, right, bottom) in pixels of the photo, right and bottom exclusive, rounded half to even as in the
        reference; not clipped to the photo. None = the whole photo.
    """
    if query.box is None or not TABLE[protocol].crops:
        return None
    left, top, right, bottom = (round(number) for number in query.box)
    return left, top, right, bottom


def label_queries(ground_truth: GroundTruth, table: NameTable, protocol: str) -> Dict[str, List[Labels]]:
    """Labels of every query of ``ground_truth``, in its order, for each setting of ``protocol``.

    Args:
        ground_truth: of a kind the protocol can use.
        table: the index's names.
        protocol: a name in ``TABLE``.
    """
    queries_ignored = set(queries_in_index(ground_truth, table)) if protocol == "revisited" else set()
    labels: Dict[str, List[Labels]] = {setting: [] for setting in TABLE[protocol].settings}
    known: Dict[str, Optional[int]] = {}
    for query in ground_truth.queries:
        lists: Mapping[str, Set[str]] = {label: set(names) for label, names in query.lists.items()}
        settings = TABLE[protocol].settings
        if protocol == "modelzoo":
            lists = _modelzoo_lists(query, table)
            if lists["easy"] <= {query.image_name}:
                settings = {**settings, "easy": settings["hard"]}
        known.update((name, table.find(name)) for names in lists.values() for name in names - known.keys())
        numbers = {label: {known[name] for name in names} - {None} for label, names in lists.items()}
        for setting, (positive, ignored) in settings.items():
            wanted = [label for label in positive if label in lists]  # a classic pickle has no good beside ok
            junk = queries_ignored.union(*(numbers[label] for label in ignored))
            num_positives = len(set().union(*(lists[label] for label in wanted)))
            found = set().union(*(numbers[label] for label in wanted))
            labels[setting].append(Labels(_sorted(found), _sorted(junk), num_positives))
    return labels


def of_index(ground_truth: GroundTruth, index_names: Sequence[str]) -> GroundTruth:
    """A labelled ground truth without the queries and positives that the index lacks; any other as it is.

    Raises:
        UserError: nothing is left.
    """
    if ground_truth.kind != "labelled":
        return ground_truth
    table = NameTable(index_names)
    there = {name for name in ground_truth.index_names or () if table.find(name) is not None}
    queries = []
    for query in ground_truth.queries:
        positive = tuple(name for name in query.lists["positive"] if name in there)
        if query.image_name in there and positive:
            queries.append(replace(query, lists={**query.lists, "positive": positive}))
    if not queries:
        fact = f"{len(there)} of the {len(ground_truth.index_names or ())} photos that {ground_truth.name} labels"
        raise UserError(f"`gt_path`: the index holds {fact}, and no two of one label; name them by their paths in it")
    return replace(ground_truth, queries=tuple(queries))


def _modelzoo_lists(query: QueryTruth, table: NameTable) -> Dict[str, Set[str]]:
    """Disjoint easy, hard and junk names of the index (see above, modelzoo)."""
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
