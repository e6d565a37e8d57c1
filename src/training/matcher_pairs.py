"""Pairs of photos from a feature file: what a matcher learns from, and is validated with."""

import logging
from functools import lru_cache
from typing import Iterator, Mapping, NamedTuple, Sequence, Tuple

import numpy as np

from ..artifacts import PathLike
from ..config import TrainingConfig
from ..data.reader import Batch, TrainingStream
from ..data.split_labels import SplitLabels
from ..data.summary import DatasetInfo
from ..data.training_pairs import training_pairs
from ..data.tuples import PairSource
from ..errors import UserError
from ..features.feature_file import FeatureFile

logger = logging.getLogger(__name__)

_KEPT_PHOTOS = 4000  # in memory; of 300 x 40 numbers 0.2 GB
_HARDEST = 50  # photos of other labels, most alike first, that hard negatives are drawn from
_LEAST_DESCRIPTORS = 100  # of a photo in a step, where it has more
_HELD_OUT = 0.2  # share of the labels that validate
_LEAST_LABELS = 6  # else none is held out
_VALIDATION_PAIRS = 128  # and as many negatives, at most


class Photos:
    """The photos with a label and local features, and the descriptors of each.

    Args:
        source: feature file.
        classes: names of the photos of each label.
        num_descriptors: of a photo, best first, at most.

    Attributes:
        path: of the file.
        names: sorted.
        labels: [N] int64, places among the labels.
        dimension: of a descriptor.

    Raises:
        UserError: fewer than two labels have photos with features, or descriptors differ in length.
    """

    def __init__(self, source: FeatureFile, classes: Mapping[str, Sequence[str]], num_descriptors: int) -> None:
        labelled = sorted((name, place) for place, names in enumerate(classes.values()) for name in names)
        shapes = {name: source.shape(name) for name, _ in labelled if source.has_local(name)}
        kept = [(name, place) for name, place in labelled if shapes.get(name, (0, 0))[0]]
        if len(kept) < len(labelled):
            logger.info("%d of %d photos have no features and are left out", len(labelled) - len(kept), len(labelled))
        self.path = source.path
        self.names = [name for name, _ in kept]
        self.labels = np.array([place for _, place in kept], np.int64)
        if len(np.unique(self.labels)) < 2:
            raise UserError(f"{source.path}: two labels at least must have photos with local features")
        dimensions = {shapes[name][1] for name in self.names}
        if len(dimensions) > 1:
            raise UserError(f"{source.path}: its descriptors differ in length; extract them alike")
        self.dimension = dimensions.pop()
        self.num_descriptors = num_descriptors
        self.of = lru_cache(_KEPT_PHOTOS)(lambda photo: source.read(self.names[photo]).descriptors[:num_descriptors])
        means = np.stack([self.of(photo).mean(axis=0) for photo in range(len(self.names))])
        self._means = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)

    def hardest(self, photo: int, among: np.ndarray) -> np.ndarray:
        """Photos of other labels ``among`` some whose mean descriptors are most like its own, most alike first."""
        others = among[self.labels[among] != self.labels[photo]]
        return others[np.argsort(-(self._means[others] @ self._means[photo]), kind="stable")[:_HARDEST]]


class Split(NamedTuple):
    """Photos by their numbers, [M], and their pairs of the same place, numbers within ``photos``."""

    photos: np.ndarray
    source: PairSource


def split_pairs(photos: Photos, pairs_path: PathLike, seed: int) -> Tuple[Split, Split]:
    """Training and validation photos, of different labels, with their pairs.

    Args:
        photos: all of them.
        pairs_path: as of ``data.training_pairs``.
        seed: of the labels that are held out.

    Returns:
        Both; the second has no pair where labels are few, or none of those held out has one.

    Raises:
        UserError: no pair to learn from.
    """
    labels = np.random.default_rng(seed).permutation(np.unique(photos.labels))
    count = max(2, round(_HELD_OUT * len(labels))) if len(labels) >= _LEAST_LABELS else 0
    held_out = np.isin(photos.labels, labels[:count])

    def part(numbers: np.ndarray) -> Split:
        split = SplitLabels([photos.names[number] for number in numbers], photos.labels[numbers])
        return Split(numbers, training_pairs(pairs_path, split, "pairs"))

    train, numbers = part(np.flatnonzero(~held_out)), np.flatnonzero(held_out)
    try:
        return train, part(numbers)
    except UserError:  # no pair; the file itself has just been read
        return train, Split(numbers, PairSource(np.zeros(0, np.int64)))


