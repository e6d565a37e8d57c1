"""Folders that a command makes anew: what else lies in one would be lost with it."""

import os
from pathlib import Path
from typing import Callable, Iterator

from .artifacts import PathLike
from .errors import UserError


def refuse_strangers(folder: PathLike, is_own: Callable[[str], bool], what: str) -> None:
    """Judge a folder that is about to be replaced.

    Args:
        folder: it may lack.
        is_own: whether a file, by its name relative to ``folder``, is part of what a command makes there.
        what: that is, for the message, such as 'an index'.

    Raises:
        UserError: it holds another file.
    """
    stranger = next((name for name in _files_below(Path(folder)) if not is_own(name)), None)
    if stranger is not None:
        raise UserError(f"{folder}: holds {stranger}, which is no part of {what} and would be lost; move it away")


def _files_below(folder: Path) -> Iterator[str]:
    for place, _, files in os.walk(folder):
        for name in sorted(files):
            yield os.path.relpath(os.path.join(place, name), folder)
