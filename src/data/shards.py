"""The data set folder of a catalogue: split, shards, CSV files and summary, built aside and moved into place."""

import csv
import hashlib
import logging
import os
import shutil
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, Iterable, Sequence, Tuple

import numpy as np
from tqdm import tqdm

from ..artifacts import PathLike, atomic_write_json, build_folder_for, is_made, restore_folder
from ..errors import UserError
from ..records import Provenance
from ..workers import ordered_map
from .catalogue import Catalogue
from .lists import split_by_label
from .shard_writer import Source, SplitWriter, read_photos
from .summary import (
    RELABELING_FILE,
    SKIPPED_FILE,
    SPLITS,
    SUMMARY_FILE,
    read_summary,
    require_mindrecord_name,
    stored_provenance,
)

logger = logging.getLogger(__name__)

MAX_SHARDS = 1000
FEW_PHOTOS = 500  # not worth the start of processes
MIN_PHOTO_SIZE = 10  # pixels; the reference TF DELF finds no feature in anything smaller


@dataclass(frozen=True)
class DatasetSettings:
    """What a data set depends on beside its photos; UserError for a number out of range.

    Attributes:
        num_shards: shards of each split, 1 to 1000; no more than photos are made.
        validation_split_size, seed: see ``split_by_label``; the seed also orders the photos in the shards.
        min_photo_size: photos with a side of fewer pixels are left out.
    """

    num_shards: int = 128
    validation_split_size: float = 0.2
    seed: int = 0
    min_photo_size: int = MIN_PHOTO_SIZE

    def __post_init__(self) -> None:
        if not 1 <= self.num_shards <= MAX_SHARDS:
            raise UserError(f"`num_shards` is {self.num_shards}; it must be 1 to {MAX_SHARDS}")
        if self.min_photo_size < 1:
            raise UserError(f"`min_photo_size` is {self.min_photo_size}; it must be 1 or more")


def fingerprint(source: Source) -> Tuple[str, int]:
    """SHA-256 over (name, class, file size) of every listed photo, wherever the folder is, and all sizes summed."""
    catalogue = source.catalogue
    state = hashlib.sha256()
    total = 0
    listed = zip(
        tqdm(catalogue.file_ids, desc="looking for photos", unit="photo", disable=None), catalogue.labels.tolist()
    )
    for file_id, label in listed:
        try:
            size = os.stat(catalogue.locate(source.root, file_id)).st_size
            total += size
        except (OSError, ValueError):  # not there, or no name of a file
            size = -1
        state.update(f"{file_id} {catalogue.class_names[label]} {size}\n".encode("utf-8", "surrogateescape"))
    return state.hexdigest(), total


def _write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
        # csv quotes what its own line end, \r\n, is made of: a name may hold either.
        writer = csv.writer(SimpleNamespace(write=lambda row: stream.write(row[:-2] + "\n")))
        writer.writerow(header)
        writer.writerows(rows)


def _write_skipped(path: Path, writers: Sequence[SplitWriter]) -> None:
    """``skipped.csv`` in the order of the list."""
    reasons = [(reason, positions) for writer in writers for reason, positions in writer.skipped.items()]
    positions = np.concatenate([np.empty(0, np.int32), *(np.array(positions, np.int32) for _, positions in reasons)])
    numbers = np.repeat(np.arange(len(reasons), dtype=np.int32), [len(positions) for _, positions in reasons])
    source = writers[0].source
    rows = (
        (source.catalogue.file_ids[positions[place]], source.path(positions[place]), reasons[numbers[place]][0])
        for place in np.argsort(positions)
    )
    _write_rows(path, ("file_id", "path", "reason"), rows)


def _write_dataset(folder: Path, source: Source, wanted: Provenance, workers: int) -> Dict[str, Any]:
    """Write shards, CSV files and summary into ``folder``; returns the summary."""
    settings, catalogue = wanted.settings, source.catalogue
    halves = split_by_label(catalogue.labels, settings["validation_split_size"], settings["seed"])
    alone = sum(count == 1 for count in np.bincount(catalogue.labels))
    if alone:
        logger.info("%d of %d classes list one photo: it goes to validation", alone, catalogue.num_classes)
    writers = [SplitWriter(folder, split, source) for split in SPLITS]
    read = partial(read_photos, min_photo_size=settings["min_photo_size"])
    with ordered_map(read, workers if len(catalogue.labels) > FEW_PHOTOS else 1) as read_in_order:
        for number, (writer, positions) in enumerate(zip(writers, halves)):
            # The split groups photos by label; shuffled over all shards, a reader that goes by shard sees them mixed.
            order = np.random.default_rng((settings["seed"], number)).permutation(positions)
            writer.write(order, settings["num_shards"], read_in_order)
    if not writers[0].images:
        fact = "no photo is left for training: every class has but one usable photo, which goes to validation"
        raise UserError(f"{source.root}: {fact}; list two or more of a class")
    _write_skipped(folder / SKIPPED_FILE, writers)
    _write_rows(folder / RELABELING_FILE, ("new_label", "old_label"), enumerate(catalogue.class_names))
    summary = {
        "num_classes": catalogue.num_classes,
        "listed": len(catalogue.file_ids),
        "classes_without_training_photo": catalogue.num_classes - len(writers[0].classes),
        **{writer.split: writer.summary() for writer in writers},
        "made_with": {**wanted.sources, "settings": settings},
    }
    atomic_write_json(folder / SUMMARY_FILE, summary)
    for path in folder.iterdir():  # MindSpore's files are its maker's alone; they are to be as any new file
        path.chmod((folder / SUMMARY_FILE).stat().st_mode)
    return summary


def build_dataset(
    catalogue: Catalogue,
    root: Path,
    output: PathLike,
    settings: DatasetSettings = DatasetSettings(),  # noqa: B008
    workers: int = 2,
    overwrite: bool = False,
    on_error: str = "skip",
) -> Dict[str, Any]:
    """Make the data set folder of a catalogue; photos are only read, and those that cannot be used are listed.

    Args:
        catalogue: listed photos with labels.
        root: folder of the photos (see ``Catalogue.locate``).
        output: new folder, or one that holds this data set.
        settings: what else the content depends on.
        workers: processes that read and decode.
        overwrite: replace a data set made from other inputs.
        on_error: what to do with a photo that cannot be used, "skip" it or "stop".

    Returns:
        What ``dataset.json`` holds: counts and shards of each split, ``num_classes``, and what it was made with.

    Raises:
        UserError: no photo found, a folder that must not be replaced or that another process is making, or, with
            ``on_error`` "stop", a photo that cannot be used.
    """
    output = restore_folder(output)
    if output.is_file():
        raise UserError(f"{output}: is a file; give `output_directory` a folder")
    require_mindrecord_name(output.absolute(), "output_directory")
    source = Source(catalogue, str(root), on_error)
    digest, size = fingerprint(source)
    if not size:
        fact = f"none of the {len(catalogue.file_ids)} listed photos is there, or all are empty"
        fix = "give another folder, or mend the list"
        raise UserError(f"{root}: {fact}; the first was sought as {source.path(0)}: {fix}")
    wanted = Provenance(settings=asdict(settings), sources={"photos": digest})
    if is_made(
        output, wanted, partial(stored_provenance, replaced=overwrite), overwrite, "output_directory", folder=True
    ):
        return read_summary(output)
    with build_folder_for(output) as folder:
        free = shutil.disk_usage(folder).free
        if free < size:
            logger.warning("%s: %.1f GB are free, the photos take %.1f GB", output, free / 1e9, size / 1e9)
        return _write_dataset(folder, source, wanted, workers)
