"""Balanced epochs, and batches with so many photos of each class."""

from collections import Counter

import numpy as np
import pytest

from src.data.class_samples import (
    balanced_counts,
    balanced_epoch,
    class_batch_plan,
    class_batches,
    photos_by_class,
    queries_with_positive,
)
from src.errors import UserError

LABELS = np.array([7] * 4 + [2] + [9] * 9)[np.random.default_rng(5).permutation(14)]  # counts 1, 4, 9 by rising label


def rng(epoch=0):
    return np.random.default_rng((3, epoch))


def of_counts(*counts):
    return np.repeat(np.arange(len(counts)), counts)


@pytest.mark.parametrize("exponent, counts", [(1, [4, 4, 4]), (0.5, [2, 4, 6]), (0, [1, 4, 9])])
def test_counts_of_the_addendum(exponent, counts):
    assert balanced_counts(LABELS, exponent, 1.0).tolist() == counts
    epoch = balanced_epoch(LABELS, exponent, 1.0, rng())
    assert sorted(Counter(LABELS[epoch].tolist()).items()) == list(zip((2, 7, 9), counts))


@pytest.mark.parametrize("size, count", [(0, 1), (1, 4), (2, 9), (1.5, 7)])  # 6.5 is rounded up
def test_the_size_is_a_percentile(size, count):
    assert balanced_counts(LABELS, 1.0, size).tolist() == [count] * 3


def test_a_class_repeats_all_its_photos_before_one_comes_again():
    times = Counter(balanced_epoch(of_counts(4, 11), 1.0, 2.0, rng()).tolist())
    assert sorted(times[photo] for photo in range(4)) == [2, 3, 3, 3]
    assert [times[photo] for photo in range(4, 15)] == [1] * 11


def test_epochs_differ_and_each_is_the_same_whenever_asked():
    epochs = [balanced_epoch(LABELS, 0.5, 1.0, rng(epoch)).tolist() for epoch in (0, 1, 0)]
    assert epochs[0] == epochs[2] != epochs[1]
    batches = [class_batches(of_counts(5, 6, 7), 4, 2, rng(epoch)).tolist() for epoch in (0, 1, 0)]
    assert batches[0] == batches[2] != batches[1]


def test_photos_by_class():
    assert [photos.tolist() for photos in photos_by_class(np.array([3, 1, 3, 0]))] == [[3], [1], [0, 2]]
    assert photos_by_class(np.zeros(0, int)) == []


def most_batches(counts, classes, photos):
    """By filling batch after batch with the classes that have most groups left, which is the best that can be done."""
    left = [max(1, count // photos) for count in counts if count >= min(2, photos)]
    for batches in range(1000):
        left.sort(reverse=True)
        if len(left) < classes or left[classes - 1] == 0:
            return batches
        left[:classes] = [groups - 1 for groups in left[:classes]]


def test_batches_have_different_classes_and_are_as_many_as_can_be():
    for seed in range(200):
        draw = np.random.default_rng(seed)
        counts = draw.integers(1, 30, draw.integers(2, 8))
        classes, photos = int(draw.integers(1, 5)), int(draw.integers(1, 5))
        labels = of_counts(*counts)
        expected = most_batches(counts.tolist(), classes, photos)
        if not expected:
            with pytest.raises(UserError):
                class_batches(labels, classes * photos, photos, draw)
            continue
        batches = class_batches(labels, classes * photos, photos, draw)
        assert batches.shape == (expected, classes * photos)
        assert class_batch_plan(labels, classes * photos, photos) == (expected, classes, photos)
        in_batches = labels[batches].reshape(expected, classes, photos)
        assert (in_batches == in_batches[:, :, :1]).all()
        assert all(len(set(batch)) == classes for batch in in_batches[:, :, 0].tolist())
        times = np.bincount(batches.ravel(), minlength=len(labels))
        for label, count in enumerate(counts):
            assert times[labels == label].max() <= -(-photos // min(count, photos))


def test_no_photo_is_favoured_over_the_epochs():
    labels = of_counts(10, 3, 3, 2, 1)
    times = sum(np.bincount(class_batches(labels, 4, 2, rng(epoch)).ravel(), minlength=19) for epoch in range(400))
    assert times[18] == 0  # alone in its class
    for members in (slice(0, 10), slice(10, 16), slice(16, 18)):
        assert times[members].min() > 0.8 * times[members].max()


def test_bad_sizes_of_batches_are_told():
    with pytest.raises(UserError, match="`batch_size` is 9, no multiple of `photos_a_class`, which is 2"):
        class_batches(of_counts(4, 4), 9, 2, rng())
    fact = "`batch_size` 8 and `photos_a_class` 2 takes 4 classes, and 3 classes have two photos or more: lower"
    with pytest.raises(UserError, match=fact):
        class_batches(of_counts(4, 4, 1, 4, 1), 8, 2, rng())


def test_queries_with_positive():
    assert queries_with_positive(np.array([5, 1, 5, 2, 1, 9])).tolist() == [True, True, True, False, True, False]
