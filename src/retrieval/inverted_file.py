"""Inverted file: for each visual word the photos that have it, each with a code; on disk, memory-mapped.

It is written in two passes, with a few chunks of photos in memory: chunks sorted by word go to spool files one after
the other, then all chunks are merged, some words at a time. The file depends on the photos and their order alone.
"""

from pathlib import Path
from typing import List, NamedTuple, Optional, Tuple

import numpy as np

from .aggregation import Words
from .index_folder import POSTING_FILES

WORD_STARTS_FILE, POSTING_PHOTOS_FILE, CODES_FILE = POSTING_FILES
_SPOOL = ".spool"
_CHUNK_BYTES = 2**25  # of postings that are sorted at a time, which takes some times as much


class Postings(NamedTuple):
    """The photos of K words.

    Attributes:
        starts: [K + 1] int64; word w owns postings ``starts[w]`` to ``starts[w + 1]``.
        photos: [P] int32, numbers of photos, rising within a word.
        codes: [P, C], a code or a vector for each.
    """

    starts: np.ndarray
    photos: np.ndarray
    codes: np.ndarray

    @classmethod
    def empty(cls, num_words: int, width: int, dtype: np.dtype) -> "Postings":
        """No photos."""
        return cls(np.zeros(num_words + 1, np.int64), np.zeros(0, np.int32), np.zeros((0, width), dtype))

    def of(self, first: int, end: Optional[int] = None) -> Tuple[np.ndarray, np.ndarray]:
        """Photos and codes of a word, or of the words up to ``end``; not copies."""
        rows = slice(self.starts[first], self.starts[first + 1 if end is None else end])
        return self.photos[rows], self.codes[rows]


def sort_postings(words: np.ndarray, photos: np.ndarray, codes: np.ndarray, num_words: int) -> Postings:
    """Postings [P] of rising photos, by word."""
    order = np.argsort(words, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(words, minlength=num_words))]).astype(np.int64)
    return Postings(starts, photos[order], codes[order])


def join(parts: List[Postings]) -> Postings:
    """One of several, of the same words; the photos of each lie behind those of the one before."""
    num_words = len(parts[0].starts) - 1
    words = [np.repeat(np.arange(num_words), np.diff(part.starts)) for part in parts]
    arrays = (np.concatenate([getattr(part, name) for part in parts]) for name in ("photos", "codes"))
    return sort_postings(np.concatenate(words), *arrays, num_words)


def gather(first_photo: int, photos: List[Words], num_words: int) -> Postings:
    """The postings of photos that are numbered on from ``first_photo``."""
    numbers = np.repeat(np.arange(first_photo, first_photo + len(photos)), [len(photo.numbers) for photo in photos])
    words, codes = (np.concatenate([getattr(photo, name) for photo in photos]) for name in ("numbers", "vectors"))
    return sort_postings(words, numbers.astype(np.int32), codes, num_words)


class PostingWriter:
    """Writes the inverted file of an index folder.

    Args:
        folder: receives the files.
        old: of photos that are there already; the others follow.
        chunk_bytes: of postings in memory; what is written does not depend on it.
    """

    def __init__(self, folder: Path, old: Postings, chunk_bytes: int = _CHUNK_BYTES) -> None:
        self._folder, self._parts, self._bytes = folder, [old], chunk_bytes
        self._num_words, self._dtype, self._width = len(old.starts) - 1, old.codes.dtype, old.codes.shape[1]
        self._waiting: List[Words] = []
        self._first, self._size = 0, 0
        for name in (POSTING_PHOTOS_FILE, CODES_FILE):
            (folder / (name + _SPOOL)).write_bytes(b"")

    def add(self, photo: int, words: Words) -> None:
        """Add a photo; photos come in rising order, without a gap."""
        if not self._waiting:
            self._first = photo
        self._waiting.append(words)
        self._size += words.vectors.nbytes + 4 * len(words.numbers)
        if self._size >= self._bytes:
            self._spool()

    def finish(self) -> Postings:
        """Merge all, delete the spool files, and open what was written."""
        self._spool()
        starts = sum(part.starts for part in self._parts)
        np.save(self._folder / WORD_STARTS_FILE, starts)
        outputs = [open(self._folder / name, "wb") for name in (POSTING_PHOTOS_FILE, CODES_FILE)]
        try:
            shapes = ((int(starts[-1]),), (int(starts[-1]), self._width))
            for stream, shape, dtype in zip(outputs, shapes, (np.dtype(np.int32), self._dtype)):
                _write_header(stream, shape, dtype)
            for first, end in self._ranges(starts):
                merged = join([_cut(part, first, end) for part in self._parts])
                for stream, rows in zip(outputs, (merged.photos, merged.codes)):
                    stream.write(rows.tobytes())
        finally:
            for stream in outputs:
                stream.close()
        self._parts = []
        for name in (POSTING_PHOTOS_FILE, CODES_FILE):
            (self._folder / (name + _SPOOL)).unlink()
        return load_postings(self._folder)

    def _spool(self) -> None:
        """Append the photos that wait to the spool files, by word."""
        if not self._waiting:
            return
        part = gather(self._first, self._waiting, self._num_words)
        mapped = []
        for name, rows in ((POSTING_PHOTOS_FILE, part.photos), (CODES_FILE, part.codes)):
            path = self._folder / (name + _SPOOL)
            offset = path.stat().st_size
            with open(path, "ab") as stream:
                stream.write(rows.tobytes())
            mapped.append(np.memmap(path, rows.dtype, "r", offset, rows.shape) if rows.size else rows)
        self._parts.append(Postings(part.starts, *mapped))
        self._waiting, self._size = [], 0

    def _ranges(self, starts: np.ndarray) -> List[Tuple[int, int]]:
        """Words [first, end) whose postings fit into a chunk, or one word alone."""
        rows = max(1, self._bytes // (4 + self._dtype.itemsize * self._width))
        ranges, first = [], 0
        while first < self._num_words:
            end = int(np.searchsorted(starts, starts[first] + rows, "right")) - 1
            end = min(max(end, first + 1), self._num_words)
            ranges.append((first, end))
            first = end
        return ranges


def _cut(part: Postings, first: int, end: int) -> Postings:
    """Of the words from ``first`` to ``end`` alone, numbered from 0, in memory."""
    starts = part.starts[first : end + 1]
    rows = (_read(array, int(starts[0]), int(starts[-1])) for array in (part.photos, part.codes))
    return Postings(starts - starts[0], *rows)


def _read(array: np.ndarray, start: int, end: int) -> np.ndarray:
    """Rows of an array; of one that is memory-mapped they are read, as pages that were mapped count as memory."""
    if not isinstance(array, np.memmap) or end == start:
        return array[start:end]
    row = array[:1].nbytes
    count = (end - start) * row // array.itemsize
    rows = np.fromfile(array.filename, array.dtype, count, offset=array.offset + start * row)
    return rows.reshape(-1, *array.shape[1:])


def _write_header(stream, shape: Tuple[int, ...], dtype: np.dtype) -> None:
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, described)


def load_postings(folder: Path) -> Postings:
    """Of an index folder; photos and codes stay on the disk."""
    starts = np.load(folder / WORD_STARTS_FILE, allow_pickle=False)
    mapped = (np.load(folder / name, mmap_mode="r", allow_pickle=False) for name in POSTING_FILES[1:])
    return Postings(starts, *mapped)
