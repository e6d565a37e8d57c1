"""The queries of lowest average precision, and why: the first false photo beside the first one missed behind it."""

from collections import Counter
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

import numpy as np

from ..artifacts import PathLike, atomic_path
from ..errors import UserError, printable
from ..evaluation.protocols import query_box
from ..images import load_photo
from ..records import Provenance, Ranking
from .photos import MISSING, UNREADABLE, find_photos
from .results import Judgement, counts_inliers, main_setting, meaning_of_scores

_INK, _SOFT, _FALSE, _TRUE, _BOX = "#1d2125", "#626b74", "#cc3538", "#178a48", "#ffb000"
_ACROSS = 2  # queries side by side
_PHOTO = (2.3, 2.25)  # room for one, inches
_SIDE, _DPI = 320, 110  # of a photo as it is drawn, pixels
_LETTERS = 30  # of a name
_BEHIND, _UNVERIFIED, _LOST = "fewer inliers", "not verified", "not in the ranking"


class Placed(NamedTuple):
    """A photo of a ranking: ``rank`` from 1, without junk; ``score`` of the ranking."""

    name: str
    rank: int
    score: float


class Failure(NamedTuple):
    """A query that does not find all its positives first.

    Attributes:
        name, image_name, box: of the query; the box is None where the protocol searches with the whole photo.
        average_precision: a fraction.
        false: the first photo that is none of its positives; None where the ranking has no such.
        missed: the best positive behind it; None where the ranking has no more.
        why: in words.
    """

    name: str
    image_name: str
    box: Any
    average_precision: float
    false: Optional[Placed]
    missed: Optional[Placed]
    why: str


def worst_queries(ranking: Ranking, judgement: Judgement, provenance: Provenance, count: int) -> List[Failure]:
    """The ``count`` queries of lowest average precision, lowest first, without those that find everything.

    Setting medium decides, or the protocol's first.
    """
    truth, evaluation = judgement
    setting = main_setting(evaluation)
    precisions = evaluation.metrics[setting].average_precisions
    verified = counts_inliers(provenance)
    failures = []
    for number in np.argsort(precisions, kind="stable"):
        if precisions[number] < 1 and len(failures) < count:  # NaN, of a query without positives, comes last
            query, label, row = truth.queries[number], evaluation.labels[setting][number], evaluation.rows[number]
            kept = ~np.isin(ranking.ranks[row], label.junk)
            photos, scores = ranking.ranks[row][kept], ranking.scores[row][kept]
            positive = np.isin(photos, label.positives)
            false = int(np.argmin(positive)) if not positive.all() else len(photos)
            behind = np.flatnonzero(positive[false:]) + false
            placed: List[Optional[Placed]] = [
                Placed(ranking.index_names[photos[place]], place + 1, float(scores[place]))
                for place in ([false] if false < len(photos) else []) + behind[:1].tolist()
            ]
            first, missed = (*placed, None, None)[:2] if false < len(photos) else (None, None)
            names = query.name, query.image_name, query_box(query, evaluation.protocol)
            why = _LOST if missed is None else _UNVERIFIED if verified and missed.score < 0 else ""
            why = why or (_BEHIND if verified else "a lower score")
            failures.append(Failure(*names, float(precisions[number]), first, missed, why))
    return failures


def format_failures(failures: Sequence[Failure], provenance: Provenance, ranking: Ranking) -> str:
    """A table for people, and how often each reason is."""
    say = _writer(provenance, ranking)
    rows = [("query", "AP", "first false", "", "first missed", "", "missed because")]
    for found in failures:
        cells = [cell for placed in (found.false, found.missed) for cell in _cells(placed, say)]
        rows.append((printable(found.name), f"{100 * found.average_precision:.2f}", *cells, found.why))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths)).rstrip() for row in rows]
    reasons = ", ".join(f"{why} {count}" for why, count in Counter(found.why for found in failures).most_common())
    return "\n".join([*lines, f"the first missed photo: {reasons}"])


def _cells(placed: Optional[Placed], say: Any) -> Sequence[str]:
    return ("-", "") if placed is None else (printable(placed.name), f"rank {placed.rank}, {say(placed.score)}")


def _writer(provenance: Provenance, ranking: Ranking) -> Any:
    """Says a score in words."""
    meaning = meaning_of_scores(provenance, ranking)
    return meaning.say if meaning.inliers else lambda score: f"score {meaning.say(score)}"


def draw_failures(
    failures: Sequence[Failure],
    images_path: Sequence[PathLike],
    path: PathLike,
    provenance: Provenance,
    ranking: Ranking,
) -> None:
    """Write a PNG: of each query its photo, the first false and the first missed one.

    Raises:
        UserError: no such folder, or there is nothing to draw.
    """
    from matplotlib.figure import Figure

    if not failures:
        raise UserError("every query finds all its positives first: there is nothing to draw")
    names = [name for f in failures for name in (f.image_name, *(p.name for p in (f.false, f.missed) if p))]
    files = find_photos(images_path, list(dict.fromkeys(names)))
    down, across = -(-len(failures) // _ACROSS), min(_ACROSS, len(failures))
    figure = Figure(figsize=(3 * across * _PHOTO[0], down * _PHOTO[1]), layout="constrained", dpi=_DPI)
    axes = figure.subplots(down, 3 * across, squeeze=False)
    say = _writer(provenance, ranking)
    for axis in axes.flat:
        axis.set_axis_off()
    for number, found in enumerate(failures):
        row, begin = number // _ACROSS, 3 * (number % _ACROSS)
        text = f"AP {100 * found.average_precision:.1f}"
        _draw(axes[row, begin], files, found.image_name, found.name, text, _INK, found.box)
        for column, placed, word, colour in ((1, found.false, "false", _FALSE), (2, found.missed, "missed", _TRUE)):
            if placed is None:
                axes[row, begin + column].text(0.5, 0.5, f"no {word}", ha="center", color=_SOFT)
                continue
            fact = f"{word}, rank {placed.rank}, {say(placed.score)}"
            _draw(axes[row, begin + column], files, placed.name, placed.name, fact, colour, None)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _draw(axis: Any, files: Dict[str, Any], key: str, name: str, fact: str, colour: str, box: Any) -> None:
    """One photo with what it is above and its name below."""
    from matplotlib.patches import Rectangle

    shown = printable(name)
    shown = shown if len(shown) <= _LETTERS else "..." + shown[3 - _LETTERS :]
    axis.set_title(f"{fact}\n{shown}", fontsize=7.5, color=colour, loc="left", parse_math=False)
    try:
        photo = load_photo(files[key], _SIDE) if files[key] else None
        problem = MISSING
    except UserError:
        photo, problem = None, UNREADABLE
    if photo is None:
        axis.text(0.5, 0.5, problem, ha="center", color=_SOFT)
        return
    width, height = photo.size
    axis.imshow(photo.pixels, extent=(0, width, height, 0))
    if box is not None:
        left, top, right, bottom = box
        axis.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=_BOX, linewidth=1.2))
