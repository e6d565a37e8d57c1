"""The matcher in MindSpore against NumPy, its pairs of photos, and its training as a command."""

import signal
import subprocess
import sys
import time

import mindspore as ms
import numpy as np
import pytest
import runs
from eager import tensor
from runs import tensors

from src.data.photo_labels import label_photos
from src.data.summary import DatasetInfo
from src.errors import UserError
from src.features.feature_file import FeatureFile
from src.matching.matcher import Matcher, weight_shapes
from src.matching.matcher_file import load_matcher
from src.training.matcher_network import MatcherNet, MatchLosses
from src.training.matcher_pairs import MatchStream, Photos, split_pairs
from src.training.matcher_stage import MatcherTraining
from src.training.schedule import Schedule
from tests.matching.made_matcher import unit_rows
from tests.retrieval.handmade_features import write_features

PLACES, COUNT, DIMENSION = 12, 4, 24


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    """Photos of 12 places; those of one share 20 descriptors, but for noise, and have 10 to 14 of their own."""
    path, generator = tmp_path_factory.mktemp("matcher") / "features.h5", np.random.default_rng(0)
    photos = {"place_00/blank.jpg": (np.zeros((0, 2)), np.zeros((0, DIMENSION)))}
    for place in range(PLACES):
        shared = unit_rows(generator, 20, DIMENSION)
        for number in range(COUNT):
            seen = shared + 0.1 * unit_rows(generator, 20, DIMENSION)
            rows = np.concatenate([seen, unit_rows(generator, 10 + number, DIMENSION)])
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            photos[f"place_{place:02}/{number}.jpg"] = (generator.uniform(0, 999, (len(rows), 2)), rows)
    write_features(path, photos)
    return path


def stream_of(path, num_descriptors=32, pairs="", **training):
    source = FeatureFile(path)
    photos = Photos(source, label_photos(source.names), num_descriptors)
    train, validation = split_pairs(photos, pairs, 0)
    recipe = MatcherTraining(num_descriptors=num_descriptors, **{"batch_size": 8, **training})
    info = DatasetInfo(path, PLACES, len(train.photos), len(validation.photos), (), (), "")
    return MatchStream(recipe, info, photos, train, validation, 0), photos, train, validation


def test_network_equals_its_numpy_twin(pynative, features):
    stream = stream_of(features, 33)[0]
    batch = next(stream.batches(1))
    network = MatcherNet(DIMENSION)
    network.corner.set_data(tensor([1.3]))
    stored = {name: parameter.asnumpy() for name, parameter in network.parameters_and_names()}
    assert set(weight_shapes(DIMENSION)) <= set(stored) and sum(array.size for array in stored.values()) < 60_000
    matcher = Matcher({name: stored[name] for name in weight_shapes(DIMENSION)}, 33)
    votes = network.soft_votes(ms.Tensor(batch.images)).asnumpy()
    assert (np.abs(batch.images).sum(-1) == 0).any()  # some places hold no descriptor
    for pair, found in zip(batch.images, votes):
        sides = (matcher.project(side[np.abs(side).sum(1) > 0]) for side in pair)
        assert found == pytest.approx(matcher.soft_votes(matcher.probabilities(*sides)), rel=1e-5)


def test_losses_and_their_gradients(pynative, features):
    batch, network = next(stream_of(features, 16)[0].batches(1)), MatcherNet(DIMENSION)
    losses = MatchLosses(network)
    (logits,) = network(ms.Tensor(batch.images))
    inputs = (ms.Tensor(batch.images), ms.Tensor(batch.labels), tensor(2.0))
    total, figures = losses(*inputs)
    z, y = logits.asnumpy().astype(np.float64), batch.labels
    expected = -(y * np.log(1 / (1 + np.exp(-z))) + (1 - y) * np.log(1 - 1 / (1 + np.exp(-z))))
    np.testing.assert_allclose(figures.asnumpy(), [expected, (z > 0) == y], rtol=1e-5)
    assert float(total) == pytest.approx(2 * expected.mean(), rel=1e-5)
    gradients = ms.value_and_grad(losses, None, network.trainable_params(), has_aux=True)(*inputs)[1]
    assert all(np.isfinite(gradient.asnumpy()).all() for gradient in gradients)
    assert all(np.abs(gradient.asnumpy()).max() > 0 for gradient in gradients)


