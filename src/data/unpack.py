"""Archives from outside: listed and checked first, unpacked into a folder of their own, then moved into place.

Imports the standard library alone: the download scripts need it before anything is installed.
"""

import fcntl
import gzip
import os
import re
import shutil
import tarfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Dict, Iterator, List, NamedTuple, Pattern, Sequence, Set, Union

from ..errors import UserError

PathLike = Union[str, Path]
_CHUNK = 1 << 16  # bytes read at once; no sound header is longer
_MOST_MEMBERS = 200_000  # an archive of GLDv2 has about 8,000
_GROWTH, _ALLOWANCE = 20, 100 << 20  # photos hardly shrink: an archive of n bytes has at most 20 n + 100 MiB of content


class Layout(NamedTuple):
    """What an archive may hold, and what becomes of it.

    Attributes:
        form: how its files are called, for messages.
        files: pattern of a file's whole name.
        folders: pattern of a folder's whole name.
        suffix: of the files that are wanted; others of the same form stay in the archive.
        flat: whether files lose their folders and lie in one new folder.
    """

    form: str
    files: Pattern[str]
    folders: Pattern[str]
    suffix: str
    flat: bool


def _flat(suffix: str) -> Layout:
    part = r"[0-9A-Za-z_][0-9A-Za-z_.-]{0,99}"
    files, folders = rf"(?:{part}/){{0,9}}{part}\.(?:jpg|txt)", rf"{part}(?:/{part}){{0,9}}|\."
    return Layout("NAME.jpg or NAME.txt", re.compile(files), re.compile(folders), suffix, flat=True)


_GLDV2_FILES, _GLDV2_FOLDERS = r"(?:[0-9a-z]/){3}[0-9A-Za-z_-]{1,99}\.jpg", r"[0-9a-z](?:/[0-9a-z]){0,2}|\."
LAYOUTS: Dict[str, Layout] = {
    "gldv2": Layout("a/b/c/ID.jpg", re.compile(_GLDV2_FILES), re.compile(_GLDV2_FOLDERS), ".jpg", flat=False),
    "photos": _flat(".jpg"),
    "ground_truth": _flat(".txt"),
}


class DamagedArchive(UserError):
    """An archive whose bytes cannot be read to the end."""

    def __init__(self, archive: Path, error: Exception) -> None:
        reason = str(error).encode("unicode_escape").decode() or type(error).__name__
        super().__init__(f"{archive}: damaged ({reason})")
        self.archive = archive


def _refuse(archive: Path, member: str, fault: str) -> UserError:
    shown = ascii(member if len(member) <= 120 else member[:117] + "...")
    return UserError(f"{archive}: its member {shown} {fault}; nothing of this archive has been unpacked")


def unpack(archives: Sequence[PathLike], folder: PathLike, layout: Layout, left_out: Sequence[str] = ()) -> int:
    """Unpack ``archives`` into ``folder``: all of them, or none where one is refused; returns the number of files.

    Only names and contents are taken from an archive: files are new, belong to the caller and have mode 0644 at most,
    folders 0755. The folder of a flat layout appears at once, and must be missing or empty before. Otherwise there is
    one archive, and each file is moved into its place in ``folder``, which may hold others. After an interruption the
    same call ends with the same files. Files named in ``left_out`` stay in the archives.

    Raises:
        DamagedArchive: an archive cannot be read to its end.
        UserError: a member is refused, a file is in the way, or another process is unpacking this archive.
    """
    paths, target = [Path(archive) for archive in archives], Path(folder)
    if len(paths) != 1 and not layout.flat:
        raise ValueError("archives of this layout are unpacked one by one")
    with ExitStack() as stack:
        tars = [stack.enter_context(_opened(path)) for path in paths]
        wanted = [_list(tar, path, layout, left_out) for tar, path in zip(tars, paths)]
        _check_names(wanted, paths, layout)
        hidden = f".{target.name}.unpacking" if layout.flat else f".{paths[0].name}.unpacking"
        with _empty_folder((target.parent if layout.flat else target) / hidden) as work:
            staged = []
            for number, path in enumerate(paths):
                with _reading(path):
                    staged.append(_write(tars[number], wanted[number], work / str(number)))
            if layout.flat:
                _gather(staged, work / "together", target)
            else:
                _move(staged[0], target, paths[0])
    return sum(map(len, wanted))


class _Reader:
    """The part of a file that ``tarfile`` uses, without endless reads: some headers are read whole, at their word."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _CHUNK:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._stream.read(size)


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    """The archive, plain or compressed, for this process alone."""
    with open(path, "rb") as raw:
        try:
            fcntl.flock(raw, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"{path}: another process is unpacking it; wait for it or stop it") from error
        except OSError:
            pass  # a file system without locks
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        with _reading(path):
            tar = tarfile.open(fileobj=_Reader(gzip.GzipFile(fileobj=raw) if zipped else raw), mode="r:")
        with tar:
            yield tar


@contextmanager
def _reading(archive: Path) -> Iterator[None]:
    """What cannot be read inside the block becomes DamagedArchive: damage shows as almost any exception."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile):
            raise
        raise DamagedArchive(archive, error) from error


