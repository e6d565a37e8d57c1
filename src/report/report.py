"""A page to look at a ranking: its figures, and each query with its first results, worst query first.

One HTML file that needs no network and no script. Every photo is in it once, as a small JPEG in the style sheet.
"""

import logging
from pathlib import Path
from typing import Any, List, Mapping, Optional, Sequence, Tuple

from ..artifacts import PathLike, atomic_write_text, digest
from ..errors import UserError
from ..evaluation.evaluate import extra_figures as summarise
from ..records import Ranking
from .curves import mean_curves
from .facts import identity, provenance_facts
from .inliers import FeatureFiles, find_inliers
from .page import bars, footer, heading, key, page, summary
from .photos import find_photos, read_photos, style_rules
from .query import query_section
from .results import Judgement, ShownQuery, judged_queries, plain_queries

logger = logging.getLogger(__name__)

PAGE_BUDGET = 20_000_000  # bytes
_RESERVE = 20_000  # of them, for what stands around queries and photos
_HEAD = 400  # characters of a page that hold its mark


def write_report(
    path: PathLike,
    ranking: Ranking,
    images_path: Sequence[PathLike],
    judgement: Optional[Judgement] = None,
    features: Optional[FeatureFiles] = None,
    provenance: Optional[Mapping[str, Any]] = None,
    num_results: int = 10,
    overwrite: bool = False,
) -> Path:
    """Write the page to ``path`` and return that; a finished page of the same content is kept.

    Args:
        path, ranking: HTML file to write, and what it shows.
        images_path: folders with the photos of queries and index; one that is missing shows as an empty frame.
        judgement: gives the figures, the frames' colours and the boxes; None = a plain gallery.
        features: give the inlier lines of opened results; None = no lines.
        provenance: how the ranking was made; shown at the end of the page.
        num_results: results of each query.
        overwrite: replace another page.

    Raises:
        UserError: no such folder or file, features of another network, or another page at ``path``.
    """
    path, provenance = Path(path), provenance or {}
    queries = judged_queries(ranking, judgement, num_results) if judgement else plain_queries(ranking, num_results)
    names = [name for query in queries for name in (query.image_name, *(result.name for result in query.results))]
    files = find_photos(images_path, list(dict.fromkeys(names)))
    mark = digest(identity(queries, files, judgement, features, provenance))
    if not overwrite and _is_made(path, mark):
        return path
    pairs = [(query.name, result.name) for query in queries for result in query.results]
    inliers = find_inliers(features, pairs) if features else {}
    photos, copies = read_photos(files)
    title, body = _top(ranking, queries, judgement, features is not None)
    body += [query_section(number, query, photos, inliers) for number, query in enumerate(queries)]
    rules, rung = style_rules(copies, PAGE_BUDGET - _RESERVE - sum(len(part.encode()) for part in body))
    body.append(footer(provenance_facts(judgement, provenance, rung)))
    atomic_write_text(path, page(mark, title, rules, body))
    logger.info("%s: %d queries, %d photos, %.1f MB", path, len(queries), len(copies), path.stat().st_size / 1e6)
    return path


def _is_made(path: Path, mark: str) -> bool:
    """Whether the wanted page stands at ``path``; UserError when something else does."""
    if not path.exists():
        return False
    with open(path, encoding="utf-8", errors="replace") as stream:
        if mark not in stream.read(_HEAD):
            raise UserError(f"{path}: not the report of this ranking; give `overwrite` to replace it")
    logger.info("%s: finished earlier", path)
    return True


def _top(
    ranking: Ranking, queries: List[ShownQuery], judgement: Optional[Judgement], with_lines: bool
) -> Tuple[str, List[str]]:
    """The page's title, and what comes before the queries."""
    counts = f"{len(queries)} queries, {len(ranking.index_names)} photos in the index"
    if not judgement:
        return "Search results", [heading("Search results", counts), key(None, with_lines)]
    evaluation = judgement.evaluation
    title = f"{judgement.ground_truth.name}, protocol {evaluation.protocol}"
    extra = summarise(*judgement)
    if "N-S" in extra:
        counts += f", N-S score {extra['N-S']:.4f}"
    figures = summary(evaluation, mean_curves(ranking, evaluation), key(evaluation, with_lines))
    return title, [heading(title, counts), figures, bars(evaluation, queries, extra.get("mAP_by_landmark", {}))]
