"""Which photos make the steps of the stages that learn descriptors: balanced classes, large batches, mined tuples."""

import logging
from dataclasses import dataclass
from typing import Callable, Iterator, List, Protocol

import mindspore as ms
import numpy as np
from mindspore import Parameter, nn
from tqdm import tqdm

from ..config import MetricConfig, TrainingConfig
from ..data.class_samples import balanced_counts, balanced_epoch, class_batch_plan, class_batches
from ..data.reader import Batch, TrainingStream, whole_photos
from ..data.split_labels import SplitLabels
from ..data.summary import DatasetInfo
from ..data.tuples import PairSource, mine_negatives
from ..errors import UserError
from .validation import describe_padded

logger = logging.getLogger(__name__)


class BalancedStream(TrainingStream):
    """As ``TrainingStream``, but an epoch has more photos of small classes, fewer of large ones."""

    def __init__(self, metric: MetricConfig, labels: np.ndarray, *arguments: object) -> None:
        """``labels`` of the training photos; ``arguments`` of ``TrainingStream``; UserError for too small an epoch."""
        super().__init__(*arguments)
        self._balance = metric.class_balance, metric.balance_size
        self._labels = labels
        photos = int(balanced_counts(labels, *self._balance).sum())
        self.steps_per_epoch = photos // (self.training.batch_size * self.ranks)
        if self.steps_per_epoch < max(1, self.training.overfit_batches):
            fact = f"a balanced epoch has {photos} photos, fewer than a step of {self.training.batch_size}"
            raise UserError(f"{self.info.folder}: {fact}; raise `balance_size` or lower `batch_size`")

    def order(self, epoch: int) -> np.ndarray:
        """See ``TrainingStream``."""
        return balanced_epoch(self._labels, *self._balance, np.random.default_rng((self.seed, epoch)))


@dataclass(frozen=True, eq=False)
class LargeBatch:
    """The photos of a step, which are read chunk by chunk, each time anew.

    Attributes:
        labels: [N].
        file_ids: N names.
        epoch: from 0 on.
        chunks: gives the images, [B, 3, S, S] of a chunk; the last may be smaller.
    """

    labels: np.ndarray
    file_ids: List[str]
    epoch: int
    chunks: Callable[[], Iterator[np.ndarray]]


class Sampler(Protocol):
    """Which photos make the steps of an epoch: as many steps, of as many photos, in each."""

    steps: int
    photos: int

    def epoch(self, number: int) -> np.ndarray:
        """Numbers of the photos, [steps, photos]."""
        ...


class LargeStream(TrainingStream):
    """Steps of many photos that are read in chunks; on one device.

    Args:
        training, info, seed, num_workers: see ``TrainingStream``.
        chunk_size: photos that are read at once.
        split: labels and names of the training photos.
        sampler: which photos make the steps.

    Raises:
        UserError: fewer steps in an epoch than ``overfit_batches``.
    """

    def __init__(
        self,
        training: TrainingConfig,
        info: DatasetInfo,
        seed: int,
        num_workers: int,
        chunk_size: int,
        split: SplitLabels,
        sampler: Sampler,
    ) -> None:
        super().__init__(training, info, seed, num_workers)
        self._chunked = training.replace(batch_size=chunk_size)
        self._split = split
        self.sampler = sampler
        self.steps_per_epoch = sampler.steps
        if sampler.steps < max(1, training.overfit_batches):
            raise UserError(f"{info.folder}: an epoch has {sampler.steps} steps; lower `batch_size`")

    @property
    def photos_a_step(self) -> int:
        """See ``TrainingStream``."""
        return self.sampler.photos

    @property
    def photos_a_pass(self) -> int:
        """See ``TrainingStream``."""
        return self._chunked.batch_size

    def batches(self, steps: int, start_step: int = 0) -> Iterator[LargeBatch]:
        """See ``TrainingStream``; a step's photos are decided when it is asked for, after the step before it."""
        known, rows = -1, np.zeros((0, 0), np.int64)
        for step in range(start_step, steps):
            step = step % self.training.overfit_batches if self.training.overfit_batches else step
            epoch, place = divmod(step, self.steps_per_epoch)
            if epoch != known:
                known, rows = epoch, self.sampler.epoch(epoch)
            yield self._batch(rows[place], epoch)

    def _batch(self, numbers: np.ndarray, epoch: int) -> LargeBatch:
        def chunks() -> Iterator[np.ndarray]:
            return (batch.images for batch in self.photos(numbers, epoch, self._chunked.batch_size))

        names = [self._split.file_ids[number] for number in numbers]
        return LargeBatch(self._split.labels[numbers], names, epoch, chunks)

    def validation_batches(self) -> Iterator[Batch]:
        """See ``TrainingStream``, in chunks."""
        numbers, info = self.validation_numbers(), self.info
        return whole_photos(self._chunked, info, info.validation_shards, numbers, self.num_workers)


