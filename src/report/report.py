"""A page to look at a ranking: its figures, and each query with its first results, worst query first.

One HTML file that needs no network and no script. Every photo is in it once, as a small JPEG in the style sheet.
"""

import html
import json
import logging
import re
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ..artifacts import PathLike, atomic_write_text, digest, git_commit, is_made, versions
from ..errors import UserError
from ..evaluation.evaluate import extra_figures
from ..evaluation.results import table_rows
from ..matching.same_place import Calibration
from ..records import Provenance, Ranking
from ..retrieval.ranking_file import PairMatches, RankedMatches
from .drawn import Drawer, Place, found_through
from .figures import curve_points, mean_curves
from .pages import render_page
from .photos import find_photos, read_photos, style_rules
from .results import Judgement, ShownQuery, judged_queries, main_setting, meaning_of_scores, plain_queries

logger = logging.getLogger(__name__)

PAGE_BUDGET = 20_000_000  # bytes
_RESERVE = 200  # of them, for the line that says how large the thumbnails are
_LAYOUT = 5  # raise it when the page changes: then a page of an older program is not taken for this one's
_PROVENANCE = re.compile('<meta name="provenance" content="([^"]*)">')
_SHOWN_LENGTH = 60  # characters of a setting; longer ones are checksums


def write_report(
    path: PathLike,
    ranking: Ranking,
    images_path: Sequence[PathLike],
    judgement: Optional[Judgement] = None,
    matches: Optional[RankedMatches] = None,
    provenance: Optional[Provenance] = None,
    num_results: int = 10,
    overwrite: bool = False,
    title: str = "",
    calibration: Optional[Calibration] = None,
) -> Path:
    """Write the page to ``path`` and return that; a finished page of the same content is kept.

    Args:
        path, ranking: HTML file to write, and what it shows.
        images_path: folders with the photos of queries and index; one that is missing shows as an empty frame.
        judgement: gives the figures, the frames' colours and the boxes; None = photos alone.
        matches: those that retrieval verified, drawn where a result is opened; None = no lines.
        provenance: how the ranking was made; shown at the end of the page.
        num_results: results of each query; behind them stands the first positive that was missed.
        overwrite: replace another page.
        title: of the page; '' = the ground truth's name and the protocol.
        calibration: that holds for the ranking, and says of each verified pair whether it is the same place.

    Raises:
        UserError: no such folder or file, or another page at ``path``.
    """
    path, provenance = Path(path), provenance or Provenance()
    queries = judged_queries(ranking, judgement, num_results) if judgement else plain_queries(ranking, num_results)
    through = found_through(ranking, queries, matches)
    names = [name for query in queries for name in (query.image_name, *(result.name for result in query.results))]
    names += [ranking.index_names[number] for number in through.values()]
    files = find_photos(images_path, list(dict.fromkeys(names)))
    told = {"title": title, "same_place": digest(calibration.provenance.as_json()) if calibration else ""}
    wanted = _provenance_of_page(provenance, queries, files, judgement, matches, through, told)
    if is_made(path, wanted, _read_provenance, overwrite):
        return path
    thumbnails, copies = read_photos(files)
    draw = Drawer(thumbnails, matches, ranking.index_names, through, calibration)
    values = {
        "queries": [draw(query) for query in queries],
        "score": meaning_of_scores(provenance, ranking),
        "figures": _figures(ranking, judgement) if judgement else None,
        "with_lines": matches is not None,
        "with_steps": bool(through),
        "with_verdicts": calibration is not None,
        "with_missed": any(result.missed for query in queries for result in query.results),
        "curve_points": curve_points,
        "provenance": json.dumps(wanted.as_json(), sort_keys=True),
        "facts": _facts(judgement, provenance),
        **_title(title, ranking, queries, judgement),
    }
    text_size = len(render_page("report.html", thumbnail_rules="", **values).encode())
    rules, size = style_rules(copies, PAGE_BUDGET - _RESERVE - text_size)
    values["facts"]["Thumbnails"] = str(size)
    atomic_write_text(path, render_page("report.html", thumbnail_rules=rules, **values))
    logger.info("%s: %d queries, %d photos, %.1f MB", path, len(queries), len(copies), path.stat().st_size / 1e6)
    return path


