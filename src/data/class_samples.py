"""Which photos make the steps of an epoch by their labels: classes balanced, or batches with n photos of a class.

Everything here is drawn from the generator that is given, so ``default_rng((seed, epoch))`` gives the same photos
whenever it is asked. How many there are follows from the labels alone, so that a step's epoch is known before.
"""

from typing import List, NamedTuple

import numpy as np

from ..errors import UserError


class ClassBatches(NamedTuple):
    """How the batches of an epoch are composed.

    Attributes:
        batches: in an epoch.
        classes: in a batch, each different.
        photos: of each class of a batch.
    """

    batches: int
    classes: int
    photos: int


def photos_by_class(labels: np.ndarray) -> List[np.ndarray]:
    """Numbers of the photos of each class that has some, by rising label, each rising; ``labels`` are [N]."""
    labels = np.asarray(labels)
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1) if len(order) else []


def balanced_counts(labels: np.ndarray, exponent: float, size: float) -> np.ndarray:
    """How many photos of each class a balanced epoch has (dirtorch's BalancedSampler).

    Args:
        labels: class of each photo, [N].
        exponent: 0 = each class as many as it has, 1 = all classes equally many, or between.
        size: 0 = as many as the smallest class has, 1 = the median, 2 = the largest, or between.

    Returns:
        [classes] int64 by rising label: round(t^exponent n^(1 - exponent)) of a class of n photos, where t is the
        percentile 50 size of these n.
    """
    counts = np.unique(np.asarray(labels), return_counts=True)[1].astype(np.float64)
    wanted = np.percentile(counts, 50 * size) ** exponent * counts ** (1 - exponent) if len(counts) else counts
    return np.floor(wanted + 0.5).astype(np.int64)


def balanced_epoch(labels: np.ndarray, exponent: float, size: float, rng: np.random.Generator) -> np.ndarray:
    """The photos of a balanced epoch, shuffled: [sum of ``balanced_counts``] int64, numbers of ``labels``.

    A class that is wanted more often than it has photos repeats all of them before one comes once more.
    """
    wanted = balanced_counts(labels, exponent, size).tolist()
    drawn = [_repeated(photos, count, rng) for photos, count in zip(photos_by_class(labels), wanted)]
    return rng.permutation(np.concatenate(drawn)) if drawn else np.zeros(0, np.int64)


def _repeated(photos: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """``count`` of ``photos``: shuffled, all of them before any comes again."""
    return np.resize(rng.permutation(photos), count)


def class_batch_plan(labels: np.ndarray, batch_size: int, photos_a_class: int) -> ClassBatches:
    """How many batches ``class_batches`` makes of these labels.

    Raises:
        UserError: ``batch_size`` is no multiple of ``photos_a_class``, or takes more classes than have two photos.
    """
    if batch_size % photos_a_class:
        raise UserError(f"`batch_size` is {batch_size}, no multiple of `photos_a_class`, which is {photos_a_class}")
    classes = batch_size // photos_a_class
    groups = _group_counts(labels, photos_a_class)
    batches, too_many = 0, int(groups.sum()) // classes + 1
    # b batches of different classes can be made if each class gives b groups at most and these are enough together
    while too_many - batches > 1:
        middle = (batches + too_many) // 2
        enough = np.minimum(groups, middle).sum() >= middle * classes
        batches, too_many = (middle, too_many) if enough else (batches, middle)
    if not batches:
        having = f"{len(groups)} classes have {'two photos or more' if photos_a_class > 1 else 'a photo'}"
        fact = f"a batch of `batch_size` {batch_size} and `photos_a_class` {photos_a_class} takes {classes} classes"
        raise UserError(f"{fact}, and {having}: lower `batch_size`")
    return ClassBatches(batches, classes, photos_a_class)


def _group_counts(labels: np.ndarray, photos_a_class: int) -> np.ndarray:
    """How many groups of ``photos_a_class`` each class makes, of those classes that make one."""
    counts = np.unique(np.asarray(labels), return_counts=True)[1]
    counts = counts[counts >= min(2, photos_a_class)]
    return np.maximum(counts // photos_a_class, 1)


def class_batches(labels: np.ndarray, batch_size: int, photos_a_class: int, rng: np.random.Generator) -> np.ndarray:
    """Batches of different classes with so many photos of each: for N-pair (2), ArcFace or average precision.

    A class of n photos gives n / ``photos_a_class`` groups, rounded down, in each epoch others; one of fewer photos
    gives one group in which they repeat, and a single photo none, as it has no positive. Groups that fill no batch of
    different classes are left out; which, each epoch draws anew.

    Args:
        labels: class of each photo, [N].
        batch_size: photos of a batch.
        photos_a_class: of each class of a batch.
        rng: of this epoch.

    Returns:
        [batches, batch_size] int64, numbers of ``labels``; the photos of a class stand beside each other.

    Raises:
        UserError: see ``class_batch_plan``.
    """
    plan = class_batch_plan(labels, batch_size, photos_a_class)
    having = [photos for photos in photos_by_class(labels) if len(photos) >= min(2, plan.photos)]
    groups: List[np.ndarray] = []
    for place in rng.permutation(len(having)).tolist():
        count = min(max(1, len(having[place]) // plan.photos), plan.batches)
        groups.extend(_repeated(having[place], count * plan.photos, rng).reshape(count, plan.photos))
    # A class has ``batches`` groups at most, beside each other: dealt out in turn, no batch gets two of them.
    wanted = plan.batches * plan.classes
    kept = np.sort(rng.permutation(len(groups))[:wanted])
    dealt = np.stack(groups)[kept].reshape(plan.classes, plan.batches, plan.photos).transpose(1, 0, 2)
    return rng.permutation(dealt.reshape(plan.batches, batch_size))


def queries_with_positive(labels: np.ndarray) -> np.ndarray:
    """[B] bool: which photos of a batch have another of their class in it; the others are no queries of AP."""
    _, place, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    return counts[place.reshape(-1)] > 1
