"""The table of architectures: receptive fields by lighting pixels one after the other, shapes, strides, choices."""

import mindspore as ms
import numpy as np
import numpy_delf as reference
import pytest
from made_networks import COUNTS, recipe_and_twin

from src.config import ARCHITECTURES, WEIGHTS_STYLES, ModelConfig
from src.device import set_up_device
from src.model.architectures import all_architectures, architecture_of
from src.model.networks import DelfNet

EVERY = [(name, style) for name in COUNTS for style in ("keras", "torchvision")]


def narrow_weights(name):
    """A network of one channel whose kernels are all ones: whatever a cell can see makes it positive."""
    kernels = {"a": 3, "b": 3} if name in ("resnet18", "resnet34") else {"a": 1, "b": 3, "c": 1}
    layers = {"backbone.conv1": 7}
    for stage, count in zip((2, 3, 4), COUNTS[name]):
        for unit in range(count):
            own = {**kernels, "shortcut": 1} if unit == 0 else kernels
            layers.update({f"backbone.conv{stage}.{unit}.conv_{part}": kernel for part, kernel in own.items()})
    weights = {}
    for layer, kernel in layers.items():
        weights[f"{layer}.weight"] = np.full((1, 1, kernel, kernel), 1 / kernel)
        for kind, value in (("gamma", 1), ("beta", 0), ("moving_mean", 0), ("moving_variance", 1)):
            weights[f"{layer.replace('conv_', 'bn_').replace('conv1', 'bn1')}.{kind}"] = np.full(1, value)
    return weights, list(layers)


@pytest.mark.parametrize("odd", [0, 1])
@pytest.mark.parametrize("name,style", EVERY)
def test_a_cell_sees_its_receptive_field_and_nothing_else(name, style, odd):
    model, net = recipe_and_twin(name, style)
    field = architecture_of(model).receptive_field
    weights, layers = narrow_weights(name)
    if style == "keras":
        weights.update({f"{layer}.bias": np.zeros(1) for layer in layers})
    shift = 0 if style == "torchvision" else 3 - odd  # the VALID max-pool; the reference's convention leaves it out
    cell = field.padding // field.stride + 1
    first = field.stride * cell - field.padding + shift
    height = field.size + first + 2 * field.stride
    height += (height + odd) % 2

    def is_seen(*rows):
        image = np.zeros((1, height, 9))
        for part in rows:
            image[:, part] = 1
        return reference.block3(image, weights, net)[0, cell, 0] > 0

    last = first + field.size - 1
    assert first > 0 and last + 1 < height and field.padding == (field.size - 1) / 2
    assert is_seen(first) and is_seen(last) and not is_seen(slice(0, first), slice(last + 1, height))


def test_receptive_field_of_the_reference():
    """Reference TF DELF's numbers for block3 of ResNet-50."""
    architecture = architecture_of(ModelConfig())
    assert architecture.receptive_field == (291, 32, 145)
    assert (architecture.block3_channels, architecture.block4_channels) == (1024, 2048)
    assert (architecture.pixel_offset, architecture.pixel_scale) == (128, 128)


@pytest.mark.parametrize("name,style", EVERY)
def test_shapes_are_those_of_the_cells(name, style):
    set_up_device("CPU", 0)
    model, _ = recipe_and_twin(name, style)
    architecture = architecture_of(model)
    cells = {key: tuple(p.shape) for key, p in DelfNet(model).parameters_and_names() if key.startswith("backbone.")}
    assert cells == architecture.backbone_shapes()
    units = len(architecture.backbone_units)
    assert units == sum(COUNTS[name][:3])
    convolutions = [key for key in cells if key.endswith(".weight")]
    projections = [key for key in convolutions if "shortcut" in key]
    basic = name in ("resnet18", "resnet34")
    assert len(convolutions) == 1 + (2 if basic else 3) * units + len(projections)
    assert len(projections) == (2 if basic else 3)  # conv2 of a basic network changes neither channels nor size
    assert any(key.endswith(".bias") for key in cells) == (style == "keras")
    assert architecture.block4_channels == (512 if basic else 2048)


@pytest.mark.parametrize("name,style", EVERY)
def test_folding_moves_strides_and_loses_none(name, style):
    architecture = architecture_of(recipe_and_twin(name, style)[0])
    folded = architecture.folded()
    assert folded.receptive_field.stride == architecture.receptive_field.stride
    assert all("bn" not in key for key in folded.backbone_shapes())
    strided = [unit.name for unit in folded.backbone_units if any(layer.stride == 2 for layer in unit.branch)]
    last = f"conv4.{COUNTS[name][2] - 1}"
    if style == "torchvision":
        assert strided == ["conv3.0", "conv4.0"]
    elif name in ("resnet18", "resnet34"):
        assert strided == ["conv3.0", "conv4.0", last]
    else:
        assert strided == [f"conv2.{COUNTS[name][0] - 1}", f"conv3.{COUNTS[name][1] - 1}", last]
        assert all(unit.skip == 2 for unit in folded.backbone_units if unit.name in strided)


def test_conv5_strides_where_nothing_is_subsampled():
    for architecture in all_architectures():
        first = architecture.stages[3][0]
        strides = [layer.stride for layer in (*first.branch, first.projection)]
        assert max(strides) * architecture.subsampling == 2


def test_the_recipe_knows_every_architecture():
    assert {(found.name, found.style.name) for found in all_architectures()} == {
        (name, style) for name in ARCHITECTURES for style in WEIGHTS_STYLES
    }
    assert all(architecture_of(ModelConfig(architecture=name)).name == name for name in ARCHITECTURES)


def test_epsilon_of_the_cells_is_the_styles():
    for style, epsilon in (("keras", 1e-3), ("torchvision", 1e-5)):
        cells = DelfNet(ModelConfig(architecture="resnet18", weights_style=style)).cells_and_names()
        assert {cell.eps for _, cell in cells if isinstance(cell, ms.nn.BatchNorm2d)} == {epsilon}
