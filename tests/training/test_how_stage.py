"""Stage how from its recipe: what is refused, what a network starts from, and the whitening that is fitted first."""

import numpy as np
import pytest

from src.commands.train import main as train
from src.config import MetricConfig, ModelConfig, TrainingConfig
from src.data.reader import whole_photos
from src.data.split_labels import read_split_labels
from src.data.summary import dataset_info
from src.data.training_pairs import training_pairs
from src.errors import UserError
from src.features.heads import Linear
from src.features.local_layer import is_how
from src.model.weights import save_weights
from src.training.how_parts import WhitenedSampler, build_how_network
from src.training.networks import AsTrained
from tests.training.eager import tensor

MODEL = ModelConfig(architecture="resnet18", weights_style="torchvision", kernel_init="he")
TRAINING = TrainingConfig(train_state="how", image_size=48, batch_size=2)
METRIC = MetricConfig(loss="contrastive", head_dim=4, chunk_size=5, num_negatives=2, whitening_cells=6)
OFFSET, SCALE = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@pytest.mark.parametrize(
    "options, said",
    [
        (["--loss=contrastive"], "--loss has no effect on --train_state how: leave it out"),
        (["--pooling=gem"], "--pooling has no effect on --train_state how"),
        (["--ap_bins=9"], "--ap_bins has no effect with --loss contrastive"),
        (["--config=ap.yaml"], "stage how learns by `loss` contrastive, not ap: leave it out"),
        (["--amp_level=O2"], "`loss` contrastive computes in float32: give `amp_level` O0$"),
        (["--tuning_head=block3"], "`tuning_head` is of stages tuning, regional_attention"),
        (["--train_state=global", "--whitening_cells=9"], "--whitening_cells has no effect on --train_state global"),
    ],
)
def test_settings_without_sense(options, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ap.yaml").write_text("loss: ap\n")
    with pytest.raises(UserError, match=said):
        train(["--train_state=how", "--num_queries=9", *options])


@pytest.mark.usefixtures("pynative", "small_resnet")
def test_a_network_starts_from_its_weights_and_keeps_their_whitening(tmp_path):
    first = build_how_network(MODEL, TRAINING, METRIC)
    assert not first.is_whitened and first.dimension == 4
    first.set_reduction(Linear(np.ones((4, 32)), np.arange(4.0)))
    save_weights(first, tmp_path / "how.ckpt")
    assert is_how(str(tmp_path / "how.ckpt"))
    model = MODEL.replace(checkpoint_path=str(tmp_path / "how.ckpt"))
    again = build_how_network(model, TRAINING.replace(frozen_stages=3), METRIC)
    assert again.is_whitened and again.reduction.bias.asnumpy().tolist() == [0, 1, 2, 3]
    assert {each.name.split(".")[1] for each in again.trainable_params()} == {"conv4"}
    assert not again.set_train().backbone.bn1.training
    with pytest.raises(UserError, match="nothing is left to learn: lower `frozen_stages`"):
        build_how_network(model, TRAINING.replace(frozen_stages=4), METRIC)


@pytest.mark.usefixtures("pynative", "small_resnet")
def test_the_whitening_is_fitted_on_the_strongest_cells_before_negatives_are_mined(shards):
    info = dataset_info(str(shards))
    source = training_pairs("", read_split_labels(info.train_shards, info))
    network = build_how_network(MODEL, TRAINING, METRIC)
    learner = AsTrained(network)

    def sampler(**keys):
        return WhitenedSampler(source, TRAINING, METRIC.replace(**keys), info, 0, 1, learner)

    with pytest.raises(UserError, match="the whitening of 1 photos: 6 descriptors are too few .* 4 dim.*; raise `whit"):
        sampler(whitening_photos=1).epoch(0)
    tuples = sampler(whitening_photos=0).epoch(0)
    assert tuples.shape[1] == 2 * 4 and network.is_whitened
    found = []
    for batch in whole_photos(TRAINING, info, info.train_shards, np.arange(info.num_train), 1):
        images = (128 + 128 * batch.images - np.reshape(OFFSET, (3, 1, 1))) / np.reshape(SCALE, (3, 1, 1))
        cells, weights = network.weighed_cells(tensor(images))
        reduced, weights = network.reduction(cells).asnumpy(), weights.asnumpy()
        for own, weight in zip(reduced, weights):
            found.append(own.reshape(4, -1)[:, np.argsort(-weight.ravel())[:6]].T)
    found = np.concatenate(found)
    assert found.shape == (6 * info.num_train, 4)
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(np.cov(found.T), np.eye(4), atol=1e-2)
    layer = network.reduction.weight.asnumpy().copy()
    sampler().epoch(1)
    assert np.array_equal(network.reduction.weight.asnumpy(), layer)
