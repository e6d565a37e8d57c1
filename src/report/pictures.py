"""Pictures of judged rankings: what numbers of inliers are worth, and why the worst queries fail."""

from typing import Any

import numpy as np

from ..artifacts import PathLike, atomic_path
from ..evaluation.same_place import Pairs, Share, precision_from
from ..matching.same_place import Calibration

_INK, _CURVE, _PRECISION, _PAIRS = "#3c4043", "#1f6fb4", "#d1700f", "#8c949b"
_LEAST_SHOWN = 5  # pairs of a number of inliers, to be a point; fewer are joined with their neighbours
_DPI = 130


def draw_calibration(calibration: Calibration, pairs: Pairs, path: PathLike, title: str = "") -> None:
    """Write a PNG: probability of the same place by number of inliers, beside what the pairs say, and the limits.

    Args:
        calibration: drawn as steps.
        pairs: drawn as points with their intervals of 95 %, and as the precision of that many inliers or more; those
            that the calibration was made from, or others.
        path: PNG to write.
        title: text above.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    last = int(max(pairs.inliers.max(), calibration.counts[-1]))
    steps = [*(calibration.counts - 0.5).tolist(), last + 0.5]  # a number of inliers is the middle of its step
    axes.stairs(calibration.probabilities, steps, baseline=None, color=_CURVE, linewidth=2, label="calibrated")
    numbers, wrong = precision_from(pairs)
    right = [1 - share.count / share.total for share in wrong]
    axes.plot(numbers, right, color=_PRECISION, linewidth=1.6, label="right among pairs of so many inliers or more")
    _draw_points(axes, pairs)
    _draw_limits(axes, calibration)
    axes.set_xscale("symlog", linthresh=20, linscale=1.2)
    axes.set_xticks([tick for tick in (0, 5, 10, 15, 20, 30, 50, 100, 200, 500, 1000) if tick <= last])
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.set_xlim(-0.5, last + 0.5)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("inliers")
    axes.set_ylabel("share of the same place")
    same = int(pairs.same.sum())
    counts = f"{len(pairs.same)} pairs of {pairs.num_queries} queries, {same} of the same place"
    axes.set_title(f"{title}: {counts}" if title else counts, fontsize=10.5, color=_INK, parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(framealpha=1, edgecolor="none", loc="lower right")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI)


def _draw_points(axes: Any, pairs: Pairs) -> None:
    """The share of the same place among pairs of one number of inliers, or of a few where pairs are rare."""
    centres, shares, begin = [], [], 0
    order = np.argsort(pairs.inliers, kind="stable")
    inliers, same = pairs.inliers[order], pairs.same[order]
    ends = np.flatnonzero(np.append(np.diff(inliers) > 0, True)) + 1
    for end in ends:
        if end - begin >= max(_LEAST_SHOWN, len(order) // 200) or end == len(order):
            centres.append(inliers[begin:end].mean())
            shares.append(Share(int(same[begin:end].sum()), int(end - begin)))
            begin = end
    values = np.array([share.count / share.total for share in shares])
    low, high = np.array([share.interval() for share in shares]).T
    errors = np.clip([values - low, high - values], 0, None)
    style = {"fmt": "o", "markersize": 3.5, "color": _PAIRS, "ecolor": "0.8", "elinewidth": 1.2}
    axes.errorbar(centres, values, errors, label="pairs, 95 % interval", **style)


def _draw_limits(axes: Any, calibration: Calibration) -> None:
    for limit, text, side in ((calibration.no_below, "no below", "right"), (calibration.yes_from, "yes from", "left")):
        if limit is not None:
            axes.axvline(limit - 0.5, color=_INK, linewidth=1, linestyle=(0, (4, 3)))
            place = (-4 if side == "right" else 4, 0)
            axes.annotate(
                f"{text} {limit}",
                (limit - 0.5, 0.5),
                place,
                textcoords="offset points",
                ha=side,
                color=_INK,
                fontsize=9,
            )
