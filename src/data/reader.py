"""Batches out of MindRecord shards: seeded, the same for any number of workers, resumable at any step."""

import json
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterable, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from src.data.augmentation import random_crop, whole_photo
from src.errors import UserError
from src.files import PathLike

SUMMARY_FILE = "dataset.json"
COLUMNS = ["file_id", "label", "data"]
MAKE_IT = "make the data set with build_image_dataset.py"
PREFETCHED_BATCHES = 2


class Record(NamedTuple):
    """One row of a shard; ``number`` is its place in the whole split."""

    number: int
    file_id: str
    label: int
    data: bytes


class Batch(NamedTuple):
    """images [B, 3, S, S] float32 in (RGB - 128) / 128, labels [B] int32, and the photos' names."""

    images: np.ndarray
    labels: np.ndarray
    file_ids: List[str]


Prepare = Callable[[Record], np.ndarray]


@dataclass(frozen=True)
class DatasetInfo:
    """What ``dataset.json`` says: number of classes, photos and shard paths of each split."""

    folder: Path
    num_classes: int
    train_images: int
    validation_images: int
    train_shards: Tuple[str, ...]
    validation_shards: Tuple[str, ...]


def dataset_info(traindata_path: PathLike) -> DatasetInfo:
    """Read the summary of a data set, given its folder or its first shard; every shard it names must be there.

    Raises:
        UserError: nothing there, no data set of ours, a damaged summary, or a missing shard.
    """
    path = Path(traindata_path)
    if not str(traindata_path):
        raise UserError(f"--traindata_path is not set: give the path of train.mindrecord000, or {MAKE_IT}")
    if not path.exists():
        raise UserError(f"{path}: no such data set (--traindata_path); {MAKE_IT}")
    folder = path if path.is_dir() else path.parent
    try:
        summary = json.loads((folder / SUMMARY_FILE).read_text(encoding="utf-8"))
        shards = {
            split: tuple(str(folder / name) for name in summary[split]["shards"]) for split in ("train", "validation")
        }
        info = DatasetInfo(
            folder=folder,
            num_classes=int(summary["num_classes"]),
            train_images=int(summary["train"]["images"]),
            validation_images=int(summary["validation"]["images"]),
            train_shards=shards["train"],
            validation_shards=shards["validation"],
        )
    except FileNotFoundError as error:
        raise UserError(f"{folder}: has no {SUMMARY_FILE}; {MAKE_IT}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / SUMMARY_FILE}: damaged; {MAKE_IT} --overwrite") from error
    for shard in info.train_shards + info.validation_shards:
        for name in (shard, f"{shard}.db"):
            if not os.path.isfile(name):
                raise UserError(f"{name}: missing; copy the whole folder, or {MAKE_IT} --overwrite")
    return info


def read_records(shards: Iterable[str], numbers: np.ndarray) -> Iterator[Record]:
    """Records of a split by their numbers, in the order asked for; MindSpore reads ahead in its own thread."""
    import mindspore.dataset as ds

    sampler = ds.SubsetSampler(numbers.tolist())
    dataset = ds.MindDataset(list(shards), columns_list=COLUMNS, sampler=sampler, num_parallel_workers=1)
    rows = dataset.create_dict_iterator(num_epochs=1, output_numpy=True)
    for number, row in zip(numbers.tolist(), rows):
        yield Record(number, str(row["file_id"]), int(row["label"]), row["data"].tobytes())


def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """The permutation of 0..count-1 that an epoch follows."""
    return np.random.default_rng((seed, epoch)).permutation(count)


class _Loader:
    """Turns records into batches: threads decode into the batch's own array while earlier batches are used."""

    def __init__(self, info: DatasetInfo, image_size: int, num_workers: int) -> None:
        self.info = info
        self.image_size = image_size
        self.num_workers = num_workers

    def _fill(self, batch: Batch, slot: int, record: Record, prepare: Prepare) -> None:
        if not 0 <= record.label < self.info.num_classes:
            raise UserError(
                f"{self.info.folder}: photo {record.file_id} has label {record.label}, but the labels of "
                f"{self.info.num_classes} classes are 0 to {self.info.num_classes - 1}; {MAKE_IT} --overwrite"
            )
        try:
            batch.images[slot] = prepare(record)
        except ValueError as error:
            raise UserError(f"{self.info.folder}: photo {record.file_id}: {error}; {MAKE_IT} --overwrite") from error
        batch.labels[slot] = record.label
        batch.file_ids[slot] = record.file_id

    def load(self, work: Iterable[Tuple[List[Record], Prepare]]) -> Iterator[Batch]:
        """Yield a batch for each item of ``work``, in order, a few prepared ahead."""
        pool = ThreadPoolExecutor(self.num_workers)
        pending: deque = deque()
        try:
            for records, prepare in work:
                pending.append(self._start(pool, records, prepare))
                if len(pending) > PREFETCHED_BATCHES:
                    yield self._finish(*pending.popleft())
            while pending:
                yield self._finish(*pending.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _start(self, pool: ThreadPoolExecutor, records: List[Record], prepare: Prepare) -> Tuple[Batch, List[Future]]:
        images = np.empty((len(records), 3, self.image_size, self.image_size), np.float32)
        batch = Batch(images, np.empty(len(records), np.int32), [""] * len(records))
        return batch, [pool.submit(self._fill, batch, slot, record, prepare) for slot, record in enumerate(records)]

    @staticmethod
    def _finish(batch: Batch, futures: List[Future]) -> Batch:
        for future in futures:
            future.result()
        return batch


def _chunks(records: Iterator[Record], size: int) -> Iterator[List[Record]]:
    chunk: List[Record] = []
    for record in records:
        chunk.append(record)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
