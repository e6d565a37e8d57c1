"""Reads a finished data set back: everything that was written is there, whole, and decodes."""

import csv
import zlib
from itertools import islice
from pathlib import Path
from typing import Dict, Iterator, List, Set, Tuple

from tqdm import tqdm

from ..artifacts import PathLike, require_file
from ..errors import UserError, reading
from ..workers import OrderedMap, ordered_map
from .jpeg import UnusablePhoto, check_jpeg, read_header
from .reader import told_of
from .shard_writer import chain_checksum
from .summary import AGAIN, RELABELING_FILE, SPLITS, SUMMARY_FILE, DatasetInfo, dataset_info, read_summary


def _records(shard: Path) -> Iterator[Tuple[str, int, bytes]]:
    from mindspore.mindrecord import FileReader

    with told_of([str(shard)]):
        reader = FileReader(str(shard))
        for row in reader.get_next():
            yield str(row["file_id"]), int(row["label"]), bytes(row["data"])
        reader.close()


def _check_record(record: Tuple[str, int, bytes]) -> Tuple[str, int, int, str]:
    """Name, label, CRC-32 of the JPEG, and what is wrong with it."""
    file_id, label, data = record
    fault = ""
    try:
        header = read_header(data)
        if header is None:
            raise UnusablePhoto("not a JPEG")
        check_jpeg(data, header)
    except UnusablePhoto as error:
        fault = str(error)
    return file_id, label, zlib.crc32(data), fault


def _verify_shard(shard: Path, expected: Dict[str, int], num_classes: int, check: OrderedMap) -> Set[int]:
    """Check a shard against what ``dataset.json`` says of it; returns the labels in it."""
    count = checksum = 0
    labels: Set[int] = set()
    for file_id, label, data_checksum, fault in check(_records(shard)):
        if fault:
            raise UserError(f"{shard}: photo {file_id} does not decode ({fault}); {AGAIN}")
        if not 0 <= label < num_classes:
            raise UserError(f"{shard}: photo {file_id} has label {label}, outside 0 to {num_classes - 1}; {AGAIN}")
        count += 1
        labels.add(label)
        checksum = chain_checksum(checksum, file_id, label, data_checksum)
    if count != expected["photos"]:
        raise UserError(f"{shard}: holds {count} photos, dataset.json says {expected['photos']}; {AGAIN}")
    if checksum != expected["crc32"]:
        raise UserError(f"{shard}: its content is not what was written; {AGAIN}")
    return labels


def _verify_relabeling(path: Path, num_classes: int) -> None:
    require_file(path, "output_directory")
    with reading(path, AGAIN), open(path, newline="", encoding="utf-8", errors="replace") as stream:
        new_labels: List[str] = [row[0] for row in islice(filter(None, csv.reader(stream)), num_classes + 2)]
    if new_labels != ["new_label", *map(str, range(num_classes))]:
        raise UserError(f"{path}: does not list the labels 0 to {num_classes - 1}; {AGAIN}")


def verify_dataset(path: PathLike, workers: int = 2) -> DatasetInfo:
    """Read every record of a data set and check counts, labels, content and that each photo decodes.

    Returns:
        The data set's summary.

    Raises:
        UserError: no data set there, or the first thing that is wrong with it.
    """
    info = dataset_info(path)
    summary = read_summary(info.folder)
    _verify_relabeling(info.folder / RELABELING_FILE, info.num_classes)
    with ordered_map(_check_record, workers) as check:
        entries = [(split, name, entry) for split in SPLITS for name, entry in summary[split]["shards"].items()]
        labels: Dict[str, Set[int]] = {split: set() for split in SPLITS}
        for split, name, entry in tqdm(entries, desc="verifying", unit="shard", disable=None):
            labels[split] |= _verify_shard(info.folder / name, entry, info.num_classes, check)
    if any(len(labels[split]) != summary[split]["classes"] for split in SPLITS):
        raise UserError(f"{info.folder / SUMMARY_FILE}: its counts of classes are not those of the shards; {AGAIN}")
    return info