class ClassSampler:
    """Batches of different classes with so many photos of each."""

    def __init__(self, labels: np.ndarray, batch_size: int, photos_a_class: int, seed: int) -> None:
        """See ``class_samples.class_batches``, whose UserErrors are raised here."""
        self._arguments = labels, batch_size, photos_a_class
        self._seed = seed
        self.steps = class_batch_plan(*self._arguments).batches
        self.photos = batch_size

    def epoch(self, number: int) -> np.ndarray:
        """See ``Sampler``."""
        return class_batches(*self._arguments, np.random.default_rng((self._seed, number)))


class EpochTuples(nn.Cell):
    """The tuples of an epoch, [Q, 2 + N] numbers of photos, as parameters: they are kept with the state of a run."""

    def __init__(self, queries: int, size: int) -> None:
        super().__init__()
        self.numbers = Parameter(np.zeros((queries, size), np.int32), "tuples.numbers", requires_grad=False)
        self.of_epoch = Parameter(np.array([-1], np.int32), "tuples.of_epoch", requires_grad=False)

    def keep(self, epoch: int, tuples: np.ndarray) -> None:
        """Take the tuples of an epoch."""
        self.numbers.set_data(ms.Tensor(tuples.astype(np.int32)))
        self.of_epoch.set_data(ms.Tensor(np.array([epoch], np.int32)))


class TupleSampler:
    """Query, positive and mined negatives; the network of an epoch's first step says which negatives are hard.

    Args:
        source: of pairs.
        training, metric: sections of the recipe.
        info: the data set.
        seed, num_workers: see ``TrainingStream``.
        describe: images -> unit vectors.

    Raises:
        UserError: too few pairs for a step, or a pool of too few classes.
    """

    def __init__(
        self,
        source: PairSource,
        training: TrainingConfig,
        metric: MetricConfig,
        info: DatasetInfo,
        seed: int,
        num_workers: int,
        describe: nn.Cell,
    ) -> None:
        self._source = source
        self._metric = metric
        self._info = info
        self._chunked = training.replace(batch_size=metric.chunk_size)
        self._seed = seed
        self._num_workers = num_workers
        self._describe = describe
        queries = min(metric.num_queries or source.num_queries, source.num_queries)
        self.steps, self._batch = queries // training.batch_size, training.batch_size
        self.photos = training.batch_size * (2 + metric.num_negatives)
        self._draw(0)
        if not self.steps:
            fact = f"an epoch has {queries} pairs of photos, fewer than the {training.batch_size} tuples of a step"
            raise UserError(f"{info.folder}: {fact}; lower `batch_size`")
        self.kept = EpochTuples(queries, 2 + metric.num_negatives)

    def _draw(self, epoch: int):
        metric, generator = self._metric, np.random.default_rng((self._seed, epoch))
        return self._source.draw(metric.num_queries, metric.pool_size, metric.num_negatives, generator)

    def epoch(self, number: int) -> np.ndarray:
        """See ``Sampler``; mined unless the state of the run holds them already."""
        if int(self.kept.of_epoch.asnumpy()[0]) != number:
            self.kept.keep(number, self._mine(number))
        used = self.kept.numbers.asnumpy()[: self.steps * self._batch].astype(np.int64)
        return used.reshape(self.steps, self.photos)

    def _mine(self, epoch: int) -> np.ndarray:
        pairs, pool = self._draw(epoch)
        seen, places = np.unique(np.concatenate([pairs[:, 0], pool]), return_inverse=True)
        vectors, clusters = self._vectors(seen)[places.reshape(-1)], self._source.clusters
        queries = len(pairs)
        mined = mine_negatives(
            vectors[:queries], clusters[pairs[:, 0]], vectors[queries:], clusters[pool], self._metric.num_negatives
        )
        logger.info(
            "epoch %d: negatives of %d pairs among %d photos, at a mean distance of %.3f",
            epoch + 1, queries, len(pool), mined.distance,
        )  # fmt: skip
        return np.concatenate([pairs, pool[mined.places]], axis=1)

    def _vectors(self, numbers: np.ndarray) -> np.ndarray:
        size, info, found = self._metric.chunk_size, self._info, []
        batches = whole_photos(self._chunked, info, info.train_shards, numbers, self._num_workers)
        with tqdm(total=len(numbers), desc="mining", unit="photo", disable=None, leave=False) as bar:
            for batch in batches:
                found.append(describe_padded(self._describe, batch.images, size))
                bar.update(len(batch.labels))
        return np.concatenate(found)
