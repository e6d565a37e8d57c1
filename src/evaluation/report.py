"""A page to look at an evaluation: the figures, and each query with its first results, worst query first.

One HTML file without network or script; photos are embedded as small JPEGs.
"""

import base64
import logging
from html import escape
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple

import cv2
import numpy as np
from tqdm import tqdm

from src.config import digest
from src.errors import UserError
from src.evaluation.ground_truth import GroundTruth, QueryTruth
from src.evaluation.metrics import Labels, MeanMetrics, positive_ranks
from src.evaluation.names import NameTable
from src.evaluation.protocols import Evaluation, query_box
from src.evaluation.result_files import table_rows
from src.files import PathLike, atomic_write_text, require_folder
from src.images import list_images, load_image
from src.records import Ranking

logger = logging.getLogger(__name__)

NUM_RESULTS = 10
THUMBNAIL_SIDE = 160
_JPEG_QUALITY = 80
_MARKS = {"positive": "&#10003;", "negative": "&#10007;", "junk": "&#8211;"}

_STYLE = """
:root { --ink: #1f2328; --soft: #6a737d; --line: #e3e6e9; --page: #fafaf8; --card: #fff;
        --positive: #1a8f4a; --negative: #d1383d; --junk: #9aa1a8; --box: #ffb000; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8ea; --soft: #9aa3ab; --line: #33383d; --page: #17191b; --card: #202326; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1190px; padding: 32px 24px; background: var(--page); color: var(--ink);
       font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 24px; margin: 0 0 4px; } h2 { font-size: 16px; margin: 0; }
p { margin: 0 0 16px; color: var(--soft); }
table { border-collapse: collapse; margin: 20px 0 28px; font-variant-numeric: tabular-nums; }
td { padding: 3px 12px; text-align: right; } td:first-child { text-align: left; }
thead, td:nth-child(3) { color: var(--soft); } td:nth-child(-n+2) { font-weight: 600; }
tbody tr:nth-child(odd) td { border-top: 1px solid var(--line); padding-top: 6px; }
section { border-top: 1px solid var(--line); padding: 16px 0 18px; }
header { display: flex; gap: 16px; align-items: baseline; margin-bottom: 10px; }
header span { color: var(--soft); font-variant-numeric: tabular-nums; }
.row { display: flex; gap: 28px; align-items: flex-start; }
.results { flex: 1; display: grid; grid-template-columns: repeat(auto-fill, 170px); gap: 12px 14px; }
figure { margin: 0; width: 170px; }
figcaption { color: var(--soft); font-size: 12px; font-variant-numeric: tabular-nums; }
figcaption span { display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.photo { position: relative; width: fit-content; border: 4px solid transparent; border-radius: 6px; overflow: hidden;
         background: var(--card); }
.photo img { display: block; } .none { width: 120px; height: 90px; display: grid; place-items: center;
         color: var(--soft); font-size: 12px; }
.positive .photo { border-color: var(--positive); } .negative .photo { border-color: var(--negative); }
.junk .photo { border-color: var(--junk); } .query .photo { border-color: var(--line); }
.positive b { color: var(--positive); } .negative b { color: var(--negative); } .junk b { color: var(--junk); }
.box { position: absolute; border: 2px solid var(--box); } .box.unused { border-style: dashed; opacity: .7; }
"""


class _Thumbnail(NamedTuple):
    data: str  # base64 JPEG
    size: Tuple[int, int]  # (width, height) of the photo


def write_report(
    path: PathLike,
    ground_truth: GroundTruth,
    ranking: Ranking,
    evaluation: Evaluation,
    images_path: PathLike,
    overwrite: bool = False,
) -> Path:
    """Write the page to ``path``; a finished page of the same evaluation is kept.

    Args:
        path: HTML file to write.
        ground_truth, ranking: what ``evaluation`` was made of.
        evaluation: the judged ranking. Frames and order of the queries follow its 'medium' setting, or its only one.
        images_path: folder with the photos of queries and index; one that is missing shows as an empty frame.
        overwrite: replace a page of another evaluation.

    Returns:
        ``path``.

    Raises:
        UserError: no such folder, or another page at ``path`` and ``overwrite`` is off.
    """
    path, photos = Path(path), _Photos(require_folder(images_path, "--images_path"))
    mark = f"<!-- evaluation {_identity(ground_truth, ranking, evaluation)} -->"
    if path.exists() and not overwrite:
        if mark not in path.read_text(encoding="utf-8", errors="replace")[:400]:
            raise UserError(f"{path}: not the report of this evaluation; give --overwrite to replace it")
        logger.info("%s: finished earlier", path)
        return path
    setting = "medium" if "medium" in evaluation.metrics else next(iter(evaluation.metrics))
    precisions = evaluation.metrics[setting].average_precisions
    order = np.argsort(np.nan_to_num(precisions, nan=2.0), kind="stable")  # queries without positives last
    sections = [
        _query_section(
            ground_truth.queries[query],
            ranking,
            int(evaluation.rows[query]),
            evaluation.labels[setting][query],
            float(precisions[query]),
            evaluation.protocol,
            photos,
        )
        for query in tqdm(order, desc="report", unit="query")
    ]
    title = f"{escape(ground_truth.name)}, protocol {evaluation.protocol}"
    means = {name: metrics.means() for name, metrics in evaluation.metrics.items()}
    atomic_write_text(path, _page(mark, title, setting, means, len(ranking.index_names), sections))
    if photos.missing:
        logger.warning("%d photos are not in %s, first %s", len(photos.missing), images_path, photos.missing[0])
    return path


