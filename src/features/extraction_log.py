"""What a long extraction tells: how far it is, which photos have no features and why, which boxes were cut."""

import logging
import time
from pathlib import Path
from typing import Dict, Sequence

import h5py
from tqdm import tqdm

from ..artifacts import PathLike, atomic_write_text
from ..errors import printable

logger = logging.getLogger(__name__)

Failures = Dict[str, str]  # name of a photo that has no features: why

_SHOWN_NAMES = 20
_SECONDS_BETWEEN_LINES = 30.0


def list_failures(failures: Failures, output: PathLike) -> None:
    """All into the file beside ``output``, the first ones into the log."""
    path = Path(f"{output}.failed.txt")
    if not failures:
        path.unlink(missing_ok=True)
        return
    lines = [f"{printable(name)}\t{printable(reason)}\n" for name, reason in sorted(failures.items())]
    atomic_write_text(path, "".join(lines))
    for name in sorted(failures)[:_SHOWN_NAMES]:
        logger.warning("left out: %s", failures[name])
    logger.warning("%d photos could not be used and were left out; all are listed in %s", len(failures), path)


def tell_clipped(names: Sequence[str], output: PathLike) -> None:
    """One line for the boxes that reached beyond their photos."""
    if not names:
        return
    with h5py.File(output, "r") as file:
        clipped = [name for name in names if file[name].attrs.get("clipped")]
    if clipped:
        shown = ", ".join(clipped[:_SHOWN_NAMES]) + (", ..." if len(clipped) > _SHOWN_NAMES else "")
        logger.warning(
            "%d of %d boxes reach beyond their photos and were cut there: %s", len(clipped), len(names), shown
        )


class SpeedLog:
    """How far a long extraction is: a bar on a terminal, a line now and then in a log; a context manager."""

    def __init__(self, total: int) -> None:
        self._bar = tqdm(total=total, desc="extract", unit="image", disable=None, smoothing=0.1)
        self._total, self._done = total, 0
        self._started = self._told = time.monotonic()

    def __enter__(self) -> "SpeedLog":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        seconds = time.monotonic() - self._started
        logger.info("%d photos in %.1f s, %.2f images/s", self._done, seconds, self._done / max(seconds, 1e-9))

    def advance(self, photos: int = 1) -> None:
        """So many more photos are done: tell images/s and the time that remains."""
        self._done += photos
        self._bar.update(photos)
        now = time.monotonic()
        if self._bar.disable and now - self._told >= _SECONDS_BETWEEN_LINES:
            self._told = now
            rate = self._done / (now - self._started)
            minutes = (self._total - self._done) / rate / 60
            logger.info("%d of %d photos, %.2f images/s, %.0f min left", self._done, self._total, rate, minutes)
