"""SIGINT and SIGTERM during training: the step ends, the state is saved, the process says so."""

import signal
from types import FrameType
from typing import Optional

from src.errors import Interrupted


class StopRequest:
    """``with StopRequest() as stop:`` turns SIGINT and SIGTERM into ``stop.number``; a second SIGINT interrupts at once.

    Attributes:
        number: of the signal that came, or 0.
    """

    def __init__(self) -> None:
        self.number = 0
        self._previous = {}

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _receive(self, number: int, _: Optional[FrameType]) -> None:
        if self.number and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = number

    def raise_stopped(self, message: str) -> None:
        """End the process as the signal would have, with a sentence. On a rank that got no signal, as SIGTERM would."""
        raise Interrupted(message, 128 + (self.number or signal.SIGTERM))
