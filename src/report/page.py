"""The report as one HTML page: figures, curves, queries, and what it was made with."""

from html import escape
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Sequence

import numpy as np

from ..evaluation.metrics import MeanMetrics
from ..evaluation.evaluate import Evaluation
from ..evaluation.results import table_rows
from .curves import draw_curves
from .query import MARKS, percent
from .results import ShownQuery, main_setting

_STYLE = Path(__file__).with_name("report.css")
# The browser itself refuses whatever would come from outside, and scripts.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(mark: str, title: str, style_rules: str, body: Sequence[str]) -> str:
    """The page around ``body``; ``mark`` tells a later run what the page shows."""
    style = _STYLE.read_text(encoding="utf-8")
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><!-- report {mark} -->\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title>\n'
        f'<style>\n{style}{style_rules}</style></head>\n<body id="top">\n' + "\n".join(body) + "\n</body></html>\n"
    )


def heading(title: str, facts: str) -> str:
    """Title of the page and one line below it."""
    return f"<h1>{escape(title)}</h1><p>{escape(facts)}</p>"


def summary(evaluation: Evaluation, curves: Dict[str, np.ndarray], key: str) -> str:
    """Table of the metrics and ``key`` below it, with the mean precision-recall curves beside them."""
    means = {name: metrics.means() for name, metrics in evaluation.metrics.items()}
    legend = "".join(
        f'<li><svg viewBox="0 0 30 6"><path class="curve c{number}" d="M0 3H30"/></svg>'
        f"{escape(setting)}, mAP {percent(means[setting].mean_average_precision)}</li>"
        for number, setting in enumerate(curves)
    )
    plot = f"{draw_curves(curves)}<ul class='legend'>{legend}</ul>" if curves else "<p>no query has positives</p>"
    return (
        f'<div class="summary"><div class="card"><h3>Means over the queries, %</h3><div class="scroll">'
        f"{_table(means)}</div>{key}</div>"
        f'<div class="card"><h3>Interpolated precision, mean over the queries</h3>{plot}</div></div>'
    )


def _table(means: Mapping[str, MeanMetrics]) -> str:
    """``table_rows`` with the settings in the protocol's order, not by name."""
    tables = [table_rows({setting: mean}) for setting, mean in means.items()]
    head, *body = [
        [escape(cell) for cell in row] for row in tables[0][:1] + [row for rows in tables for row in rows[1:]]
    ]
    lines = []
    for setting, mean, what, *values in body:
        numbers = "".join(f"<td>{value}</td>" for value in values)
        kind = "first" if setting else "second"
        lines.append(
            f'<tr class="{kind}"><th scope="row">{setting}</th><td class="map">{mean}</td>'
            f'<td class="what">{what}</td>{numbers}</tr>'
        )
    titles = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def bars(evaluation: Evaluation, queries: Sequence[ShownQuery], by_landmark: Mapping[str, float]) -> str:
    """Average precision of each query as a bar that leads to its section, and the means ``by_landmark``, folded."""
    setting = main_setting(evaluation)
    of_setting = f", {escape(setting)}" if len(evaluation.metrics) > 1 else ""
    items = "".join(
        f'<li><a href="#q{number}">{_bar(query.name, query.average_precisions[setting])}</a></li>'
        for number, query in enumerate(queries)
    )
    card = f'<h3>Average precision of each query, %{of_setting}, lowest first</h3><ol class="bars">{items}</ol>'
    if by_landmark:
        rows = sorted(by_landmark.items(), key=lambda item: item[1])
        items = "".join(f"<li>{_bar(name, value)}</li>" for name, value in rows)
        card += f'<details class="fold"><summary>mAP of each landmark</summary><ol class="bars">{items}</ol></details>'
    return f'<div class="card">{card}</div>'


def _bar(name: str, value: float) -> str:
    width = 0 if np.isnan(value) else 100 * value
    name = escape(name)
    return (
        f'<span title="{name}">{name}</span><span class="bar"><i style="width:{width:.1f}%"></i></span>'
        f"<span>{percent(value)}</span>"
    )


def key(evaluation: Optional[Evaluation], with_lines: bool) -> str:
    """What frames, marks and numbers mean; without an evaluation there are no frames."""
    parts = ["Under each photo: its place and score.", "Open a result to see it beside the query."]
    if with_lines:
        parts[1] = (
            "Open a result to see it beside the query, with a line for each inlier. For that the pair was matched "
            "again, so their number may differ a little from the score."
        )
    if evaluation is not None:
        words = {"positive": "positive", "negative": "negative", "junk": "ignored"}
        frames = "".join(f'<span class="{kind}"><b>{MARKS[kind]}</b>{word}</span>' for kind, word in words.items())
        setting = f"Setting {escape(main_setting(evaluation))}: " if len(evaluation.metrics) > 1 else ""
        parts.insert(0, f'<span class="frames">{setting}{frames}</span>')
        parts.append("Ranks leave the ignored photos out. A box is the query; dashed, it is not used.")
    return f'<p class="key">{" ".join(parts)}</p>'


def footer(facts: Mapping[str, Any]) -> str:
    """What the page was made with, a line for each fact that is known."""
    lines = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(fact))}</dd>" for name, fact in facts.items() if fact)
    return f"<footer><dl>{lines}</dl></footer>"
