"""What a shard and its index say of themselves, without MindSpore, which a wrong number of rows ends with a signal.

A MindRecord begins with the length of a JSON header (8 bytes, little-endian) and that header; pages of one size follow.
Its index beside it, ``<shard>.db``, is an SQLite database that says where in the pages each row lies.
"""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from ..artifacts import require_file
from ..errors import UserError, reading

LARGEST_HEADER = 1 << 24  # bytes; a page of 32 MB takes 200


def require_shard(path: Path, photos: int, fix: str) -> None:
    """Find out that a shard is complete, that its index is its own, and that both hold ``photos`` rows.

    Raises:
        UserError: a file is missing, no regular file, damaged or cut short, or holds another number of rows.
    """
    index = Path(f"{path}.db")
    for each in (path, index):
        if not each.exists():
            raise UserError(f"{each}: missing; {fix}")
        require_file(each, "a file of the data set")
    with reading(path, fix):
        rows = _rows_of_header(path)
    address = f"file:{quote(str(index.absolute()))}?mode=ro&immutable=1"
    with reading(index, fix), closing(sqlite3.connect(address, uri=True)) as database:
        named = [name for (name,) in database.execute("SELECT NAME FROM SHARD_NAME LIMIT 2")]
        wanted = "COUNT(DISTINCT ROW_ID), MIN(ROW_ID), MAX(ROW_ID)"
        indexed, first, last = database.execute(f"SELECT {wanted} FROM INDEXES").fetchone()
        if indexed and (first, last) != (0, indexed - 1):
            raise ValueError("its rows are not numbered from 0 on")
    if named != [path.name]:
        raise UserError(f"{index}: is not the index of {path.name}; {fix}")
    if rows != photos:
        raise UserError(f"{path}: holds {rows} photos, dataset.json says {photos}; {fix}")
    if indexed != photos:
        raise UserError(f"{index}: holds {indexed} photos, dataset.json says {photos}; {fix}")


def _rows_of_header(path: Path) -> int:
    """The rows that a shard's header counts; ValueError, or whatever a wrong header causes, when it is damaged."""
    size = path.stat().st_size
    with open(path, "rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 0 < length <= min(size, LARGEST_HEADER):
            raise ValueError(f"it has {size} bytes, its header {length}")
        header = json.loads(stream.read(length))
    last = max(header["page"], key=lambda page: page["page_id"])
    end = header["header_size"] + header["page_size"] * last["page_id"] + last["page_size"]
    if size < end:
        raise ValueError(f"it has {size} bytes of {end}")
    return sum(page["end_row_id"] - page["start_row_id"] for page in header["page"] if page["page_type"] == "BLOB_DATA")