def test_pairs_follow_from_the_step_alone_and_labels_held_out_stay_out(features):
    stream, photos, train, validation = stream_of(features, 32)
    assert len(photos.names) == PLACES * COUNT  # the blank one is left out
    assert not set(photos.labels[train.photos]) & set(photos.labels[validation.photos])
    assert len(np.unique(photos.labels[validation.photos])) == 2
    batches = list(stream.batches(25))
    assert stream.steps_per_epoch == 10 and [batch.epoch for batch in batches] == [0] * 10 + [1] * 10 + [2] * 5
    again = next(stream_of(features, 32)[0].batches(18, 17))
    np.testing.assert_array_equal(again.images, batches[17].images)
    assert again.file_ids == batches[17].file_ids != batches[7].file_ids
    held_out = {photos.names[number] for number in validation.photos}
    for batch in batches:
        assert batch.images.shape == (8, 2, 32, DIMENSION) and batch.labels.tolist() == [1] * 4 + [0] * 4
        for names, label in zip(batch.file_ids, batch.labels):
            a, b = names.split(" and ")
            assert a != b and (a.split("/")[0] == b.split("/")[0]) == bool(label) and not {a, b} & held_out
    seen = {name for batch in stream.validation_batches() for pair in batch.file_ids for name in pair.split(" and ")}
    assert seen == held_out


def test_pairs_of_a_file_and_what_is_refused(features, tmp_path):
    lines = [f"place_{place:02}/{a}.jpg,place_{place:02}/{a + 1}.jpg" for place in range(PLACES) for a in (0, 2)]
    (tmp_path / "pairs.csv").write_text("\n".join(["photo_a,photo_b", *lines]))
    stream, photos, train, _ = stream_of(features, pairs=tmp_path / "pairs.csv")
    for batch in stream.batches(5):
        for names in batch.file_ids[:4]:
            assert ",".join(sorted(names.split(" and "))) in lines
    of_training = sorted({photos.names[number].split("/")[0] for number in train.photos})[0]
    (tmp_path / "pairs.csv").write_text(f"photo_a,photo_b\n{of_training}/0.jpg,{of_training}/1.jpg\n")
    assert split_pairs(photos, tmp_path / "pairs.csv", 0)[1].source.num_queries == 0  # of the labels held out
    (tmp_path / "pairs.csv").write_text("photo_a,photo_b\nplace_01/1.jpg,place_02/1.jpg\n")
    with pytest.raises(UserError, match="pairs.csv"):
        stream_of(features, pairs=tmp_path / "pairs.csv")
    with pytest.raises(UserError, match="a step takes 100; lower `pairs_a_step`"):
        stream_of(features, batch_size=200)


def test_half_a_cosine():
    schedule = Schedule(0.2, 8, "cosine", warmup=2)
    expected = [0.2 * (1 + np.cos(np.pi * step / 8)) / 2 * min(1, (step + 1) / 2) for step in range(9)]
    np.testing.assert_allclose([schedule.at(step) for step in range(9)], expected)
    cell = schedule.cell()
    np.testing.assert_allclose([cell(ms.Tensor(step, ms.int32)).asnumpy() for step in range(9)], expected, atol=1e-7)


@pytest.mark.slow
def test_command_learns_and_a_killed_run_goes_on_bit_for_bit(features, tmp_path):
    recipe = ["tools/train_matcher.py", "--features", features, "--num_descriptors", 32, "--max_iters", 60,
              "--initial_lr", 5e-3, "--save_ckpt_step", 5, "--report_steps", 20, "--eval_steps", 20]  # fmt: skip
    whole = tmp_path / "whole"
    whole.mkdir()
    runs.run(*recipe, "--onnx", "m.onnx", cwd=whole)
    assert (whole / "m.onnx").is_file()
    command = [sys.executable, str(runs.ROOT / recipe[0]), *map(str, recipe[1:])]
    process = subprocess.Popen(command, cwd=tmp_path, env=runs.ENVIRONMENT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 600
    while not (tmp_path / "matcher_run/matcher_state.ckpt").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert "going on after step" in runs.run(*recipe, cwd=tmp_path)
    states = [tensors(place / "matcher_run/matcher_state.ckpt") for place in (whole, tmp_path)]
    assert states[0] == states[1]
    first, second = (load_matcher(place / "matcher.npz") for place in (whole, tmp_path))
    assert all((first.weights[name] == second.weights[name]).all() for name in first.weights)
    assert "already made" in runs.run(*recipe, cwd=tmp_path)
    with FeatureFile(features) as source:
        sides = [first.project(source.read(f"place_{name}.jpg").descriptors) for name in ("00/0", "00/1", "01/0")]
    same, other = (first.soft_votes(first.probabilities(sides[0], side)) for side in sides[1:])
    assert same > other