class MatchStream(TrainingStream):
    """Batches of pairs: as many of the same place as of different labels, half of these alike by mean descriptors.

    A batch's ``images`` are descriptors, [B, 2, K, C], zeros where a photo has fewer than K; a random number of each
    photo's best takes part. Its ``labels`` are 1 for pairs of the same place, else 0.

    Args:
        training: ``batch_size`` is in pairs, even.
        info: of the photos.
        photos: with their descriptors.
        train, validation: of ``split_pairs``.
        seed: of everything drawn.
    """

    def __init__(
        self, training: TrainingConfig, info: DatasetInfo, photos: Photos, train: Split, validation: Split, seed: int
    ) -> None:
        self.training, self.info, self.seed = training, info, seed
        self._photos, self._train, self._validation = photos, train, validation
        self._positives = training.batch_size // 2
        self.steps_per_epoch = train.source.num_queries // self._positives
        if not self.steps_per_epoch:
            fact = f"{train.source.num_queries} pairs of the same place to learn from"
            raise UserError(f"{info.folder}: {fact}, a step takes {self._positives}; lower `pairs_a_step`")

    @property
    def photos_a_step(self) -> int:
        """See ``TrainingStream``."""
        return 2 * self.training.batch_size

    @property
    def step_in_words(self) -> str:
        """See ``TrainingStream``."""
        return f"{self.training.batch_size} pairs of photos with {self._photos.num_descriptors} descriptors"

    def batches(self, steps: int, start_step: int = 0) -> Iterator[Batch]:
        """See ``TrainingStream``; a batch follows from the seed and its step alone."""
        known, pairs = -1, np.zeros((0, 2), np.int64)
        for step in range(start_step, steps):
            epoch, place = divmod(step, self.steps_per_epoch)
            if epoch != known:
                known, pairs = epoch, self._drawn(self._train, epoch)
            chosen = pairs[place * self._positives : (place + 1) * self._positives]
            yield self._batch(self._train, chosen, np.random.default_rng((self.seed, epoch, place)), epoch, True)

    def validation_batches(self) -> Iterator[Batch]:
        """Pairs of the labels held out, the same each time, with all descriptors that may take part."""
        pairs = self._drawn(self._validation, 0)[:_VALIDATION_PAIRS]
        for start in range(0, len(pairs), self._positives):
            chosen, rng = pairs[start : start + self._positives], np.random.default_rng((self.seed, start))
            yield self._batch(self._validation, chosen, rng, 0, False)

    def _drawn(self, split: Split, epoch: int) -> np.ndarray:
        drawn = split.source.draw(0, 0, 1, np.random.default_rng((self.seed, epoch)))
        return split.photos[drawn.pairs]

    def _batch(self, split: Split, positives: np.ndarray, rng: np.random.Generator, epoch: int, trims: bool) -> Batch:
        negatives = [(query, self._negative(split, query, rng)) for query in positives[:, 0].tolist()]
        pairs = np.concatenate([positives, np.array(negatives)])
        most = self._photos.num_descriptors
        packed = np.zeros((len(pairs), 2, most, self._photos.dimension), np.float32)
        for place, photo in np.ndenumerate(pairs):
            count = rng.integers(min(_LEAST_DESCRIPTORS, most), most + 1) if trims else most
            descriptors = self._photos.of(int(photo))[:count]
            packed[place][: len(descriptors)] = descriptors
        names = [" and ".join(self._photos.names[photo] for photo in pair) for pair in pairs]
        return Batch(packed, np.repeat([1, 0], len(positives)).astype(np.int32), names, epoch)

    def _negative(self, split: Split, query: int, rng: np.random.Generator) -> int:
        others = self._photos.hardest(query, split.photos)
        if rng.random() < 0.5:
            others = split.photos[self._photos.labels[split.photos] != self._photos.labels[query]]
        return int(rng.choice(others))
