"""Precision-recall curves of the report, as inline SVG."""

from html import escape
from typing import Dict, List, Optional

import numpy as np

from ..evaluation.metrics import positive_ranks
from ..evaluation.evaluate import Evaluation
from ..records import Ranking

LEVELS = np.linspace(0, 1, 101)  # recall
_WIDTH, _HEIGHT = 446, 282  # of the drawing, pixels
_LEFT, _TOP, _RIGHT, _BOTTOM = 52, 10, 430, 232  # of the plot in it


def interpolated_precision(found: np.ndarray, num_positives: int) -> np.ndarray:
    """The best precision at each recall of ``LEVELS`` or beyond it (Manning et al., Information Retrieval, 8.4).

    Args:
        found: rising junk-free ranks of the positives that were found, from 0.
        num_positives: positives in total, above 0; a recall that is not reached has precision 0.

    Returns:
        [101] falling precisions.
    """
    counts = np.arange(1, len(found) + 1)
    best = np.maximum.accumulate((counts / (found + 1))[::-1])[::-1]
    return np.append(best, 0.0)[np.searchsorted(counts / num_positives, LEVELS - 1e-9)]


def mean_curves(ranking: Ranking, evaluation: Evaluation) -> Dict[str, np.ndarray]:
    """By setting, the mean [101] of ``interpolated_precision`` over the queries with positives, if there are any."""
    means = {}
    for setting, labels in evaluation.labels.items():
        curves = [
            interpolated_precision(positive_ranks(ranking.ranks[row], label.positives, label.junk), label.num_positives)
            for row, label in zip(evaluation.rows, labels)
            if label.num_positives
        ]
        if curves:
            means[setting] = np.mean(curves, axis=0)
    return means


def draw_curves(curves: Dict[str, np.ndarray]) -> str:
    """A drawing with axes and a line for each setting; its class c0, c1 ... gives it colour and dashes."""
    parts: List[str] = []
    for percent in range(0, 101, 20):
        x, y = _LEFT + (_RIGHT - _LEFT) * percent / 100, _BOTTOM - (_BOTTOM - _TOP) * percent / 100
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{_RIGHT}M{x:.1f} {_TOP}V{_BOTTOM}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{percent}</text>')
        parts.append(f'<text x="{x:.1f}" y="{_BOTTOM + 18}" text-anchor="middle">{percent}</text>')
    middle = (_TOP + _BOTTOM) / 2
    parts.append(f'<text x="{(_LEFT + _RIGHT) / 2}" y="{_HEIGHT - 10}" text-anchor="middle">recall, %</text>')
    parts.append(f'<text transform="translate(14 {middle})rotate(-90)" text-anchor="middle">precision, %</text>')
    for number, curve in enumerate(curves.values()):
        points = _points(curve, _LEFT, _TOP, _RIGHT, _BOTTOM)
        parts.append(f'<polyline class="curve c{number}" points="{points}"/>')
    label = f"mean precision over recall: {', '.join(curves)}"
    head = f'<svg class="curves" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}">'
    return f"{head}{''.join(parts)}</svg>"


def draw_small_curve(curve: Optional[np.ndarray]) -> str:
    """A curve without axes, 100 x 36; nothing for None."""
    if curve is None:
        return ""
    points = _points(curve[::2], 0, 1, 100, 35)
    return (
        '<svg class="small" viewBox="0 0 100 36" preserveAspectRatio="none" role="img" '
        'aria-label="precision over recall of this query"><path class="grid" d="M0 1H100M0 18H100M0 35H100"/>'
        f'<polygon points="0,35 {points} 100,35"/><polyline class="curve" points="{points}"/></svg>'
    )


def _points(curve: np.ndarray, left: float, top: float, right: float, bottom: float) -> str:
    xs = np.linspace(left, right, len(curve))
    return " ".join(f"{x:.1f},{bottom - (bottom - top) * y:.1f}" for x, y in zip(xs, curve))
