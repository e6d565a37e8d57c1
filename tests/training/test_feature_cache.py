"""Stage attn on maps that the frozen backbone made once."""

import shutil
import time

import mindspore as ms
import numpy as np
import pytest
from runs import run

from src.commands.train import main as train
from src.config import ModelConfig, RunConfig, TrainingConfig
from src.data.reader import TrainingStream
from src.data.summary import dataset_info
from src.device import Device, set_up_device
from src.engines import resolve_engine
from src.errors import UserError
from src.model.networks import AttentionNet
from src.training.feature_cache import CachedStream, OnMaps, cached_stream, provenance_of_maps

TRAINING = TrainingConfig(train_state="attn", batch_size=5, image_size=33, use_augmentation=False, cache_features=True)


MODEL = ModelConfig(architecture="resnet18")
SOURCES = {"dataset": "1"}


@pytest.fixture(scope="module")
def cached(shards, tmp_path_factory):
    """(network, stream of whole photos, stream of maps, their folder)."""
    set_up_device("CPU", 0)
    network = AttentionNet(MODEL, 4)
    folder = tmp_path_factory.mktemp("maps")
    stream = TrainingStream(TRAINING.replace(cache_path=str(folder)), dataset_info(shards), seed=3)
    maps = cached_stream(stream, network, SOURCES, RunConfig(), MODEL, Device("CPU"))
    return network, stream, maps, next(folder.iterdir())


def test_batches_of_maps_are_those_of_the_photos(cached):
    network, photos, maps, _ = cached
    learner = OnMaps(network)
    for each, other in ((photos.batches(9), maps.batches(9)), (photos.validation_batches(), maps.validation_batches())):
        count = 0
        for batch, cached_batch in zip(each, other):
            count += 1
            assert (batch.file_ids, batch.epoch) == (cached_batch.file_ids, cached_batch.epoch)
            assert np.array_equal(batch.labels, cached_batch.labels)
            if count % 4 == 1:  # two epochs of four steps, and both validation batches
                expected = network(ms.Tensor(batch.images))[0].asnumpy()
                logits = learner(ms.Tensor(cached_batch.images))[0].asnumpy()
                assert np.abs(logits - expected).max() < 2e-3 * np.abs(expected).max()  # float16 maps
        assert count == (9 if batch.epoch else 2) and next(other, None) is None


def test_a_later_step_and_another_rank(cached):
    _, photos, maps, folder = cached
    later = [batch.file_ids for batch in maps.batches(9, 6)]
    assert later == [batch.file_ids for batch in maps.batches(9)][6:]
    overfit = TrainingStream(TRAINING.replace(overfit_batches=1, batch_size=2), photos.info, 3, rank=1, ranks=2)
    for batch, cached_batch in zip(overfit.batches(3), CachedStream(overfit, folder).batches(3)):
        assert batch.file_ids == cached_batch.file_ids


def test_maps_serve_later_runs_of_the_same_weights_and_photos(cached, tmp_path, monkeypatch):
    network, photos, maps, folder = cached
    arguments = network, SOURCES, RunConfig(seed=1), MODEL, Device("CPU")
    other = TrainingStream(photos.training.replace(initial_lr=0.5), photos.info, seed=3)
    monkeypatch.setattr("src.training.feature_cache.load_batched_network", None)  # no network is loaded
    expected = next(maps.batches(1))
    assert np.array_equal(next(cached_stream(other, *arguments).batches(1)).images, expected.images)
    engine = resolve_engine(RunConfig(), MODEL)
    own = provenance_of_maps(photos, SOURCES, RunConfig(), engine)
    larger = TrainingStream(photos.training.replace(image_size=65), photos.info, seed=3)
    assert own == provenance_of_maps(other, SOURCES, RunConfig(seed=1), engine)
    assert own != provenance_of_maps(larger, SOURCES, RunConfig(), engine)
    assert own != provenance_of_maps(photos, {"dataset": "2"}, RunConfig(), engine)
    no_stem = engine.replace(load_stem=False)
    assert provenance_of_maps(photos, SOURCES, RunConfig(), no_stem) != provenance_of_maps(
        photos, SOURCES, RunConfig(seed=1), no_stem
    )


def test_a_damaged_map_is_told(cached, tmp_path):
    _, photos, _, folder = cached
    copy = shutil.copytree(folder, tmp_path / "copy")
    content = bytearray((copy / "validation").read_bytes())
    content[7] ^= 1
    (copy / "validation").write_bytes(content)
    with pytest.raises(UserError, match="validation: missing or damaged; delete the folder"):
        CachedStream(photos, copy)


@pytest.mark.parametrize(
    "options, said",
    [
        (["--train_state=tuning"], "give `train_state` attn"),
        (["--train_state=attn"], "give `use_augmentation` false"),
        (
            ["--train_state=attn", "--optimizer=adam", "--momentum=0.5"],
            "--momentum has no effect with --optimizer adam",
        ),
    ],
)
def test_settings_without_sense(options, said):
    with pytest.raises(UserError, match=said):
        train(["--cache_features", *options])


@pytest.mark.parametrize(
    "option", ["--tuning_head=block3", "--frozen_stages=1", "--frozen_statistics", "--head_steps=5"]
)
def test_keys_of_tuning_are_refused_elsewhere(option):
    name = option[2:].partition("=")[0]
    with pytest.raises(UserError, match=f"`{name}` is of stages? tuning.*; leave it out"):
        train(["--train_state=attn", option])


def test_a_folder_for_nothing():
    with pytest.raises(UserError, match="--cache_path has no effect without --cache_features"):
        train(["--train_state=attn", "--cache_path=maps"])


@pytest.mark.slow
def test_a_stopped_run_ends_as_one_never_stopped(shards, tmp_path):
    from runs import SMALL, start, tensors

    run("tools/make_untrained_checkpoint.py", "--architecture=resnet18", "--output=start.ckpt", cwd=tmp_path, env=SMALL)
    recipe = ["--architecture=resnet18", "--train_state=attn", "--checkpoint_path=start.ckpt", "--cache_features",
              "--use_augmentation=false", "--optimizer=adam", "--initial_lr=0.01", f"--traindata_path={shards}",
              "--batch_size=8", "--image_size=33", "--max_iters=60", "--save_ckpt_step=1"]  # fmt: skip
    run("train.py", *recipe, "--save_ckpt=whole", cwd=tmp_path, env=SMALL)
    process = start(*recipe, "--save_ckpt=killed", cwd=tmp_path, env=SMALL)
    while process.poll() is None and not list(tmp_path.glob("killed/checkpoint_*_3.ckpt")):
        time.sleep(0.002)
    process.kill()
    process.wait()
    run("train.py", *recipe, "--save_ckpt=killed", cwd=tmp_path, env=SMALL)
    whole, killed = (next(tmp_path.glob(f"{name}/checkpoint_*_60.ckpt")) for name in ("whole", "killed"))
    assert tensors(whole) == tensors(killed)
