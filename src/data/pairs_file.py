"""Pairs of photos of one place from a file: the csv of mine_pairs, one's own, or a pickle of retrieval-SfM."""

import codecs
import csv
import io
import re
from pathlib import Path
from typing import Iterable, Iterator, NamedTuple, Sequence, Tuple

from ..artifacts import PathLike
from ..errors import UserError
from ..tables import read_table
from ..values import short
from .sfm_pickle import read_sfm_pickle

COLUMNS = ("photo_a", "photo_b")
_SHORT_COLUMNS = ("a", "b")
_HEADER_BYTES = 4096


class NamedPair(NamedTuple):
    """Names of two photos, and ``origin``: the place in the file, for messages."""

    origin: str
    photo_a: str
    photo_b: str


def encode_pairs(pairs: Iterable[Tuple[str, str, int]]) -> bytes:
    """The table ``photo_a,photo_b,inliers``, UTF-8; bytes of names that are no text stay as they are."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, "inliers"])
    writer.writerows(pairs)
    return text.getvalue().encode("utf-8", "surrogateescape")


def named_pairs(path: PathLike, name: str = "pairs") -> Iterator[NamedPair]:
    """The pairs of a file.

    Args:
        path: a table with the columns ``photo_a`` and ``photo_b`` (or ``a`` and ``b``), further ones passed over, or a
            pickle (.pkl) of retrieval-SfM, whose ``cids`` are names.
        name: of the argument that gave ``path``, for messages.

    Raises:
        UserError: no such file, other columns, an empty name, or a photo paired with itself.
    """
    for pair in _of_pickle(path, name) if is_pickle(path) else _of_table(path, name):
        if not pair.photo_a or not pair.photo_b:
            raise UserError(f"{pair.origin}: a row is two names of photos")
        if pair.photo_a == pair.photo_b:
            raise UserError(f"{pair.origin}: {short(repr(pair.photo_a))} is paired with itself; leave it out")
        yield pair


def is_pickle(path: PathLike) -> bool:
    """Whether a file of pairs is read as a pickle of retrieval-SfM: by its name."""
    return Path(path).suffix.lower() == ".pkl"


def _of_pickle(path: PathLike, name: str) -> Iterator[NamedPair]:
    found = read_sfm_pickle(path, name)
    for number, (query, positive) in enumerate(found.pairs.tolist()):
        yield NamedPair(f"{path}, pair {number}", found.cids[query], found.cids[positive])


def _of_table(path: PathLike, name: str) -> Iterator[NamedPair]:
    for frame in read_table(path, _columns_of(path), name, "surrogateescape"):
        for line, photo_a, photo_b in frame.itertuples():
            yield NamedPair(f"{path}, line {line}", photo_a, photo_b)


def _columns_of(path: PathLike) -> Sequence[str]:
    """``a`` and ``b`` where the header has these and not the long names."""
    if not Path(path).is_file():
        return COLUMNS  # what is wrong, the reader tells
    with open(path, "rb") as stream:
        head = stream.read(_HEADER_BYTES)
    encoding = "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    lines = [line for line in head.decode(encoding, "replace").lower().splitlines() if "sep=" not in line]
    fields = set(re.findall(r"\w+", lines[0] if lines else ""))
    return _SHORT_COLUMNS if fields.issuperset(_SHORT_COLUMNS) and not fields.issuperset(COLUMNS) else COLUMNS
