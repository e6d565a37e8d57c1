"""Batches out of MindRecord shards: seeded, the same for any number of workers, resumable at any step."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Callable, Iterable, Iterator, List, NamedTuple, Sequence, Tuple

import numpy as np

from ..config import TrainingConfig
from ..errors import UserError
from .augmentation import random_crop, whole_photo
from .summary import AGAIN, MAKE_AGAIN, DatasetInfo

COLUMNS = ["file_id", "label", "data"]
PREFETCHED_BATCHES = 2


class Record(NamedTuple):
    """One row of a shard; ``number`` is its place in the whole split."""

    number: int
    file_id: str
    label: int
    data: bytes


class Batch(NamedTuple):
    """images [B, 3, S, S] float32 in (RGB - 128) / 128, labels [B] int32, the photos' names, the epoch from 0 on."""

    images: np.ndarray
    labels: np.ndarray
    file_ids: List[str]
    epoch: int


Prepare = Callable[[Record], np.ndarray]  # one photo, [3, S, S]
Work = Iterable[Tuple[int, List[Record], Prepare]]  # for each batch: its epoch, its photos, what becomes of them


@contextmanager
def told_of(shards: Sequence[str]) -> Iterator[None]:
    """Around MindSpore's reading of shards: whatever it raises, in pages of text, becomes one sentence.

    Raises:
        UserError: names the shard that MindSpore names, or their folder.
    """
    try:
        yield
    except (UserError, OSError, MemoryError):
        raise
    except Exception as error:
        named = [shard for shard in shards if shard in str(error) or len(shards) == 1]
        where = named[0] if named else Path(shards[0]).parent
        raise UserError(f"{where}: damaged, MindSpore cannot read it; {AGAIN}") from error


def read_records(shards: Sequence[str], numbers: np.ndarray) -> Iterator[Record]:
    """Records of a split by their numbers, in the order asked for; MindSpore reads ahead in its own thread.

    Raises:
        UserError: a damaged shard, or rows of other columns.
    """
    import mindspore.dataset as ds

    if not len(numbers):
        return
    with told_of(shards):
        sampler = ds.SubsetSampler(numbers.tolist())
        dataset = ds.MindDataset(list(shards), columns_list=COLUMNS, sampler=sampler, num_parallel_workers=1)
        rows = dataset.create_dict_iterator(num_epochs=1, output_numpy=True)
        for number in numbers.tolist():
            row = next(rows)
            yield Record(number, str(row["file_id"]), int(row["label"]), row["data"].tobytes())


def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """The permutation of 0..count-1 that an epoch follows."""
    return np.random.default_rng((seed, epoch)).permutation(count)


def _fill(batch: Batch, slot: int, record: Record, prepare: Prepare, info: DatasetInfo) -> None:
    """Put one photo into its place of a batch; UserError names a photo with a bad label or bad bytes."""
    if not 0 <= record.label < info.num_classes:
        raise UserError(
            f"{info.folder}: photo {record.file_id} has label {record.label}, outside 0 to {info.num_classes - 1}; "
            f"{MAKE_AGAIN}"
        )
    try:
        batch.images[slot] = prepare(record)
    except ValueError as error:
        raise UserError(f"{info.folder}: photo {record.file_id}: {error}; {MAKE_AGAIN}") from error
    batch.labels[slot] = record.label
    batch.file_ids[slot] = record.file_id


