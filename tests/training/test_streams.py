"""Which photos make the steps of the stages that learn descriptors, and what is kept of an epoch's tuples."""

from pathlib import Path

import cv2
import mindspore as ms
import numpy as np
import pytest

from src.config import MetricConfig, TrainingConfig
from src.data import reader
from src.data.class_samples import balanced_epoch
from src.data.reader import Record, TrainingStream
from src.data.split_labels import SplitLabels
from src.data.summary import DatasetInfo
from src.data.tuples import PairSource
from src.errors import UserError
from src.training.streams import BalancedStream, ClassSampler, LargeStream, TupleSampler

LABELS = np.repeat(np.arange(6), [4, 4, 3, 3, 5, 1])
INFO = DatasetInfo(Path("set"), 6, len(LABELS), 0, ("train.mindrecord000",), (), "")
SPLIT = SplitLabels([f"photo{number}" for number in range(len(LABELS))], LABELS)


@pytest.fixture(autouse=True)
def photos(monkeypatch):
    """Each photo is a grey of its number."""

    def read(shards, numbers):
        for number in np.asarray(numbers).tolist():
            data = cv2.imencode(".jpg", np.full((12, 16, 3), 10 * number, np.uint8))[1].tobytes()
            yield Record(number, f"photo{number}", int(LABELS[number]), data)

    monkeypatch.setattr(reader, "read_records", read)


def numbers_in(images):
    return np.round((images.mean((1, 2, 3)) * 128 + 128) / 10).astype(int)


def test_a_balanced_epoch_is_dirtorchs_in_whole_steps_of_all_ranks():
    metric, training = MetricConfig(class_balance=1.0), TrainingConfig(batch_size=3, image_size=5)
    streams = [BalancedStream(metric, LABELS, training, INFO, 7, 1, rank, 2) for rank in range(2)]
    expected = balanced_epoch(LABELS, 1.0, 1.0, np.random.default_rng((7, 1)))
    steps = streams[0].steps_per_epoch
    assert steps == len(expected) // 6 == 4
    seen = [[batch.file_ids for batch in stream.batches(2 * steps, steps)] for stream in streams]
    together = [name for pair in zip(*seen) for names in pair for name in names]
    assert together == [f"photo{number}" for number in expected[: 6 * steps]]
    with pytest.raises(UserError, match="raise `balance_size` or lower `batch_size`"):
        BalancedStream(metric.replace(balance_size=0.0), LABELS, training.replace(batch_size=7), INFO)


def test_a_large_step_is_read_in_chunks_twice_the_same_and_from_any_step_on():
    training = TrainingConfig(batch_size=6, image_size=5, min_crop_area=0.5)
    sampler = ClassSampler(LABELS, 6, 2, seed=3)
    stream = LargeStream(training, INFO, 3, 1, 4, SPLIT, sampler)
    assert (stream.photos_a_step, stream.photos_a_pass, stream.steps_per_epoch) == (6, 4, sampler.steps)
    batches = list(stream.batches(2 * sampler.steps + 1))
    assert [batch.epoch for batch in batches] == [0] * sampler.steps + [1] * sampler.steps + [2]
    for batch in (batches[0], batches[-1]):
        chunks = list(batch.chunks())
        assert [len(images) for images in chunks] == [4, 2]
        found = numbers_in(np.concatenate(chunks))
        assert LABELS[found].tolist() == batch.labels.tolist()
        assert [f"photo{number}" for number in found] == batch.file_ids
        assert (np.unique(batch.labels, return_counts=True)[1] == 2).all()
        assert all(np.array_equal(first, again) for first, again in zip(chunks, batch.chunks()))
    later = next(stream.batches(9, sampler.steps + 1))
    assert later.file_ids == batches[sampler.steps + 1].file_ids
    repeated = LargeStream(training.replace(overfit_batches=1), INFO, 3, 1, 4, SPLIT, sampler)
    assert {tuple(batch.file_ids) for batch in repeated.batches(5)} == {tuple(batches[0].file_ids)}


class Describe:
    """A photo's vector is its direction on a circle; how far the circle is turned stands for what was learnt."""

    def __init__(self):
        self.turned, self.seen = 0.0, []

    def __call__(self, images):
        found = numbers_in(images.asnumpy())
        self.seen += found.tolist()
        angles = found * (0.3 + self.turned)
        return ms.Tensor(np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32))


def sampler_of(describe, **values):
    training = TrainingConfig(batch_size=2, image_size=5)
    metric = MetricConfig(**{"loss": "contrastive", "chunk_size": 4, "num_negatives": 2, "num_queries": 9, **values})
    return TupleSampler(PairSource(LABELS), training, metric, INFO, 5, 1, describe)


def test_tuples_are_mined_once_an_epoch_and_taken_up_from_the_state():
    describe = Describe()
    sampler = sampler_of(describe)
    assert (sampler.steps, sampler.photos) == (4, 8)
    first = sampler.epoch(0)
    assert set(describe.seen) <= set(range(len(LABELS))) and len(set(describe.seen)) >= 15
    tuples = first.reshape(-1, 4)
    labels = LABELS[tuples]
    assert (labels[:, 0] == labels[:, 1]).all() and (tuples[:, 0] != tuples[:, 1]).all()
    assert all(len(set(row[1:])) == 3 for row in labels.tolist())  # negatives of classes of their own
    vectors = np.stack([np.cos(0.3 * np.arange(20)), np.sin(0.3 * np.arange(20))], 1)
    for query, _, hardest, _ in tuples.tolist():
        assert hardest == max(
            np.flatnonzero(LABELS != LABELS[query]), key=lambda n: round(vectors[query] @ vectors[n], 5)
        )
    describe.seen.clear()
    assert np.array_equal(sampler.epoch(0), first) and not describe.seen
    describe.turned = 0.5
    other = sampler_of(describe)  # a run that goes on: weights have moved on since the epoch began
    other.kept.numbers.set_data(sampler.kept.numbers)
    other.kept.of_epoch.set_data(sampler.kept.of_epoch)
    assert np.array_equal(other.epoch(0), first) and not describe.seen
    second = other.epoch(1)
    assert describe.seen and not np.array_equal(second, first) and np.array_equal(sampler_of(describe).epoch(1), second)


def test_too_few_photos_for_tuples_are_one_sentence():
    with pytest.raises(UserError, match="an epoch has 1 pairs of photos, fewer than the 2 tuples of a step"):
        sampler_of(Describe(), num_queries=1)
    with pytest.raises(UserError, match="too few for 9 negatives"):
        sampler_of(Describe(), num_negatives=9)
    with pytest.raises(UserError, match="training photos are too few"):
        TrainingStream(TrainingConfig(batch_size=21), INFO)
