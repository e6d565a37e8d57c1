"""Stage attn on maps that the frozen backbone made once."""

import mindspore as ms
import numpy as np
import pytest
from runs import run

from src.commands.train import main as train
from src.config import ModelConfig, TrainingConfig
from src.data.reader import TrainingStream
from src.data.summary import dataset_info
from src.device import set_up_device
from src.errors import UserError
from src.model.networks import AttentionNet
from src.training.feature_cache import CachedStream, OnMaps

TRAINING = TrainingConfig(train_state="attn", batch_size=5, image_size=33, use_augmentation=False, cache_features=True)


@pytest.fixture(scope="module")
def cached(shards):
    """(network, stream of whole photos, stream of maps)."""
    set_up_device("CPU", 0)
    network = AttentionNet(ModelConfig(architecture="resnet18"), 4)
    stream = TrainingStream(TRAINING, dataset_info(shards), seed=3)
    return network, stream, CachedStream(stream, network)


def test_batches_of_maps_are_those_of_the_photos(cached):
    network, photos, maps = cached
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
    _, photos, maps = cached
    later = [batch.file_ids for batch in maps.batches(9, 6)]
    assert later == [batch.file_ids for batch in maps.batches(9)][6:]
    overfit = TrainingStream(TRAINING.replace(overfit_batches=1, batch_size=2), photos.info, 3, rank=1, ranks=2)
    for batch, cached_batch in zip(overfit.batches(3), CachedStream(overfit, cached[0]).batches(3)):
        assert batch.file_ids == cached_batch.file_ids


def test_maps_that_would_fill_the_memory(cached, monkeypatch):
    network, photos, _ = cached
    monkeypatch.setattr("src.training.feature_cache._MOST_BYTES", 1000)
    with pytest.raises(UserError, match="the maps of 24 photos take .* give `cache_features` false"):
        CachedStream(photos, network)


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


@pytest.mark.slow
def test_a_stopped_run_ends_as_one_never_stopped(shards, tmp_path):
    from runs import start, tensors

    run("tools/make_untrained_checkpoint.py", "--architecture=resnet18", "--output=start.ckpt", cwd=tmp_path)
    recipe = ["--architecture=resnet18", "--train_state=attn", "--checkpoint_path=start.ckpt", "--cache_features",
              "--use_augmentation=false", "--optimizer=adam", "--initial_lr=0.01", f"--traindata_path={shards}",
              "--batch_size=8", "--image_size=33", "--max_iters=60", "--save_ckpt_step=1"]  # fmt: skip
    run("train.py", *recipe, "--save_ckpt=whole", cwd=tmp_path)
    process = start(*recipe, "--save_ckpt=killed", cwd=tmp_path)
    while process.poll() is None and not list(tmp_path.glob("killed/checkpoint_*_3.ckpt")):
        pass
    process.kill()
    process.wait()
    run("train.py", *recipe, "--save_ckpt=killed", cwd=tmp_path)
    whole, killed = (next(tmp_path.glob(f"{name}/checkpoint_*_60.ckpt")) for name in ("whole", "killed"))
    assert tensors(whole) == tensors(killed)
