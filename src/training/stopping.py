"""SIGINT and SIGTERM during training: the step ends, the state is saved, the process says so."""

import signal
from types import FrameType
from typing import Any, Dict, Optional

from ..errors import Interrupted


class StopRequest:
    """``with StopRequest() as stop:`` turns the first SIGINT or SIGTERM into ``stop.number``; a second one breaks off.

    MindSpore passes a SIGINT on as a SIGTERM once it has run a graph, so Ctrl-C may be seen as either.

    Attributes:
        number: of the signal that came, or 0.
    """

    def __init__(self) -> None:
        self.number = 0
        self._previous: Dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _receive(self, number: int, _: Optional[FrameType]) -> None:
        if self.number:
            raise KeyboardInterrupt
        self.number = number

    def raise_stopped(self, message: str) -> None:
        """End the process as the signal would have, with a sentence; a rank that got none ends as by SIGTERM."""
        raise Interrupted(message, 128 + (self.number or signal.SIGTERM))
