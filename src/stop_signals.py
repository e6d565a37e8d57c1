"""One way in which signals end a long job."""

import signal
import threading
from contextlib import contextmanager
from types import FrameType
from typing import Any, Dict, Iterator, List, Optional

from .errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """``with StopSignals(...) as stop`` answers SIGINT and SIGTERM during a long job.

    MindSpore passes a SIGINT on as a SIGTERM once it has run a graph, so Ctrl-C may be seen as either. Outside the main
    thread, where Python allows no handlers, nothing is changed.

    Args:
        message: with it the first signal raises Interrupted at once; without, it only sets ``number``, for a job that
            ends by itself at its next step, and a second signal breaks off.

    Attributes:
        number: of the signal that came, or 0.
    """

    def __init__(self, message: str = "") -> None:
        self.number = 0
        self._message = message
        self._previous: Dict[int, Any] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._receive) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _receive(self, number: int, _: Optional[FrameType]) -> None:
        if self._message:
            raise Interrupted(self._message, 128 + number)
        if self.number:
            raise KeyboardInterrupt
        self.number = number

    def raise_stopped(self, message: str) -> None:
        """End the process as the signal would have, with a sentence; a process that got none ends as by SIGTERM."""
        raise Interrupted(message, 128 + (self.number or signal.SIGTERM))


@contextmanager
def held_signals() -> Iterator[None]:
    """SIGINT and SIGTERM wait until the block has ended.

    An exception while a library opens, writes or closes a file would leave both half done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: List[int] = []
    previous = {number: signal.signal(number, lambda number, _: held.append(number)) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if held:
        signal.raise_signal(held[0])
