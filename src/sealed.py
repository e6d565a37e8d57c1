"""JSON records that carry the version of their format and a checksum of themselves, so that damage is told."""

import json
import os
from pathlib import Path
from typing import Any, Dict, Mapping

from .artifacts import PathLike, atomic_write_json, digest, require_file, sha256_of
from .errors import UserError, reading
from .records import Provenance

_MOST_BYTES = 2**26  # of a record; the largest, of an index of ten thousand feature files, takes some MB


def write_sealed(path: PathLike, version: int, values: Mapping[str, Any]) -> None:
    """Write JSON ``values`` atomically, with the ``version`` of their format and their checksum."""
    record = {"format_version": version, **values}
    atomic_write_json(path, {**record, "checksum": digest(record)})


def read_sealed(path: PathLike, version: int, fix: str) -> Dict[str, Any]:
    """The values that ``write_sealed`` wrote.

    Args:
        path: the file.
        version: of the format that is read.
        fix: what to do about a file that is damaged or of another format.

    Raises:
        UserError: no such file, another format, or a byte of it has changed.
    """
    with reading(require_file(path, "record"), fix):
        if os.path.getsize(path) > _MOST_BYTES:
            raise ValueError("too large to be one")
        with open(path, encoding="utf-8") as stream:
            record = json.load(stream)
        found = record["format_version"]
        if type(found) is int and found != version:
            raise UserError(f"{path}: format {found}, this program reads {version}; {fix}")
        if record.pop("checksum") != digest(record):
            raise ValueError("its checksum differs")
        del record["format_version"]
        return record


def beside(path: PathLike) -> Path:
    """The record that says how the table at ``path`` was made."""
    return Path(f"{path}.json")


def made_with(path: PathLike, version: int, command: str, fix: str) -> Provenance:
    """How a table was made, by the record beside it, which holds its ``provenance`` and ``sha256``.

    Args:
        path: the table.
        version: of the record's format.
        command: that writes such tables.
        fix: see ``read_sealed``.

    Raises:
        UserError: no record, a damaged one, or the table is not as it was written.
    """
    record = beside(path)
    if not record.is_file():
        raise UserError(f"{path}: no {record.name} beside it says how it was made; {fix}")
    values = read_sealed(record, version, fix)
    with reading(record, fix):
        if values["sha256"] != sha256_of(path):
            raise UserError(f"{path}: is not as {command} wrote it; {fix}")
        return Provenance.from_json(values["provenance"])
