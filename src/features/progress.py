"""How far a long extraction is: a bar on a terminal, a line now and then in a log."""

import logging
import time

from tqdm import tqdm

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 30.0


class Progress:
    """A context manager; ``advance`` counts photos and tells images/s and the time that remains."""

    def __init__(self, total: int) -> None:
        self._bar = tqdm(total=total, desc="extract", unit="image", disable=None, smoothing=0.1)
        self._total, self._done = total, 0
        self._started = self._told = time.monotonic()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        seconds = time.monotonic() - self._started
        logger.info("%d photos in %.1f s, %.2f images/s", self._done, seconds, self._done / max(seconds, 1e-9))

    def advance(self, photos: int = 1) -> None:
        """So many photos are done; a negative number must be done again."""
        self._done += photos
        self._bar.update(photos)
        now = time.monotonic()
        if self._bar.disable and now - self._told >= SECONDS_BETWEEN_LINES and self._done:
            self._told = now
            rate = self._done / (now - self._started)
            minutes = (self._total - self._done) / rate / 60
            logger.info("%d of %d photos, %.2f images/s, %.0f min left", self._done, self._total, rate, minutes)
