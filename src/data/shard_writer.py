"""Photos -> MindRecord shards of one split, streamed: read and checked by processes, written in order.

Each shard is a MindRecord of its own, opened as a list with its siblings: a folder may be moved, and a shard's number
always has three digits (``FileWriter`` gives as many as the count needs).
"""

import zlib
from array import array
from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Sequence, Set, Tuple

import numpy as np
from tqdm import tqdm

from ..errors import UserError, writing
from ..workers import OrderedMap
from .catalogue import Catalogue
from .jpeg import UnusablePhoto, read_as_jpeg
from .summary import shard_name

SCHEMA = {"file_id": {"type": "string"}, "label": {"type": "int64"}, "data": {"type": "bytes"}}
HEADER_BYTES = 1 << 20  # MindSpore's 16 MB would make small sets look huge
PHOTOS_AT_ONCE = 4  # for a process: fewer cost time, more cost memory when photos are large
RECORDS_AT_ONCE, BYTES_AT_ONCE = 48, 4 << 20  # for FileWriter, which has a fixed cost a call


def chain_checksum(previous: int, file_id: str, label: int, data_checksum: int) -> int:
    """CRC-32 of a shard's records so far, from the one before this record and the CRC-32 of its JPEG."""
    return zlib.crc32(f"{file_id}\t{label}\t{data_checksum}\n".encode(), previous)


def write_shard(path: Path, records: Iterable[Dict[str, Any]]) -> None:
    """Write one MindRecord (and its ``.db``). Without any record, no file is made."""
    from mindspore.mindrecord import FileWriter

    writer = None
    batch: List[Dict[str, Any]] = []
    for record in records:
        if writer is None:
            writer = FileWriter(str(path), shard_num=1)
            writer.set_header_size(HEADER_BYTES)
            writer.add_schema(SCHEMA, "photos with landmark labels")
            writer.add_index(["label"])  # the default, file_id as well, takes half as long again to write
        batch.append(record)
        if len(batch) == RECORDS_AT_ONCE or sum(len(waiting["data"]) for waiting in batch) > BYTES_AT_ONCE:
            with writing(path.name):
                writer.write_raw_data(batch)
            batch = []
    if writer is not None:
        with writing(path.name):
            if batch:
                writer.write_raw_data(batch)
            writer.commit()


class CheckedPhoto(NamedTuple):
    """A photo read: its JPEG and what it was converted from, or why it is skipped."""

    data: bytes
    converted_from: str
    skipped_for: str
    checksum: int


def read_photos(paths: Sequence[str], min_photo_size: int) -> List[CheckedPhoto]:
    """Read and check some photos; runs in processes of its own."""
    photos = []
    for path in paths:
        try:
            data, converted_from = read_as_jpeg(path, min_photo_size)
            photos.append(CheckedPhoto(data, converted_from, "", zlib.crc32(data)))
        except UnusablePhoto as reason:
            photos.append(CheckedPhoto(b"", "", str(reason), 0))
    return photos


@dataclass(frozen=True)
class Source:
    """The photos to write: what they are, where, and what to do with one that cannot be used ("skip" or "stop")."""

    catalogue: Catalogue
    root: str
    on_error: str

    def path(self, position: int) -> str:
        return self.catalogue.locate(self.root, self.catalogue.file_ids[position])


def is_utf8(text: str) -> bool:
    """False for a file name that Python could only read with substitutes; MindRecord cannot store those."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class SplitWriter:
    """Writes the shards of one split and keeps count of what went in, what was converted and what was skipped."""

    def __init__(self, folder: Path, split: str, source: Source) -> None:
        self.folder = folder
        self.split = split
        self.source = source
        self.shards: Dict[str, Dict[str, Any]] = {}
        self.converted: Counter = Counter()
        self.skipped: Dict[str, array] = defaultdict(lambda: array("i"))  # positions of the photos by reason
        self.classes: Set[int] = set()

    def _photos(self, positions: np.ndarray, read: OrderedMap) -> Iterator[Tuple[int, CheckedPhoto]]:
        """The photos at ``positions``, in this order, with a progress bar."""
        starts = range(0, len(positions), PHOTOS_AT_ONCE)
        paths = ([self.source.path(position) for position in positions[start:][:PHOTOS_AT_ONCE]] for start in starts)
        with tqdm(total=len(positions), desc=self.split, unit="photo", disable=None) as progress:
            for start, photos in zip(starts, read(paths)):
                progress.update(len(photos))
                yield from zip(positions[start : start + len(photos)].tolist(), photos)

    def _skip(self, position: int, reason: str) -> None:
        if self.source.on_error == "stop":
            raise UserError(f"{self.source.path(position)}: {reason} (`on_error` skip leaves such photos out)")
        self.skipped[reason].append(position)

    def _records(self, photos: Iterable[Tuple[int, CheckedPhoto]], shard: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
        for position, photo in photos:
            file_id = self.source.catalogue.file_ids[position]
            if photo.skipped_for or not is_utf8(file_id):
                self._skip(position, photo.skipped_for or "file name is not UTF-8")
                continue
            if photo.converted_from:
                self.converted[photo.converted_from] += 1
            label = int(self.source.catalogue.labels[position])
            self.classes.add(label)
            shard["photos"] += 1
            shard["crc32"] = chain_checksum(shard["crc32"], file_id, label, photo.checksum)
            yield {"file_id": file_id, "label": label, "data": photo.data}

    def write(self, positions: np.ndarray, num_shards: int, read: OrderedMap) -> None:
        """Write the photos at ``positions`` of the catalogue, in this order, as shards of equal length.

        ``read``: map of ``read_photos``.
        """
        with closing(self._photos(positions, read)) as photos:
            for part in np.array_split(positions, min(num_shards, max(1, len(positions)))):
                shard = {"photos": 0, "crc32": 0}
                name = shard_name(self.split, len(self.shards))
                write_shard(self.folder / name, self._records(islice(photos, len(part)), shard))
                if shard["photos"]:
                    self.shards[name] = shard

    @property
    def images(self) -> int:
        return sum(shard["photos"] for shard in self.shards.values())

    def summary(self) -> Dict[str, Any]:
        """What ``dataset.json`` says of the split; conversions by kind, faults by what comes before any colon."""
        faults: Counter = Counter()
        for reason, positions in self.skipped.items():
            faults[reason.partition(":")[0]] += len(positions)
        return {
            "images": self.images,
            "classes": len(self.classes),
            "converted": dict(sorted(self.converted.items())),
            "skipped": dict(sorted(faults.items())),
            "shards": self.shards,
        }