def _list(tar: tarfile.TarFile, archive: Path, layout: Layout, left_out: Sequence[str]) -> Dict[str, tarfile.TarInfo]:
    """The files that are wanted, by name, after a look at every member and at the end of the archive.

    Of a name that occurs twice the last counts, as in ``tar``.
    """
    wanted: Dict[str, tarfile.TarInfo] = {}
    most = _GROWTH * archive.stat().st_size + _ALLOWANCE
    with _reading(archive):
        for number, member in enumerate(tar):
            if member.size < 0:
                raise tarfile.ReadError("a file of negative size")
            fault = _fault(member, layout)
            if not fault and (number >= _MOST_MEMBERS or member.offset_data + member.size > most):
                fault = "is more than such an archive can hold"
            if fault:
                raise _refuse(archive, member.name, fault)
            name = _plain(member.name)
            if not member.isdir() and name.endswith(layout.suffix) and os.path.basename(name) not in left_out:
                wanted[name] = member
        _check_end(tar, most)
    if not wanted:
        raise UserError(f"{archive}: no *{layout.suffix} in it")
    return wanted


def _plain(name: str) -> str:
    """The name without './' at its beginning."""
    return re.sub(r"\A(?:\./)+(?=.)", "", name)


def _fault(member: tarfile.TarInfo, layout: Layout) -> str:
    """Why a member is refused; '' for one that is unpacked."""
    if member.issym() or member.islnk():
        return "is a link"
    if member.isdev():
        return "is a device or a FIFO"
    if not member.isdir() and (member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.issparse()):
        return "is neither a plain file nor a folder"
    if member.name.startswith("/") or ".." in member.name.split("/"):
        return "lies outside of the archive's folder"
    if not (layout.folders if member.isdir() else layout.files).fullmatch(_plain(member.name)):
        return "is no folder that belongs in it" if member.isdir() else f"is not called {layout.form}"
    if hasattr(tarfile, "data_filter"):  # from Python 3.9.17, 3.10.12, 3.11.4 and 3.12 on
        try:
            tarfile.data_filter(member, os.curdir)
        except tarfile.FilterError as error:
            return f"is unsafe ({type(error).__name__})"
    return ""


def _check_end(tar: tarfile.TarFile, most: int) -> None:
    """Read on to the end: ``tarfile`` takes any garbage for it, and gzip's checksum comes last."""
    stream = tar.fileobj
    stream.seek(tar.offset)
    if stream.read(tarfile.BLOCKSIZE).strip(b"\0"):
        raise tarfile.ReadError(f"no member and no end at byte {tar.offset}")
    while stream.read(_CHUNK):
        if stream.tell() > most:
            raise tarfile.ReadError(f"no end after {most} bytes")


def _check_names(wanted: Sequence[Dict[str, tarfile.TarInfo]], archives: Sequence[Path], layout: Layout) -> None:
    """No two files may end under one name."""
    taken: Set[str] = set()
    for members, archive in zip(wanted, archives):
        for name in members:
            place = os.path.basename(name) if layout.flat else name
            if place in taken:
                raise _refuse(archive, name, "is the second file of its name")
            taken.add(place)


@contextmanager
def _empty_folder(path: Path) -> Iterator[Path]:
    """A folder for the time of the block; what a killed run left of it is deleted first."""
    if path.is_symlink():
        raise UserError(f"{path} is a link: delete it")
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o755, parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _write(tar: tarfile.TarFile, members: Dict[str, tarfile.TarInfo], folder: Path) -> Dict[str, str]:
    """The members as numbered files of ``folder``, which is new; name in the archive -> path."""
    folder.mkdir(mode=0o755)
    written = {}
    for name, member in sorted(members.items(), key=lambda item: item[1].offset_data):  # gzip is read forwards
        written[name] = f"{folder}/{len(written)}"
        descriptor = os.open(written[name], os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        with open(descriptor, "wb") as output:
            shutil.copyfileobj(tar.extractfile(member), output, _CHUNK)
    return written


def _gather(written: Sequence[Dict[str, str]], together: Path, target: Path) -> None:
    """The files of all archives, without their folders, in one folder, which becomes ``target``."""
    together.mkdir(mode=0o755)
    for files in written:
        for name, path in files.items():
            os.rename(path, together / os.path.basename(name))
    os.rename(together, target)  # fails unless the target is missing or an empty folder


def _move(written: Dict[str, str], folder: Path, archive: Path) -> None:
    """Each file to its place in ``folder``, once it is known that nothing else is in the way."""
    folders: Set[str] = set()
    for name, path in written.items():
        for parent in _folders_of(name):
            if parent not in folders and not _is_free_or_folder(folder / parent):
                raise _refuse(archive, name, f"has no way to its place, as {folder / parent} is no plain folder")
            folders.add(parent)
        if os.path.lexists(folder / name) and not _is_begun(folder / name, Path(path)):
            raise _refuse(archive, name, f"would replace {folder / name}, which is another file")
    for parent in sorted(folders):  # 'a' before 'a/b'
        try:
            os.mkdir(folder / parent, 0o755)
        except FileExistsError:
            pass
    for name, path in written.items():
        os.replace(path, folder / name)


def _folders_of(name: str) -> List[str]:
    """'a/b/c.jpg' -> ['a', 'a/b']."""
    parts = name.split("/")[:-1]
    return ["/".join(parts[: depth + 1]) for depth in range(len(parts))]


def _is_free_or_folder(path: Path) -> bool:
    return not os.path.lexists(path) or (path.is_dir() and not path.is_symlink())


def _is_begun(old: Path, new: Path) -> bool:
    """Whether ``old`` is a plain file with the content of ``new``, or the beginning of it."""
    if os.path.islink(old) or not os.path.isfile(old) or old.stat().st_size > new.stat().st_size:
        return False
    with open(old, "rb") as begun, open(new, "rb") as whole:
        for block in iter(lambda: begun.read(_CHUNK), b""):
            if whole.read(len(block)) != block:
                return False
    return True
