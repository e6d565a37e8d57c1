"""The picture of a model's attention scores with the threshold proposed for it."""

import numpy as np

from ..artifacts import PathLike, atomic_path
from .score_sample import ScoreSample

_BINS = 80
_KEPT, _LEFT_OUT, _INK = "#1f6fb4", "#c9ced6", "#3c4043"


def draw_scores(sample: ScoreSample, threshold: float, path: PathLike) -> None:
    """Write the histogram of all scores (counts logarithmic) as a PNG: kept ones in colour, a line at the threshold."""
    from matplotlib.figure import Figure

    scores = np.concatenate(sample.scores)
    features, without = sample.kept(threshold)
    figure = Figure(figsize=(9, 4.8), layout="constrained")
    axes = figure.subplots()
    edges = np.linspace(scores.min(), max(scores.max(), scores.min() + 1e-6), _BINS + 1)
    counts, _ = np.histogram(scores, edges)
    kept, _ = np.histogram(scores[scores >= threshold], edges)
    axes.stairs(counts, edges, fill=True, color=_LEFT_OUT, label="left out")
    axes.stairs(kept, edges, fill=True, color=_KEPT, label="kept")
    axes.axvline(threshold, color=_INK, linewidth=1.4, label=f"threshold {threshold:.4g}")
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.5)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_xlabel("attention score")
    axes.set_ylabel("cells of the feature map")
    axes.set_title(
        f"{len(sample.scores)} photos, {len(scores) / len(sample.scores):.0f} scores a photo: the threshold keeps "
        f"{features:.0f} features a photo, {without:.1%} of the photos keep none", fontsize=10.5,
    )  # fmt: skip
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, loc="upper right")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130)
