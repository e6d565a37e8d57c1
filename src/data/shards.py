"""MindRecord shards of a landmark catalogue: written in a temporary folder, streamed, moved into place when complete.

Each shard is a MindRecord of its own, opened as a list with its siblings: a folder may be moved, and a shard's number
always has three digits (``FileWriter`` gives as many as the count needs).
"""

import csv
import hashlib
import json
import logging
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, Sequence, Tuple, TypeVar

import numpy as np
from tqdm import tqdm

from src.data.gldv2 import Catalogue, image_path, split_by_label
from src.data.jpeg import UnusablePhoto, read_as_jpeg
from src.data.summary import SPLITS, SUMMARY_FILE, is_finished, shard_name
from src.errors import UserError
from src.files import PathLike, atomic_write_json, temporary_folder_for

logger = logging.getLogger(__name__)

SCHEMA = {"file_id": {"type": "string"}, "label": {"type": "int64"}, "data": {"type": "bytes"}}
HEADER_BYTES = 1 << 20  # MindSpore's 16 MB would make small sets look huge
MAX_SHARDS = 1000

Item = TypeVar("Item")
Result = TypeVar("Result")


def fingerprint(catalogue: Catalogue, root: Path) -> Tuple[str, int]:
    """SHA-256 over (id, landmark, file size) of every listed photo, wherever the folder is, and how many exist."""
    state = hashlib.sha256()
    present = 0
    for file_id, label in zip(tqdm(catalogue.file_ids, desc="looking for photos", unit="photo"), catalogue.labels):
        path = image_path(root, file_id)
        size = path.stat().st_size if path.is_file() else -1
        present += size >= 0
        state.update(f"{file_id} {catalogue.landmark_ids[label]} {size}\n".encode())
    return state.hexdigest(), present


