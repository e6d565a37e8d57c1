"""A folder that appears whole or not at all, made by one process at a time."""

import fcntl
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from src.errors import UserError
from src.files import PathLike


def _claim(temporary: Path, target: Path) -> int:
    """Make or take over the temporary folder; returns its open descriptor, whose lock ends with the process."""
    while True:
        temporary.mkdir(exist_ok=True)
        descriptor = os.open(temporary, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise UserError(f"{target}: another process is making it; wait for it, or give another folder") from error
        except OSError:
            pass  # a file system without locks
        if temporary.exists() and os.path.samestat(os.fstat(descriptor), os.stat(temporary)):
            return descriptor
        os.close(descriptor)  # its maker moved it into place in between


def _clear(folder: Path) -> None:
    for entry in os.scandir(folder):
        shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)


@contextmanager
def build_folder_for(path: PathLike) -> Iterator[Path]:
    """Yield an empty hidden folder beside ``path``: it replaces ``path`` on success and is deleted on failure.

    What killed runs left is deleted first; that of a running one is locked. A folder that is replaced is moved aside
    before, so that ``path`` never holds a part of it.

    Raises:
        UserError: another process is making ``path``.
    """
    target = Path(path).absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary, replaced = (target.with_name(f".{target.name}.{end}") for end in ("tmp", "old"))
    lock = _claim(temporary, target)
    try:
        _clear(temporary)
        shutil.rmtree(replaced, ignore_errors=True)
        yield temporary
        if target.exists():
            os.replace(target, replaced)
        os.replace(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    finally:
        os.close(lock)
    shutil.rmtree(replaced, ignore_errors=True)
