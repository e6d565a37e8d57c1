"""What lies on disk: atomic files and folders, locks, checksums, required inputs, and "made / refuse / overwrite"."""

import fcntl
import functools
import hashlib
import json
import logging
import os
import platform
import re
import shutil
import subprocess
import zlib
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Mapping, Optional, Union

from .errors import UserError
from .output_file import OutputFile
from .records import Provenance

logger = logging.getLogger(__name__)

PathLike = Union[str, Path]
PACKAGES = ("mindspore", "numpy", "opencv-python-headless", "faiss-cpu", "scikit-image")
_REPOSITORY = Path(__file__).resolve().parents[1]
_HOST = f"{zlib.crc32(os.uname().nodename.encode()):08x}"  # a disk may be shared with other machines' processes
_TEMPORARY = re.compile(rf"\..*\.([0-9]{{1,7}})-{_HOST}\.tmp(\..*)?", re.DOTALL)  # its process id


def is_made(
    path: PathLike,
    wanted: Provenance,
    read: Callable[[Path], Provenance],
    overwrite: bool,
    name: str = "output",
    folder: bool = False,
) -> bool:
    """Whether what ``wanted`` describes stands finished at ``path``: the one rule of every step.

    Args:
        path: file or folder; an empty folder counts as nothing.
        wanted: what the step is about to make.
        read: gives the provenance of what stands there, and raises a UserError when it is something else. A folder is
            read even with ``overwrite``: replacing a folder deletes what is in it, and this one may be the user's.
        overwrite: what stands there may be replaced.
        name: of the argument that gave ``path``, for messages.
        folder: whether a folder is made, not a file.

    Raises:
        UserError: something else stands there and may not be replaced.
    """
    path = Path(path)
    _require_kind(path, name, folder)
    different = []
    if path.exists() and not (folder and not any(path.iterdir())) and (folder or not overwrite):
        different = wanted.differences(read(path))
        if not different and not overwrite:
            logger.info("%s: already made", path)
            return True
    if different and not overwrite:
        reason = ", ".join(different)
        raise UserError(f"{path}: made under other settings ({reason}); give `overwrite`, or another `{name}`")
    require_place(path, name, folder)
    return False


def _require_kind(path: Path, name: str, folder: bool) -> None:
    """UserError when something else than a file, or a folder, stands at ``path``."""
    if path.exists() and not (path.is_dir() if folder else path.is_file()):
        kind = "file" if path.is_file() else "folder" if path.is_dir() else "pipe or a device"
        raise UserError(f"{path}: is a {kind}; give `{name}` the name of a {'folder' if folder else 'file'}")


def require_place(path: PathLike, name: str = "output", folder: bool = False) -> None:
    """Find out before long work that no file, or folder, can be made at ``path``; a full disk shows only later.

    Raises:
        UserError: something else stands there, or its folder may not be written to. OSError: the name cannot be one.
    """
    _require_kind(Path(path), name, folder)
    target = Path(path).absolute()
    for place in (target, *target.parents):
        try:
            place.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        if place != target:
            break
    if not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
        fact = "no right to write there, or a read-only disk" if place.is_dir() else "no folder"
        raise UserError(f"{path}: cannot be made in {place}: {fact}; give another `{name}`")


@contextmanager
def atomic_path(path: PathLike) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it into place when the block succeeds, delete it when it fails.

    The temporary name keeps the suffix, because some writers choose their format (or add one) by it. The file's mode is
    that of any new file, whatever the writer makes of it. What killed processes left in the folder is deleted.
    """
    target = Path(path)
    _require_kind(target, "output", False)
    target.parent.mkdir(parents=True, exist_ok=True)
    _drop_leftovers(target.parent.absolute())
    begin = f".{target.stem}.{os.getpid()}-{_HOST}.tmp"  # as _TEMPORARY
    temporary = target.with_name(begin + target.suffix)
    try:
        with _naming(path, target.with_name(begin)):
            temporary.touch()
            mode = temporary.stat().st_mode
            yield temporary
            os.chmod(temporary, mode)
            put_in_place(temporary, target)
    except BaseException:
        for entry in os.scandir(target.parent):  # some writers have a temporary file of their own
            if entry.name.startswith(begin):
                os.unlink(entry.path)
        raise


@contextmanager
def atomic_stream(path: PathLike) -> Iterator[OutputFile]:
    """As ``atomic_path``, for libraries that write to a stream."""
    with atomic_path(path) as temporary, OutputFile(temporary) as stream:
        yield stream
        stream.check()


@contextmanager
def _naming(path: PathLike, hidden: Path) -> Iterator[None]:
    """A full disk is told of ``path``, not of the hidden name under which it is made, or of none."""
    try:
        yield
    except OSError as error:
        name = str(error.filename2 or error.filename or hidden)
        if error.errno and name.startswith(str(hidden)):
            inside = name[len(str(hidden)) :] if name.startswith(f"{hidden}/") else ""  # of a folder that is made
            raise OSError(error.errno, os.strerror(error.errno), f"{path}{inside}") from error
        raise


@functools.cache  # once for each folder: they come from earlier processes
def _drop_leftovers(folder: Path) -> None:
    """Delete the temporary files of ``atomic_path`` whose process, on this machine, has ended."""
    with suppress(OSError):  # they only take room
        for entry in os.scandir(folder):
            found = _TEMPORARY.fullmatch(entry.name)
            if found and entry.is_file(follow_symlinks=False) and not _is_running(int(found[1])):
                os.unlink(entry.path)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        pass
    return True


def put_in_place(temporary: PathLike, target: PathLike) -> None:
    """Rename a finished file; its content is on the disk first, else a power cut could leave the name without it."""
    with open(temporary, "rb") as written:
        os.fsync(written.fileno())
    os.replace(temporary, target)


def atomic_write_bytes(path: PathLike, data: bytes) -> None:
    """Write ``data`` so that a reader sees the old file or the new one, never a part."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def atomic_write_text(path: PathLike, text: str) -> None:
    """Write UTF-8 ``text`` atomically; bytes of names that are no Unicode as escapes, which JSON reads back."""
    atomic_write_bytes(path, text.encode("utf-8", "backslashreplace"))


