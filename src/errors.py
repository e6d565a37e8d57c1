"""The exceptions that a person sees as a sentence instead of a traceback."""

import logging
import os
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Optional, Union

_ROOT = Path(__file__).resolve().parents[1]


class UserError(Exception):
    """Bad input: one clear sentence that names the file or option, the fact, and the fix."""


class Interrupted(Exception):
    """A long job that was asked to stop and has saved its work: one sentence, and the exit status that says so."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def printable(text: str) -> str:
    """``text`` with control characters, and what is no valid Unicode, as escapes; names from outside hold anything."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


class LogFormatter(logging.Formatter):
    """Log lines in which names from outside are printable; a line stays one line."""

    def __init__(self, format: str = "%(asctime)s %(message)s", time: Optional[str] = "%H:%M:%S") -> None:
        super().__init__(format, time)

    def formatMessage(self, record: logging.LogRecord) -> str:
        return printable(super().formatMessage(record))


@contextmanager
def reading(path: Union[str, Path], fix: str = "give a whole file") -> Iterator[None]:
    """Around the reading of bytes from outside: whatever it raises becomes one sentence about ``path``.

    Libraries answer damaged files with any exception. A UserError passes as it is.

    Args:
        path: the file, for the message.
        fix: what to do about a damaged file.

    Raises:
        UserError: '<path>: damaged (<what>); <fix>', or '<path>: <what the system says>' when the bytes could not be
            reached (no rights, another program has locked it), which is no damage.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno:
            raise UserError(f"{path}: {os.strerror(error.errno)}") from error
        what = " ".join(str(error).split()) or type(error).__name__
        what = f"no {error.args[0]} in it" if isinstance(error, KeyError) and error.args else what
        what = what if len(what) <= 200 else what[:200] + " ..."
        raise UserError(f"{path}: damaged ({what}); {fix}") from error


@contextmanager
def writing(path: Union[str, Path]) -> Iterator[None]:
    """Around a library that writes files itself and says in its own way that it cannot: one sentence about ``path``.

    Raises:
        UserError: the library's RuntimeError. What is no RuntimeError passes as it is.
    """
    try:
        yield
    except RuntimeError as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        what = next((line for line in lines if line.startswith("[ERROR]")), lines[0])  # as MindSpore writes it
        what = what.replace("[ERROR]", "").strip()[:200]
        raise UserError(f"{path}: cannot be written ({what}); make room on the disk") from error


def install_command(extra: str = "") -> str:
    """The command that installs the libraries of ``extra`` ('' = those always needed), in a checkout or a package."""
    requirements = f"requirements-{extra}.txt" if extra else "requirements.txt"
    if (_ROOT / requirements).is_file():
        return f"pip install -r {requirements}"
    return f"pip install 'delf-mindspore[{extra}]'" if extra else "pip install delf-mindspore"
