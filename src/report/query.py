"""The section of one query in the report: its photo, its first results, and each result's inliers when opened."""

from html import escape
from typing import Mapping, Optional, Tuple

from .curves import draw_small_curve
from .inliers import Inliers
from .photos import Photo
from .results import ShownQuery, ShownResult

MARKS = {"positive": "&#10003;", "negative": "&#10007;", "junk": "&#8211;", "plain": ""}
_PAIR_HEIGHT, _PAIR_GAP = 300, 12  # of the two photos side by side, in units of their drawing
_TILE_ASPECT, _CROP = 4 / 3, 0.16  # a photo fills its tile where that costs no more of it than this
_NUM_COLOURS = 6  # of inlier lines; report.css has them as l0 ... l5

InliersByPair = Mapping[Tuple[str, str], Inliers]


def query_section(number: int, query: ShownQuery, photos: Mapping[str, Photo], inliers: InliersByPair) -> str:
    """HTML of one query; ``number`` makes its anchor."""
    results = "\n".join(
        _result(query, result, photos[query.image_name], photos[result.name], inliers.get((query.name, result.name)))
        for result in query.results
    )
    precisions = query.average_precisions
    named = {f"{setting} " if len(precisions) > 1 else "": value for setting, value in precisions.items()}
    facts = [f"AP {name}{percent(value)}" for name, value in named.items() if value == value]
    facts = " &#183; ".join([*facts, query.facts])
    return (
        f'<section id="q{number}"><header><h2>{escape(query.name)}</h2><p>{facts}</p>'
        f'<a href="#top" aria-label="to the top of the page">&#8593;</a></header>\n'
        f'<div class="row"><figure class="query">{_query_photo(query, photos[query.image_name])}'
        f"<figcaption>{escape(query.image_name)}</figcaption>{draw_small_curve(query.curve)}</figure>\n"
        f'<div class="results">{results}</div></div></section>'
    )


def percent(fraction: float) -> str:
    """A fraction in percent with two decimals; a dash for NaN."""
    return "&#8211;" if fraction != fraction else f"{fraction * 100:.2f}"


def _query_photo(query: ShownQuery, photo: Photo) -> str:
    return _photo(photo, f"query {query.image_name}", _box(query, photo), f"--a:{photo.aspect:.4f}")


def _box(query: ShownQuery, photo: Photo) -> str:
    """The query's box over its photo, placed in percent; dashed where the protocol searches with the whole photo."""
    if not photo.style or query.box is None:
        return ""
    width, height = photo.size
    x1, x2 = (100 * min(max(x, 0), width) / width for x in query.box[0::2])
    y1, y2 = (100 * min(max(y, 0), height) / height for y in query.box[1::2])
    kind = "box" if query.box_used else "box unused"
    return f'<i class="{kind}" style="left:{x1:.2f}%;top:{y1:.2f}%;width:{x2 - x1:.2f}%;height:{y2 - y1:.2f}%"></i>'


def _photo(photo: Photo, label: str, inside: str = "", place: str = "") -> str:
    text = "" if photo.style else f"<em>{photo.problem}</em>"
    style = f' style="{place}"' if place else ""
    kind = f"photo {photo.style}" if photo.style else "photo none"
    if abs(photo.aspect / _TILE_ASPECT - 1) < _CROP:
        kind += " cover"
    return f'<span class="{kind}"{style} role="img" aria-label="{escape(label)}">{text}{inside}</span>'


def _result(
    query: ShownQuery, result: ShownResult, query_photo: Photo, photo: Photo, inliers: Optional[Inliers]
) -> str:
    name, mark = escape(result.name), MARKS[result.kind]
    # Two decimals for counts of inliers, four for similarities below 1.
    score = f"{result.score:.2f}" if abs(query.results[0].score) > 1 else f"{result.score:.4f}"
    badge = f"<b>{mark}</b>" if mark else ""
    kind = "" if result.kind == "plain" else f": {result.kind}"
    return (
        f'<details class="{result.kind}"><summary title="{name}{kind}, score {result.score:g}">'
        f"{_photo(photo, result.name + kind, badge)}"
        f'<span class="caption"><span>{result.place}</span><span>{score}</span></span>'
        f'<span class="name">{name}</span></summary>\n'
        f"{_pair(query, query_photo, photo, result.name, inliers)}</details>"
    )


def _pair(query: ShownQuery, left: Photo, right: Photo, right_name: str, inliers: Optional[Inliers]) -> str:
    """Query and result side by side at one height, with a line for each inlier over them."""
    widths = left.aspect * _PAIR_HEIGHT, right.aspect * _PAIR_HEIGHT
    total, start = sum(widths) + _PAIR_GAP, widths[0] + _PAIR_GAP
    places = f"width:{100 * widths[0] / total:.2f}%", f"left:{100 * start / total:.2f}%;right:0"
    drawing = facts = ""
    if inliers is not None:
        facts = f"<p>{inliers.facts}</p>"
        drawing = f'<svg viewBox="0 0 {total:.0f} {_PAIR_HEIGHT}">{_lines(inliers, widths, start)}</svg>'
    return (
        f'<div class="pair" style="--w:{total:.0f};--h:{_PAIR_HEIGHT}">'
        f"{_photo(left, f'query {query.image_name}', _box(query, left), places[0])}"
        f"{_photo(right, right_name, '', places[1])}{drawing}</div>{facts}"
    )


def _lines(inliers: Inliers, widths: Tuple[float, float], start: float) -> str:
    """One path of lines, and one of dots at their ends, for each colour; whole units keep the page small."""
    points = inliers.lines * (widths[0], _PAIR_HEIGHT, widths[1], _PAIR_HEIGHT) + (0, 0, start, 0)
    points = points.round().astype(int).tolist()
    paths = []
    for colour in range(min(_NUM_COLOURS, len(points))):
        own = points[colour::_NUM_COLOURS]
        lines = "".join(f"M{x1} {y1}L{x2} {y2}" for x1, y1, x2, y2 in own)
        dots = "".join(f"M{x1} {y1}h0M{x2} {y2}h0" for x1, y1, x2, y2 in own)
        paths.append(f'<path class="l{colour}" d="{lines}"/><path class="l{colour} dots" d="{dots}"/>')
    return "".join(paths)
