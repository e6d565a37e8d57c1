"""What a person sees of a running training: means since the last report, speed, waiting for data, time left."""

import time
from datetime import timedelta
from typing import Any, Dict, Iterator, List, Sequence

import numpy as np

from ..data.reader import Batch


class Progress:
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
