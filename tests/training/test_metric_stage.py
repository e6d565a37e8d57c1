"""Stage global from its recipe: what is refused, what a network starts from, what a run keeps."""

import mindspore as ms
import numpy as np
import pytest

from src.commands.train import main as train
from src.config import GlobalConfig, MetricConfig, ModelConfig, TrainingConfig
from src.device import set_up_device
from src.errors import UserError
from src.model.networks import TuningNet
from src.model.weights import save_weights
from src.training.class_losses import DelgLosses
from src.training.networks import AsTrained, build_global_network, build_region_network
from src.training.optimizers import metric_groups

MODEL = ModelConfig(architecture="resnet18", kernel_init="he")
TRAINING = TrainingConfig(train_state="global")


@pytest.mark.parametrize(
    "options, said",
    [
        (["--train_state=tuning", "--loss=ap"], "--loss has no effect on --train_state tuning: leave it out"),
        (["--train_state=attn", "--head=fc"], "--head has no effect on --train_state attn"),
        (["--loss=arcface", "--chunk_size=4"], "--chunk_size has no effect with --loss arcface"),
        (["--loss=ap", "--margin=1"], "--margin has no effect with --loss ap"),
        (["--loss=n_pair", "--batch_size=7"], "`loss` n_pair takes pairs of photos: `batch_size` is 7"),
        (["--loss=n_pair", "--photos_a_class=4"], "--photos_a_class has no effect with --loss n_pair"),
        (["--loss=ap", "--rate_decay=0.5"], "--rate_decay has no effect with --schedule linear"),
        (["--balance_size=1"], "--balance_size has no effect without --class_balance"),
        (["--attention_loss_weight=2"], "--attention_loss_weight has no effect on --train_state global"),
        (["--tuning_head=block3"], "`tuning_head` is of stages tuning, regional_attention; leave it out"),
        (["--train_state=delg", "--loss=ap"], "--loss has no effect on --train_state delg"),
        (["--train_state=regional_attention", "--head=fc"], "--head has no effect on --train_state regional_attention"),
        (
            ["--train_state=regional_attention", "--frozen_stages=2"],
            "`frozen_stages` is of stages tuning, global, delg",
        ),
        (["--loss=ap", "--head_steps=3"], "`head_steps` lets the classes begin, and `loss` ap has none"),
        (["--head_steps=3", "--weight_decay=0.1"], "`head_steps` holds the backbone, which `weight_decay` moves"),
        (["--loss=contrastive", "--amp_level=O2"], "`loss` contrastive computes in float32: give `amp_level` O0"),
        (["--loss=triplet", "--config=recipe.yaml"], "`loss` triplet needs frozen statistics"),
    ],
)
def test_settings_without_sense(options, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text("learn_statistics: true\n")
    stage = [] if any("train_state" in option for option in options) else ["--train_state=global"]
    with pytest.raises(UserError, match=said):
        train([*stage, *options])


def test_several_ranks_are_refused_for_large_batches(monkeypatch):
    monkeypatch.setenv("MS_WORKER_NUM", "2")
    with pytest.raises(UserError, match="`loss` ap learns on one device; start one process, or give `loss` arcface or"):
        train(["--train_state=global", "--loss=ap"])


def trained(network):
    return {name for name, parameter in network.parameters_and_names() if parameter.requires_grad}


def test_a_network_starts_as_its_weights_say(small_resnet, tmp_path, monkeypatch):
    set_up_device("CPU", 0)
    monkeypatch.chdir(tmp_path)
    metric = MetricConfig(head_dim=5, gem_power="channel")
    first = build_global_network(MODEL, TRAINING, metric, GlobalConfig(head="whiten", gem_p=2.5))
    assert (first.dimension, first.descriptor_head.pooling.p.shape) == (5, (64,))
    save_weights(first, "first.ckpt")
    model = MODEL.replace(checkpoint_path="first.ckpt")
    again = build_global_network(
        model, TRAINING.replace(frozen_stages=4), MetricConfig(gem_power="channel"), GlobalConfig()
    )
    for (name, ours), (_, theirs) in zip(again.parameters_and_names(), first.parameters_and_names()):
        assert np.array_equal(ours.asnumpy(), theirs.asnumpy()), name
    assert all(name.startswith("descriptor_head.") for name in trained(again)) and len(trained(again)) > 10
    given = build_global_network(model, TRAINING, MetricConfig(gem_power="channel"), GlobalConfig(gem_p=4))
    assert given.descriptor_head.pooling.p.asnumpy().tolist() == [4] * 64
    again.set_train()
    assert not any(cell.training for _, cell in again.cells_and_names() if isinstance(cell, ms.nn.BatchNorm2d))
    learnt = build_global_network(MODEL, TRAINING, MetricConfig(learn_statistics=True), GlobalConfig())
    learnt.set_train()
    assert all(cell.training for _, cell in learnt.cells_and_names() if isinstance(cell, ms.nn.BatchNorm2d))
    weights, plain, powers = metric_groups(AsTrained(again), MetricConfig(weight_decay=0.5, power_rate=7))
    assert (len(powers.parameters), powers.factor, powers.weight_decay) == (1, 7, 0)
    assert all(each.ndim > 1 for each in weights.parameters) and weights.weight_decay == 0.5
    assert plain.weight_decay == 0 and all(each.ndim == 1 for each in plain.parameters)
    slow, *others = metric_groups(AsTrained(learnt), MetricConfig(backbone_rate=0.1))
    names = {id(each): name for name, each in AsTrained(learnt).parameters_and_names()}
    assert slow.factor == 0.1 and all("backbone" in names[id(each)] for each in slow.parameters)
    assert [each.factor for each in others] == [1, 10]
    assert not any("backbone" in names[id(each)] for group in others for each in group.parameters)


def test_weights_without_conv5_are_pooled_at_block3(small_resnet, tmp_path, monkeypatch):
    set_up_device("CPU", 0)
    monkeypatch.chdir(tmp_path)
    network = build_global_network(MODEL, TRAINING, MetricConfig(), GlobalConfig(descriptor_layer="block3"))
    save_weights(network, "block3.ckpt")
    model = MODEL.replace(checkpoint_path="block3.ckpt")
    assert build_global_network(model, TRAINING, MetricConfig(), GlobalConfig()).dimension == 32
    with pytest.raises(UserError, match="block3.ckpt: lacks conv5, and so block4; give `descriptor_layer` block3"):
        build_global_network(model, TRAINING, MetricConfig(), GlobalConfig(descriptor_layer="block4"))
    fixed = MetricConfig(loss="ap", gem_power="fixed")
    with pytest.raises(UserError, match="nothing is left to learn: lower `frozen_stages`"):
        build_global_network(model, TRAINING.replace(frozen_stages=4), fixed, GlobalConfig())


class Means(ms.nn.Cell):
    def __init__(self, architecture):
        super().__init__()
        self.architecture = architecture

    def construct(self, images):
        return images.mean((2, 3))


def test_each_style_gets_the_pixels_its_weights_were_trained_on(small_resnet):
    set_up_device("CPU", 0)
    from src.model.architectures import architecture_of

    images = ms.Tensor(np.full((1, 3, 2, 2), (64 - 128) / 128, np.float32))
    keras, torch = (Means(architecture_of(MODEL.replace(weights_style=style))) for style in ("keras", "torchvision"))
    np.testing.assert_allclose(AsTrained(keras)(images).asnumpy(), [[-0.5] * 3])
    expected = [[(64 - 123.675) / 58.395, (64 - 116.28) / 57.12, (64 - 103.53) / 57.375]]
    np.testing.assert_allclose(AsTrained(torch)(images).asnumpy(), expected, rtol=1e-6)


class Given(ms.nn.Cell):
    """What DelgNet would give."""

    def __init__(self, *outputs):
        super().__init__()
        self.outputs = tuple(ms.Tensor(np.float32(each)) for each in outputs)

    def construct(self, _):
        return self.outputs


def test_losses_of_delg_are_added_by_their_weights():
    set_up_device("CPU", 0)
    ms.set_context(mode=ms.PYNATIVE_MODE)
    cosines, logits, errors = [[0.8, 0.3, -0.1], [0.8, 0.3, -0.1]], [[0, 1, 0], [2, 0, 0]], [0.5, 0.25]
    losses = DelgLosses(
        Given(cosines, logits, errors, [0]), TrainingConfig(attention_loss_weight=2.0), MetricConfig(margin=0.3)
    )
    labels = np.int32([0, 1])
    total, figures = losses(ms.Tensor(np.zeros(1)), ms.Tensor(labels), ms.Tensor(np.float32(3)))
    ms.set_context(mode=ms.GRAPH_MODE)
    turned = [26.559807, 45.25 * np.cos(np.arccos(0.3) + 0.3)]  # B4 of the addendum, and its formula
    raised = 45.25 * np.array(cosines)
    raised[[0, 1], labels] = turned
    entropies = [np.log(np.exp(row).sum(1)) - row[[0, 1], labels] for row in (raised, np.array(logits, float))]
    expected = [entropies[0], entropies[1] + 10 * np.array(errors), [1, 0], [0, 0]]
    np.testing.assert_allclose(figures.asnumpy(), expected, rtol=1e-4, atol=1e-6)
    wanted = entropies[0].mean() + 2 * entropies[1].mean() + 10 * np.mean(errors)
    assert float(total.asnumpy()) == pytest.approx(3 * wanted, rel=1e-5)


@pytest.mark.parametrize("stage, head", [("delg", "class_head"), ("regional_attention", "descriptor_head")])
def test_stages_beside_global_train_what_they_should(stage, head, small_resnet, tmp_path, monkeypatch):
    set_up_device("CPU", 0)
    monkeypatch.chdir(tmp_path)
    training = TRAINING.replace(train_state=stage)
    if stage == "delg":
        network = build_global_network(MODEL, training, MetricConfig(gem_power="fixed"), GlobalConfig(head="fc"), 3)
        assert "descriptor_head.pooling.p" not in trained(network) and "attention.conv1.weight" in trained(network)
        network.set_train()
        assert network.attention.bn1.training and not network.backbone.bn1.training
    else:
        save_weights(TuningNet(MODEL, 3), "tuned.ckpt")
        model = MODEL.replace(checkpoint_path="tuned.ckpt")
        network = build_region_network(model, training, GlobalConfig(), 3)
        assert {name.split(".")[0] for name in trained(network)} == {"regional_attention"} and network.levels == 5
        with pytest.raises(UserError, match="descriptor_head.dense.weight is 3 x 64, this network's is 4 x 64"):
            build_region_network(model, training, GlobalConfig(), 4)
    assert hasattr(network, head)