def atomic_write_json(path: PathLike, value: Any) -> None:
    """Write ``value`` as indented JSON atomically."""
    atomic_write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def locked_folder(folder: PathLike, target: PathLike, name: str = "output") -> Iterator[Path]:
    """Make or take over ``folder``, in which ``target`` is being made, for this process alone.

    The lock ends with the process, however it ends. A file system without locks is used without.

    Raises:
        UserError: another process has it.
    """
    folder = Path(folder)
    descriptor = _lock(folder, target, name)
    try:
        yield folder
    finally:
        os.close(descriptor)


def _lock(folder: Path, target: PathLike, name: str) -> int:
    """The open descriptor that holds the lock."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise UserError(f"{target}: another process is making it; wait for it, or give another `{name}`") from error
        except OSError:
            pass
        if folder.exists() and os.path.samestat(os.fstat(descriptor), os.stat(folder)):
            return descriptor
        os.close(descriptor)  # its maker moved it into place in between


def clear_folder(folder: PathLike) -> None:
    """Delete all that is in a folder."""
    for entry in os.scandir(folder):
        shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)


def restore_folder(path: PathLike) -> Path:
    """``path``, brought back if a run was killed before it put the new one there; what killed runs left is deleted."""
    target = Path(path).absolute()
    temporary, aside = (target.with_name(f".{target.name}.{end}") for end in ("tmp", "old"))
    if temporary.exists() or aside.exists():
        with suppress(UserError), locked_folder(temporary, target):
            if aside.exists() and not target.exists():
                os.replace(aside, target)
            for leftover in (aside, temporary):
                shutil.rmtree(leftover, ignore_errors=True)
    return Path(path)


@contextmanager
def build_folder_for(path: PathLike) -> Iterator[Path]:
    """Yield an empty hidden folder beside ``path``: it replaces ``path`` on success and is deleted on failure.

    What killed runs left is deleted first; that of a running one is locked. A folder that is replaced is moved aside
    before, so that ``path`` never holds a part of it.

    Raises:
        UserError: ``path`` is a file, or another process is making it.
    """
    target = Path(path).absolute()
    if target.exists() and not target.is_dir():
        raise UserError(f"{path}: is a file; a folder is made there, so give another name")
    temporary, replaced = (target.with_name(f".{target.name}.{end}") for end in ("tmp", "old"))
    with _naming(path, temporary), locked_folder(temporary, target):
        try:
            clear_folder(temporary)
            shutil.rmtree(replaced, ignore_errors=True)
            yield temporary
            if target.exists():
                os.replace(target, replaced)
            os.replace(temporary, target)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    shutil.rmtree(replaced, ignore_errors=True)


def sha256_of(path: PathLike) -> str:
    """SHA-256 of a file's bytes, in hex."""
    state = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            state.update(block)
    return state.hexdigest()


def digest(values: Mapping[str, Any]) -> str:
    """Twelve hex digits that change when any JSON value does."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def require_file(path: PathLike, name: str) -> Path:
    """``path`` if it is a file; otherwise a UserError that says what gave it: ``name`` is a key or a few words."""
    return _require(path, name, "file", Path.is_file)


def require_folder(path: PathLike, name: str) -> Path:
    """``path`` if it is a folder; otherwise a UserError as of ``require_file``."""
    return _require(path, name, "folder", Path.is_dir)


def _require(path: PathLike, name: str, kind: str, is_there: Callable[[Path], bool]) -> Path:
    given_by = f"`{name}`" if name.isidentifier() else name
    if not str(path):
        raise UserError(f"{given_by} is not set: give the path of a {kind}")
    if not is_there(Path(path)):
        fact = f"is no {kind}" if Path(path).exists() else f"no such {kind}"
        if kind == "file" and Path(path).exists() and not Path(path).is_dir():
            fact = "is a pipe or a device; give a file that can be read twice"
        raise UserError(f"{path}: {fact} ({given_by})")
    return Path(path)


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
