"""What is shown of a run: means, speed and time left, TensorBoard events, and metrics.jsonl as a picture."""

import json
import logging
import math
import time
from datetime import timedelta
from typing import Any, Dict, Iterator, List, Sequence, Tuple

import numpy as np

from ..artifacts import PathLike, atomic_path, require_file
from ..data.reader import Batch
from ..errors import UserError, install_command

logger = logging.getLogger(__name__)

COLOURS = {"descriptor": "#1f6fb4", "attention": "#d1641b"}
GREY = "#8a8a8a"

Line = Dict[str, Any]  # of metrics.jsonl


class StepTimes:
    """Times the steps of a run and averages their figures between two reports.

    The first step of a process compiles the graph: it counts in the means, not in the times.

    Args:
        heads: names of the heads, in the order of the step's outputs.
        images_per_step: photos of one step, all ranks together.
        max_iters: last step of the run.
    """

    def __init__(self, heads: Sequence[str], images_per_step: int, max_iters: int) -> None:
        self.heads = tuple(heads)
        self.images_per_step = images_per_step
        self.max_iters = max_iters
        self._values: List[np.ndarray] = []
        self._clock = 0.0  # when timing began; 0 = not yet
        self._timed_steps = 0
        self._waited = 0.0

    def waiting_for(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The batches, with the time that each ``next`` takes put down as waiting for data."""
        while True:
            before = time.monotonic()
            batch = next(batches, None)
            self._waited += time.monotonic() - before
            if batch is None:
                return
            yield batch

    def add(self, values: np.ndarray) -> None:
        """Take the [2 * heads + 1] figures of a finished step: losses, accuracies, gradient norm."""
        self._values.append(values)
        if self._clock:
            self._timed_steps += 1
        else:
            self._start_clock()

    def _start_clock(self) -> None:
        self._clock, self._timed_steps, self._waited = time.monotonic(), 0, 0.0

    def summary(self, step: int, learning_rate: float) -> Dict[str, Any]:
        """The line of metrics.jsonl for the steps since the last summary; starts the next means and times.

        ``images_per_second``, ``data_wait`` (share of the time, 0 to 1) and ``seconds_left`` are None when no step was
        timed.
        """
        made = [values for values in self._values if np.isfinite(values[-1])]  # at O2, some overflow and are not made
        means = np.mean(made or self._values, 0, dtype=np.float64).tolist()
        heads = len(self.heads)
        seconds = time.monotonic() - self._clock
        timed = self._timed_steps
        line = {
            "step": step,
            "losses": dict(zip(self.heads, means[:heads])),
            "accuracies": dict(zip(self.heads, means[heads:])),
            "gradient_norm": means[-1],
            "learning_rate": learning_rate,
            "images_per_second": timed * self.images_per_step / seconds if timed else None,
            "data_wait": self._waited / seconds if timed else None,
            "seconds_left": (self.max_iters - step) * seconds / timed if timed else None,
        }
        self._values.clear()
        self._start_clock()
        return line

    def skip_time(self) -> None:
        """Leave what happened since the last report, a validation or a checkpoint, out of the times."""
        self._start_clock()


def scalars(line: Dict[str, Any]) -> Dict[str, float]:
    """A line of metrics.jsonl without its step, flat: {"losses/descriptor": 2.1, "learning_rate": 0.01, ...}."""
    flat = {}
    for name, value in line.items():
        if isinstance(value, dict):
            flat.update({f"{name}/{head}": inner for head, inner in value.items()})
        elif name != "step" and value is not None:
            flat[name] = value
    return flat


def describe_heads(losses: Dict[str, float], accuracies: Dict[str, float]) -> str:
    """'loss 2.1, accuracy 0.3'; of two heads, each with its name."""
    names = {head: f"{head} " if len(losses) > 1 else "" for head in losses}
    return ", ".join(
        f"{names[head]}loss {losses[head]:.4f}, {names[head]}accuracy {accuracies[head]:.3f}" for head in losses
    )


def describe_validation(line: Dict[str, Any]) -> str:
    """A validation in words: 'mAP 0.41' of retrieval, loss and accuracy of each head, or both."""
    found = [f"mAP {line['validation_map']:.4f}"] if "validation_map" in line else []
    if "validation_losses" in line:
        found.append(describe_heads(line["validation_losses"], line["validation_accuracies"]))
    return ", ".join(found)


def describe(line: Dict[str, Any], max_iters: int) -> str:
    """A summary as the sentence of the log."""
    text = (
        f"step {line['step']}/{max_iters}: {describe_heads(line['losses'], line['accuracies'])}, gradient norm "
        f"{line['gradient_norm']:.2f}, learning rate {line['learning_rate']:.3g}"
    )
    if line["images_per_second"] is None:
        return text
    left = timedelta(seconds=round(line["seconds_left"]))
    return f"{text}, {line['images_per_second']:.1f} images/s, {line['data_wait']:.1%} waiting for data, {left} left"


def blind_heads(losses: Dict[str, float], num_classes: int) -> List[str]:
    """Heads whose loss is that of a guess without looking, log(classes), or worse: a silent attention's stays there."""
    return [head for head, loss in losses.items() if loss > 0.99 * math.log(num_classes)]


class Events:
    """Scalars by step in an open event file; ``open_events`` makes it."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def add(self, step: int, values: Dict[str, float]) -> None:
        """Write one scalar for each name; a name such as "loss/descriptor" is grouped under "loss"."""
        for name, value in values.items():
            self._writer.add_scalar(name, float(value), global_step=step)

    def close(self) -> None:
        """Write out what is pending and close the file."""
        self._writer.close()


def open_events(folder: PathLike, purge_step: int = 0) -> Events:
    """A new event file in ``folder``, where tensorboard's logdir finds it.

    Args:
        folder: made when absent; files of earlier runs stay in it.
        purge_step: the last step whose events are kept: the step a resumed run goes on from, 0 for a run that starts
            anew. TensorBoard discards what earlier files hold for later steps.

    Raises:
        UserError: tensorboardX is not installed.
    """
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise UserError(
            f"TensorBoard events need tensorboardX, which is not installed: run {install_command('extras')}"
        ) from error
    first_step = purge_step + 1 if purge_step else 0
    # The suffix keeps two files of the same second apart, as tensorboardX names them by the second.
    writer = SummaryWriter(str(folder), purge_step=first_step, flush_secs=30, filename_suffix=f".{first_step}")
    return Events(writer)


def draw_loss_curve(metrics_path: PathLike, output_path: PathLike, title: str) -> bool:
    """Draw `<stage>_metrics.jsonl` as a PNG; False, and no file, when it holds no line yet.

    Above the loss of each head, below its accuracy and the mAP of descriptors: training as a line (the values
    themselves faint, their running mean strong), validation as points, the best one ringed and named in the legend.
    The learning rate is the thin grey line.

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
    _draw_map(accuracy_axes, lines)
    _draw_learning_rate(loss_axes, lines)
    with atomic_path(output_path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    return True


def read_metrics(path: PathLike) -> List[Line]:
    """The lines of a metrics.jsonl in step order; one that a killed run left incomplete, or that is none, is left out.

    Raises:
        UserError: it is no regular file.
    """
    lines = []
    with open(require_file(path, "the metrics of a run"), encoding="utf-8", errors="replace") as stream:
        for number, text in enumerate(stream, 1):
            try:
                lines.append(_line(text))
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
                logger.warning("%s: line %d is incomplete and left out", path, number)
    return sorted(lines, key=lambda line: line["step"])


def _line(text: str) -> Line:
    """A line of metrics.jsonl; ValueError, or whatever a wrong one causes, when it is none."""
    line = json.loads(text)
    line["step"] = int(line["step"])
    for name, value in line.items():
        by_head = name.endswith(("losses", "accuracies"))
        for number in value.values() if by_head else () if value is None else (value,):
            float(number)
    return line


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


def _draw_map(axes: Any, lines: List[Line]) -> None:
    points = [(line["step"], line["validation_map"]) for line in lines if "validation_map" in line]
    if points:
        best, at = max((value, step) for step, value in points)
        label = f"mAP, validation (best {best:.1%} at step {at})"
        axes.plot(*zip(*points), color="#2f8f4e", linestyle=":", linewidth=0.8, marker="o", markersize=4.5, label=label)
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