def _identity(ground_truth: GroundTruth, ranking: Ranking, evaluation: Evaluation) -> str:
    first = ranking.ranks[:, :NUM_RESULTS].tolist(), ranking.scores[:, :NUM_RESULTS].tolist()
    means = {name: metrics.average_precisions.tolist() for name, metrics in evaluation.metrics.items()}
    return digest({"name": ground_truth.name, "protocol": evaluation.protocol, "results": first, "metrics": means})


class _Photos:
    """Thumbnails of a folder's photos by name, each made once."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._paths = folder, list_images(folder)
        self._table = NameTable(self._paths)
        self._made: Dict[str, Optional[_Thumbnail]] = {}
        self.missing: List[str] = []

    def thumbnail(self, name: str) -> Optional[_Thumbnail]:
        """The thumbnail of photo ``name``, or None when the folder lacks it or it cannot be read."""
        if name not in self._made:
            number = self._table.find(name)
            self._made[name] = None if number is None else _make_thumbnail(self._folder / self._paths[number])
            if self._made[name] is None:
                self.missing.append(name)
        return self._made[name]


def _make_thumbnail(path: Path) -> Optional[_Thumbnail]:
    try:
        image = load_image(path)
    except UserError as error:
        logger.warning("%s", error)
        return None
    height, width = image.shape[:2]
    factor = min(1.0, THUMBNAIL_SIDE / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return _Thumbnail(base64.b64encode(encoded.tobytes()).decode("ascii"), (width, height))


def _query_section(
    query: QueryTruth,
    ranking: Ranking,
    row: int,
    labels: Labels,
    average_precision: float,
    protocol: str,
    photos: _Photos,
) -> str:
    positives, junk = set(labels.positives.tolist()), set(labels.junk.tolist())
    figures = []
    for place in range(min(NUM_RESULTS, len(ranking.index_names))):
        number = int(ranking.ranks[row, place])
        kind = "junk" if number in junk else "positive" if number in positives else "negative"
        name, score = ranking.index_names[number], float(ranking.scores[row, place])
        caption = f"<span><b>{_MARKS[kind]}</b> {place + 1} &#183; {score:.4g}</span><span>{escape(name)}</span>"
        figures.append(_figure(kind, photos.thumbnail(name), "", caption, f"{name}: {kind}, score {score:g}"))
    facts = "no positives"
    if labels.num_positives:
        found = positive_ranks(ranking.ranks[row], labels.positives, labels.junk)
        first = f"the first at rank {found[0] + 1}" if len(found) else "none in the index"
        facts = f"AP {average_precision * 100:.2f} &#183; {labels.num_positives} to find, {first}"
    return (
        f"<section><header><h2>{escape(query.name)}</h2><span>{facts}</span></header>"
        f'<div class="row">{_query_figure(query, protocol, photos)}<div class="results">{"".join(figures)}</div></div>'
        "</section>"
    )


def _query_figure(query: QueryTruth, protocol: str, photos: _Photos) -> str:
    thumbnail, overlay = photos.thumbnail(query.image_name), ""
    if thumbnail and query.box:
        width, height = thumbnail.size
        x1, x2 = (100 * min(max(x, 0), width) / width for x in query.box[0::2])
        y1, y2 = (100 * min(max(y, 0), height) / height for y in query.box[1::2])
        kind = "box" if query_box(query, protocol) else "box unused"
        place = f"left:{x1:.2f}%;top:{y1:.2f}%;width:{x2 - x1:.2f}%;height:{y2 - y1:.2f}%"
        overlay = f'<div class="{kind}" style="{place}"></div>'
    return _figure(
        "query", thumbnail, overlay, f"<span>query</span><span>{escape(query.image_name)}</span>", query.image_name
    )


def _figure(kind: str, thumbnail: Optional[_Thumbnail], overlay: str, caption: str, title: str) -> str:
    photo = '<div class="none">no photo</div>'
    if thumbnail:
        photo = f'<img alt="{escape(title)}" src="data:image/jpeg;base64,{thumbnail.data}">'
    return (
        f'<figure class="{kind}" title="{escape(title)}"><div class="photo">{photo}{overlay}</div>'
        f"<figcaption>{caption}</figcaption></figure>\n"
    )


def _metric_table(means: Dict[str, MeanMetrics]) -> str:
    heading, *rows = ("".join(f"<td>{cell}</td>" for cell in row) for row in table_rows(means))
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table><thead><tr>{heading}</tr></thead>\n<tbody>{body}</tbody></table>"


def _page(
    mark: str, title: str, setting: str, means: Dict[str, MeanMetrics], index_size: int, sections: List[str]
) -> str:
    legend = (
        f"{len(sections)} queries in {index_size} photos, lowest average precision first ({setting}). Frames: "
        '<span class="positive"><b>&#10003; positive</b></span>, '
        '<span class="negative"><b>&#10007; negative</b></span>, '
        '<span class="junk"><b>&#8211; ignored</b></span>. Under each photo: place, '
        "score, name. Ranks leave the ignored photos out. A box is the query; where it is dashed, the whole photo is."
    )
    return (
        f'<!DOCTYPE html>\n{mark}\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{title}</title><style>{_STYLE}</style></head>\n'
        f"<body><h1>{title}</h1>{_metric_table(means)}<p>{legend}</p>\n" + "\n".join(sections) + "</body></html>\n"
    )
