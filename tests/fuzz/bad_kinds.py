"""A kind whose reader does what none may: it dies, raises, or leaves a file beside its input."""

import os
import signal
from pathlib import Path

from tests.fuzz.kinds import Kind


def _make(folder: Path) -> Path:
    (folder / "x").write_bytes(b"sound")
    return folder / "x"


def _use(path: Path, _: Path) -> None:
    fault = path.read_bytes()[-1:]
    if fault == b"0":
        os.kill(os.getpid(), signal.SIGSEGV)
    if fault == b"1":
        (path.parent / "left").write_text("x")
    if fault == b"2":
        raise ValueError("a bug")


KINDS = {"bad": Kind(_make, _use, lambda data, generator, _: data + b"%d" % generator.integers(4))}
