"""What lies on disk: atomic files and folders, locks, checksums, what stands already, and what made it."""

import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, Dict, Iterator, Optional, Union

from .errors import UserError

PathLike = Union[str, Path]


@contextmanager
def atomic_path(path: PathLike) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it into place when the block succeeds, delete it when it fails.

    The temporary name keeps the suffix, because some writers choose their format (or add one) by it.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.tmp{target.suffix}")
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())  # else a power cut could leave the new name with no content
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write_bytes(path: PathLike, data: bytes) -> None:
    """Write ``data`` so that a reader sees the old file or the new one, never a part."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def atomic_write_text(path: PathLike, text: str) -> None:
    """Write UTF-8 ``text`` atomically."""
    atomic_write_bytes(path, text.encode("utf-8"))


def atomic_write_json(path: PathLike, value: Any) -> None:
    """Write ``value`` as indented JSON atomically."""
    atomic_write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def sha256_of(path: PathLike) -> str:
    """SHA-256 of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def require_file(path: PathLike, option: str) -> Path:
    """Return ``path`` if it is a file; otherwise raise a UserError that names the ``option`` which gave it."""
    if not str(path):
        raise UserError(f"{option} is not set: give the path of a file")
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file ({option})")
    return Path(path)


def require_folder(path: PathLike, option: str) -> Path:
    """Return ``path`` if it is a folder; otherwise raise a UserError that names the ``option`` which gave it."""
    if not str(path):
        raise UserError(f"{option} is not set: give the path of a folder")
    if not Path(path).is_dir():
        raise UserError(f"{path}: no such folder ({option})")
    return Path(path)


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


PACKAGES = ("mindspore", "numpy", "opencv-python-headless", "faiss-cpu", "scikit-image")
_REPOSITORY = Path(__file__).resolve().parents[1]


def versions() -> Dict[str, Optional[str]]:
    """Version by name of Python and each of ``PACKAGES``; None for one that is not installed."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def _version(package: str) -> Optional[str]:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def git_commit() -> Optional[str]:
    """Commit of this repository, with '-dirty' when files differ from it; None when it is no git checkout."""
    if not (_REPOSITORY / ".git").exists():  # git would answer for a repository around this one
        return None
    command = ["git", "-C", str(_REPOSITORY), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