def _provenance_of_page(
    ranking: Provenance,
    queries: Sequence[ShownQuery],
    files: Mapping[str, Optional[Path]],
    judgement: Optional[Judgement],
    matches: Optional[RankedMatches],
    through: Mapping[Place, int],
    told: Mapping[str, str],
) -> Provenance:
    """All that the page's content depends on, but for the versions of programs; of ``told`` what is not empty."""
    sources = {
        **ranking.sources,
        "results": digest({"queries": [query._replace(curve=None) for query in queries]}),
        "photo_files": digest({name: file.stat().st_size if file else None for name, file in files.items()}),
    }
    if judgement:
        truth, evaluation = judgement
        means = {name: metrics.means() for name, metrics in evaluation.metrics.items()}
        sources["judgement"] = digest({"judged": (truth.name, evaluation.protocol, means, evaluation.notes)})
    if matches is not None:
        shown = [matches.find(query.row, result.number) for query in queries for result in query.results]
        sources["matches"] = _digest_of(shown)
    if through:
        steps = [(matches.find(row, by), matches.steps.find(by, number)) for (row, number), by in through.items()]
        sources["steps"] = _digest_of([found for pair in steps for found in pair])
    return Provenance(
        ranking.weights,
        ranking.encoder,
        {**ranking.settings, **{name: text for name, text in told.items() if text}, "layout": _LAYOUT},
        sources,
    )


def _digest_of(shown: Sequence[Optional[PairMatches]]) -> str:
    facts = [(found.correspondences, found.points.tobytes().hex()) if found else None for found in shown]
    return digest({"shown": facts})


def _read_provenance(path: Path) -> Provenance:
    """Of the page at ``path``; UserError when something else is there."""
    found = _PROVENANCE.search(path.read_bytes().decode("utf-8", errors="replace"))
    try:
        return Provenance.from_json(json.loads(html.unescape(found[1] if found else "")))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a report; give `overwrite` to replace it, or another `output`") from error


def _title(
    given: str, ranking: Ranking, queries: Sequence[ShownQuery], judgement: Optional[Judgement]
) -> Dict[str, str]:
    """The page's title and the line below it."""
    counts = f"{len(queries)} queries, {len(ranking.index_names)} photos in the index"
    if not judgement:
        return {"title": given or "Search results", "counts": counts}
    extra = extra_figures(*judgement)
    if "N-S" in extra:
        counts += f", N-S score {extra['N-S']:.4f}"
    counts += "".join(f", {name} {100 * share:.2f} %" for name, share in extra.get("top-k", {}).items())
    names = f"{judgement.ground_truth.name}, protocol {judgement.evaluation.protocol}"
    return {"title": given or names, "counts": f"{names}: {counts}" if given else counts}


def _figures(ranking: Ranking, judgement: Judgement) -> Dict[str, Any]:
    """Table, curves and means; the table has the settings in the protocol's order."""
    evaluation = judgement.evaluation
    means = {name: metrics.means() for name, metrics in evaluation.metrics.items()}
    tables = [table_rows({setting: mean}) for setting, mean in means.items()]
    by_landmark = extra_figures(*judgement).get("mAP_by_landmark", {})
    return {
        "setting": main_setting(evaluation),
        "several": len(means) > 1,
        "table_head": tables[0][0],
        "table_rows": [row for rows in tables for row in rows[1:]],
        "maps": {setting: mean.mean_average_precision for setting, mean in means.items()},
        "curves": mean_curves(ranking, evaluation),
        "by_landmark": sorted(by_landmark.items(), key=lambda item: item[1]),
    }


def _facts(judgement: Optional[Judgement], provenance: Provenance) -> Dict[str, Any]:
    """What the page was made with, by its name on the page; the empty ones are not known."""
    facts: Dict[str, Any] = {}
    if judgement:
        truth, evaluation = judgement
        facts["Ground truth"] = f"{truth.name}, {len(truth.queries)} queries"
        facts["Protocol"] = evaluation.protocol
        facts["Notes"] = "; ".join(evaluation.notes)
        facts["Not in the index"] = f"{len(evaluation.missing)} named photos" if evaluation.missing else ""
    facts["Weights"] = provenance.weights[:12]
    facts["Descriptors"] = _show(provenance.encoder)
    facts["Settings"] = _show(provenance.settings)
    facts["Run"] = _show(provenance.notes)
    facts["Versions"] = _show(versions())
    facts["Commit"] = git_commit()
    return facts


def _show(settings: Mapping[str, Any]) -> str:
    """Settings on one line, without checksums and what is not set."""
    shown: List[Tuple[str, str]] = []
    for name, value in sorted(settings.items()):
        if isinstance(value, Mapping):
            text = f"({_show(value)})" if _show(value) else ""
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
        if text and (len(text) <= _SHOWN_LENGTH or not text.isalnum()):
            shown.append((name.replace("_", " "), text))
    return "; ".join(f"{name} {text}" for name, text in shown)
