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
``instre`` (Wang and Jiang, 2015, queries of Iscen et al., CVPR 2017; gnd_instre.mat): cropped queries, no junk.

Photos of the index that a query's lists do not name, distractors among them, are negatives.
"""

from dataclasses import dataclass
from typing import Mapping, Tuple

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
    "instre": Protocol(("instre",), "gnd_instre.mat", {"instre": (("positive",), ())}, crops=True),
}
PROTOCOLS = tuple(TABLE)
