"""A run's metrics.jsonl as a picture: loss, accuracy and learning rate against the step."""

import json
import logging
import math
from typing import Any, Dict, List, Tuple

import numpy as np

from ..artifacts import PathLike, atomic_path

logger = logging.getLogger(__name__)

COLOURS = {"descriptor": "#1f6fb4", "attention": "#d1641b"}
GREY = "#8a8a8a"

Line = Dict[str, Any]


def draw_loss_curve(metrics_path: PathLike, output_path: PathLike, title: str) -> bool:
    """Draw `<stage>_metrics.jsonl` as a PNG; False, and no file, when it holds no line yet.

    Above the loss of each head, below its accuracy: training as a line (the values themselves faint, their running mean
    strong), validation as points, the best one ringed and named in the legend. The learning rate is the thin grey line.

    Args:
        metrics_path: JSON lines. Training: step, losses {head: value}, accuracies {head: value}, learning_rate.
            Validation: step, validation_losses {head: value}, validation_accuracies {head: value}.
        output_path: PNG to write.
        title: of the picture.
    """
    lines = read_metrics(metrics_path)
    if not lines:
        return False
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    figure = Figure(figsize=(8, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=12)
    loss_axes, accuracy_axes = figure.subplots(2, 1, sharex=True)
    _draw_panel(loss_axes, lines, "losses", "loss", min, "{:.3f}")
    _draw_panel(accuracy_axes, lines, "accuracies", "accuracy", max, "{:.1%}")
    accuracy_axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    accuracy_axes.set_ylim(bottom=0)
    accuracy_axes.set_xlabel("step")
    _draw_learning_rate(loss_axes, lines)
    with atomic_path(output_path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    return True


def read_metrics(path: PathLike) -> List[Line]:
    """The lines of a metrics.jsonl in step order; a line that a killed run left incomplete is left out."""
    lines = []
    with open(path, encoding="utf-8") as stream:
        for number, text in enumerate(stream, 1):
            try:
                line = json.loads(text)
                line["step"] = int(line["step"])
            except (ValueError, KeyError, TypeError):
                logger.warning("%s: line %d is incomplete and left out", path, number)
                continue
            lines.append(line)
    return sorted(lines, key=lambda line: line["step"])


def _series(lines: List[Line], key: str) -> Dict[str, Tuple[np.ndarray, np.ndarray]]:
    """head -> (steps, values) of the lines that hold ``key``, without values that are not finite."""
    found: Dict[str, List[Tuple[int, float]]] = {}
    for line in lines:
        for head, value in line.get(key, {}).items():
            if math.isfinite(value):
                found.setdefault(head, []).append((line["step"], value))
    return {head: tuple(np.array(column) for column in zip(*points)) for head, points in found.items()}


def _running_mean(values: np.ndarray) -> np.ndarray:
    """Centred mean over about a fortieth of the points; the window shrinks at both ends."""
    half = len(values) // 80
    sums = np.concatenate([[0.0], np.cumsum(values)])
    first = np.maximum(np.arange(len(values)) - half, 0)
    last = np.minimum(np.arange(len(values)) + half + 1, len(values))
    return (sums[last] - sums[first]) / (last - first)


def _draw_panel(axes: Any, lines: List[Line], key: str, label: str, best_of: Any, number: str) -> None:
    for head, (steps, values) in _series(lines, key).items():
        colour = COLOURS.get(head, "black")
        marker = "o" if len(steps) == 1 else None  # a line of one point would not show
        axes.plot(steps, values, color=colour, alpha=0.3, linewidth=0.8)
        axes.plot(steps, _running_mean(values), color=colour, linewidth=1.6, marker=marker, label=f"{head}, training")
    for head, (steps, values) in _series(lines, f"validation_{key}").items():
        colour = COLOURS.get(head, "black")
        best = values.tolist().index(best_of(values))
        text = f"{head}, validation (best {number.format(values[best])} at step {steps[best]})"
        axes.plot(steps, values, color=colour, linestyle=":", linewidth=0.8, marker="o", markersize=4.5,
                  markeredgecolor="white", label=text)  # fmt: skip
        axes.plot(steps[best], values[best], color=colour, marker="o", markersize=11, markerfacecolor="none",
                  markeredgewidth=1.5)  # fmt: skip
    axes.set_ylabel(label)
    axes.grid(color="0.92", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.has_data():
        axes.legend(fontsize=8, frameon=False)


def _draw_learning_rate(loss_axes: Any, lines: List[Line]) -> None:
    points = [(line["step"], line["learning_rate"]) for line in lines if "learning_rate" in line]
    if not points:
        return
    axes = loss_axes.twinx()
    axes.plot(*zip(*points), color=GREY, linewidth=0.8)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("learning rate", color=GREY)
    axes.tick_params(colors=GREY)
    axes.spines["top"].set_visible(False)
    loss_axes.set_zorder(axes.get_zorder() + 1)  # the losses lie over the grey line
    loss_axes.patch.set_visible(False)