def _load(work: Work, info: DatasetInfo, image_size: int, num_workers: int) -> Iterator[Batch]:
    """A batch for each item of ``work``, in order; threads decode the next ones while the caller uses the last."""

    def start(epoch: int, records: List[Record], prepare: Prepare) -> Tuple[Batch, List[Future]]:
        images = np.empty((len(records), 3, image_size, image_size), np.float32)
        batch = Batch(images, np.empty(len(records), np.int32), [""] * len(records), epoch)
        return batch, [pool.submit(_fill, batch, slot, row, prepare, info) for slot, row in enumerate(records)]

    def finish(batch: Batch, futures: List[Future]) -> Batch:
        for future in futures:
            future.result()
        return batch

    pool = ThreadPoolExecutor(num_workers)
    pending: deque = deque()
    try:
        for item in work:
            pending.append(start(*item))
            if len(pending) > PREFETCHED_BATCHES:
                yield finish(*pending.popleft())
        while pending:
            yield finish(*pending.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _chunks(records: Iterator[Record], size: int) -> Iterator[List[Record]]:
    """Lists of ``size`` records; the last may be shorter."""
    return iter(lambda: list(islice(records, size)), [])


class TrainingStream:
    """The endless sequence of training batches that (data set, batch_size, image_size, use_augmentation, seed) define.

    Epoch e visits the photos in ``epoch_order(count, seed, e)`` and drops the incomplete step at its end; the crop of
    a photo is drawn from (seed, epoch, number of the photo). Step s is hence the same batch whenever and with however
    many threads it is read. Of several ranks, each takes its ``batch_size`` photos of a step: rank r's are a part of
    their own, and all of them together are what one rank with ``ranks * batch_size`` would take.
    """

    def __init__(
        self,
        training: TrainingConfig,
        info: DatasetInfo,
        seed: int = 0,
        num_workers: int = 2,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        """UserError when the training set has fewer photos than one step, or than ``overfit_batches`` take."""
        self.steps_per_epoch = info.num_train // (training.batch_size * ranks)
        if self.steps_per_epoch < max(1, training.overfit_batches):
            several = f" on {ranks} devices" if ranks > 1 else ""
            batches = f" for `overfit_batches` {training.overfit_batches}" if training.overfit_batches else ""
            raise UserError(
                f"{info.folder}: {info.num_train} training photos are too few{batches} with `batch_size` "
                f"{training.batch_size}{several}"
            )
        self.training = training
        self.info = info
        self.seed = seed
        self.num_workers = num_workers
        self.rank = rank
        self.ranks = ranks

    @property
    def photos_a_step(self) -> int:
        """Of this rank."""
        return self.training.batch_size

    @property
    def step_in_words(self) -> str:
        """What a step of all ranks takes, for the log."""
        return f"{self.photos_a_step * self.ranks} photos at {self.training.image_size} px"

    @property
    def photos_a_pass(self) -> int:
        """Photos that pass the network at once."""
        return self.training.batch_size

    def _prepare(self, epoch: int) -> Prepare:
        size, seed, min_area = self.training.image_size, self.seed, self.training.min_crop_area
        if not self.training.use_augmentation:
            return lambda record: whole_photo(record.data, size)

        def crop(record: Record) -> np.ndarray:
            return random_crop(record.data, size, np.random.default_rng((seed, epoch, record.number)), min_area)

        return crop

    def order(self, epoch: int) -> np.ndarray:
        """Numbers of the photos of an epoch, in order; those beyond the last whole step are not used."""
        return epoch_order(self.info.num_train, self.seed, epoch)

    def orders(self, steps: int, start_step: int) -> Iterator[Tuple[int, np.ndarray]]:
        """Of each epoch, from 0 on: the numbers of this rank's photos, [S, B] for S steps."""
        batch_size = self.training.batch_size
        while start_step < steps:
            epoch, first = divmod(start_step, self.steps_per_epoch)
            last = min(self.steps_per_epoch, first + steps - start_step)
            order = self.order(epoch)
            steps_of_ranks = order[: self.steps_per_epoch * self.ranks * batch_size].reshape(-1, self.ranks, batch_size)
            yield epoch, steps_of_ranks[first:last, self.rank]
            start_step += last - first

    def _work(self, steps: int, start_step: int) -> Work:
        for epoch, numbers in self.orders(steps, start_step):
            prepare = self._prepare(epoch)
            for chunk in _chunks(read_records(self.info.train_shards, numbers.ravel()), self.training.batch_size):
                yield epoch, chunk, prepare

    def photos(self, numbers: np.ndarray, epoch: int, size: int) -> Iterator[Batch]:
        """Training photos by their numbers, prepared as in an epoch, ``size`` at a time; the last may be fewer."""
        chunks, prepare = _chunks(read_records(self.info.train_shards, numbers), size), self._prepare(epoch)
        work = ((epoch, chunk, prepare) for chunk in chunks)
        return _load(work, self.info, self.training.image_size, self.num_workers)

    def epoch_of(self, step: int) -> int:
        """The epoch, from 0 on, of the batch of a global step, counted from 0."""
        return 0 if self.training.overfit_batches else step // self.steps_per_epoch

    def batches(self, steps: int, start_step: int = 0) -> Iterator[Batch]:
        """The batches of the global steps ``start_step`` .. ``steps - 1``, across as many epochs as that takes."""
        overfit = self.training.overfit_batches
        if overfit:
            kept = list(self._batches(overfit, 0))
            return (kept[step % overfit] for step in range(start_step, steps))
        return self._batches(steps, start_step)

    def _batches(self, steps: int, start_step: int) -> Iterator[Batch]:
        return _load(self._work(steps, start_step), self.info, self.training.image_size, self.num_workers)

    def all_validation_numbers(self) -> np.ndarray:
        """Numbers of the validation photos that all ranks look at."""
        return validation_numbers(self.training, self.info)

    def validation_numbers(self) -> np.ndarray:
        """Numbers of the validation photos that this rank looks at: every ``ranks``-th one."""
        return self.all_validation_numbers()[self.rank :: self.ranks]

    def validation_batches(self) -> Iterator[Batch]:
        """The photos of ``validation_numbers``, whole; the last batch may be smaller."""
        numbers = self.validation_numbers()
        return whole_photos(self.training, self.info, self.info.validation_shards, numbers, self.num_workers)


def validation_numbers(training: TrainingConfig, info: DatasetInfo) -> np.ndarray:
    """Numbers of the first ``eval_photos`` validation photos; of all, when it is 0."""
    return np.arange(min(info.num_validation, training.eval_photos or info.num_validation))


def whole_photos(
    training: TrainingConfig, info: DatasetInfo, shards: Sequence[str], numbers: np.ndarray, num_workers: int
) -> Iterator[Batch]:
    """Photos of a split by their numbers, whole, in batches of ``batch_size``; the last may be smaller."""
    size = training.image_size
    chunks = _chunks(read_records(shards, numbers), training.batch_size)
    work = ((0, chunk, lambda record: whole_photo(record.data, size)) for chunk in chunks)
    return _load(work, info, size, num_workers)