def _in_order(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """``map`` over a thread pool, in order, with a few results in memory at most."""
    with ThreadPoolExecutor(workers) as pool:
        pending = deque()
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > 4 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _write_shard(path: Path, records: Iterable[Dict[str, Any]]) -> int:
    """Write one MindRecord (and its ``.db``); returns the number of records. Without any, no file is made."""
    from mindspore.mindrecord import FileWriter

    writer = None
    count = 0
    for record in records:
        if writer is None:
            writer = FileWriter(str(path), shard_num=1)
            writer.set_header_size(HEADER_BYTES)
            writer.add_schema(SCHEMA, "photos with landmark labels")
        writer.write_raw_data([record])
        count += 1
    if writer is not None:
        writer.commit()
    return count


class SplitWriter:
    """Writes the shards of one split and keeps count of what went in, what was converted and what was skipped."""

    def __init__(self, folder: Path, split: str, catalogue: Catalogue, root: Path, workers: int) -> None:
        self.folder = folder
        self.split = split
        self.catalogue = catalogue
        self.root = root
        self.workers = workers
        self.shards: List[str] = []
        self.images = 0
        self.converted = 0
        self.classes = set()
        self.skipped: List[Tuple[str, str, str]] = []

    def _read(self, position: int) -> Tuple[int, bytes, bool, str]:
        path = image_path(self.root, self.catalogue.file_ids[position])
        try:
            return (position, *read_as_jpeg(path), "")
        except UnusablePhoto as reason:
            return position, b"", False, str(reason)

    def _records(self, photos: Iterable[Tuple[int, bytes, bool, str]]) -> Iterator[Dict[str, Any]]:
        for position, data, converted, reason in photos:
            file_id, label = self.catalogue.file_ids[position], self.catalogue.labels[position]
            if reason:
                self.skipped.append((file_id, str(image_path(self.root, file_id)), reason))
                continue
            self.converted += converted
            self.classes.add(label)
            yield {"file_id": file_id, "label": label, "data": data}

    def write(self, positions: np.ndarray, num_shards: int) -> None:
        """Write the photos at ``positions`` of the catalogue, in this order, as shards of equal length."""
        progress = tqdm(positions.tolist(), desc=self.split, unit="photo")
        photos = _in_order(self._read, progress, self.workers)
        for part in np.array_split(positions, min(num_shards, max(1, len(positions)))):
            share = (next(photos) for _ in range(len(part)))
            name = shard_name(self.split, len(self.shards))
            images = _write_shard(self.folder / name, self._records(share))
            if images:
                self.shards.append(name)
            self.images += images

    def summary(self) -> Dict[str, Any]:
        return {
            "images": self.images,
            "classes": len(self.classes),
            "converted": self.converted,
            "skipped": len(self.skipped),
            "shards": self.shards,
        }


def _write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _write_dataset(
    folder: Path, catalogue: Catalogue, root: Path, made_with: Dict[str, Any], workers: int
) -> Dict[str, Any]:
    """Write shards, CSV files and summary into ``folder``; returns the summary."""
    settings = made_with["settings"]
    halves = split_by_label(catalogue.labels, settings["validation_split_size"], settings["seed"])
    alone = sum(count == 1 for count in np.bincount(catalogue.labels))
    if alone:
        logger.info("%d of %d landmarks list one photo: it goes to validation", alone, catalogue.num_classes)
    writers = []
    for number, (split, positions) in enumerate(zip(SPLITS, halves)):
        # The split groups photos by label; a shuffle over all shards lets a reader that goes by shard see them mixed.
        order = np.random.default_rng((settings["seed"], number)).permutation(np.array(positions, dtype=np.int64))
        writers.append(SplitWriter(folder, split, catalogue, root, workers))
        writers[-1].write(order, settings["num_shards"])
    if not writers[0].images:
        raise UserError("no photo is left for training: every landmark has but one usable photo")
    skipped = [row for writer in writers for row in writer.skipped]
    _write_rows(folder / "skipped.csv", ("file_id", "path", "reason"), sorted(skipped))
    _write_rows(folder / "relabeling.csv", ("new_label", "old_label"), enumerate(catalogue.landmark_ids))
    summary = {
        "num_classes": catalogue.num_classes,
        "listed": len(catalogue.file_ids),
        "landmarks_without_training_photo": catalogue.num_classes - len(writers[0].classes),
        **{writer.split: writer.summary() for writer in writers},
        "made_with": made_with,
    }
    atomic_write_json(folder / SUMMARY_FILE, summary)
    return summary


def build_dataset(
    catalogue: Catalogue,
    root: Path,
    output: PathLike,
    num_shards: int = 128,
    validation_split_size: float = 0.2,
    seed: int = 0,
    workers: int = 2,
    overwrite: bool = False,
) -> Dict[str, Any]:
    """Make the data set folder of a catalogue; photos are only read, and those that cannot be used are listed.

    Args:
        catalogue: listed photos with labels.
        root: folder of the photos (see ``gldv2.image_path``).
        output: new folder, or one that holds this data set.
        num_shards: shards of each split, 1 to 1000; no more than photos.
        validation_split_size, seed: see ``gldv2.split_by_label``; the seed also orders the photos in the shards.
        workers: threads that read and decode.
        overwrite: replace a data set made from other inputs.

    Returns:
        What ``dataset.json`` holds: counts and shards of each split, ``num_classes``, and what it was made with.

    Raises:
        UserError: settings out of range, no photo found, or a folder that must not be replaced.
    """
    output = Path(output)
    if not 1 <= num_shards <= MAX_SHARDS:
        raise UserError(f"--num_shards is {num_shards}; it must be 1 to {MAX_SHARDS}")
    settings = {"num_shards": num_shards, "validation_split_size": validation_split_size, "seed": seed}
    photos, present = fingerprint(catalogue, root)
    if not present:
        raise UserError(f"{root}: none of the {len(catalogue.file_ids)} listed photos is there (--train_directory)")
    made_with = {"photos": photos, "settings": settings}
    if is_finished(output, made_with, overwrite):
        logger.info("%s: already made", output)
        return json.loads((output / SUMMARY_FILE).read_text(encoding="utf-8"))
    with temporary_folder_for(output) as folder:
        return _write_dataset(folder, catalogue, root, made_with, workers)
