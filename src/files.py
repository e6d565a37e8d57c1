"""Atomic writes, checksums and checks of input paths."""

import hashlib
import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, Union

from src.errors import UserError

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
