"""Every depth in both styles against plain NumPy: block3 and block4 at two odd sizes, of networks an eighth as wide."""

from dataclasses import replace

import mindspore as ms
import numpy as np
import numpy_delf as reference
import pytest
from made_networks import COUNTS, assert_close, random_images, recipe_and_twin

from src.device import set_up_device
from src.engines.onnx_graph import build_onnx
from src.model.architectures import architecture_of, fold
from src.model.maps import Conv5
from src.model.networks import Backbone

SIZES = ((33, 47), (41, 35))
EVERY = [(name, style) for name in COUNTS for style in ("keras", "torchvision")]
OUTPUTS = ("feature_map", "block4")


def narrow(architecture):
    """The same layers with an eighth of the channels."""

    def layer(wide):
        return wide and replace(wide, inputs=max(wide.inputs // 8, 3), outputs=wide.outputs // 8)

    def unit(wide):
        return replace(wide, branch=tuple(map(layer, wide.branch)), projection=layer(wide.projection))

    stages = tuple(tuple(map(unit, stage)) for stage in architecture.stages)
    return replace(architecture, stem=layer(architecture.stem), stages=stages)


def random_weights(architecture):
    """Random numbers, spatially asymmetric, of every parameter up to conv5."""
    shapes = dict(architecture.backbone_shapes())
    as_backbone = replace(architecture, stages=(architecture.stages[3], (), (), ()))
    shapes.update({name.replace("backbone.conv5", "descriptor_head.conv5"): shape
                   for name, shape in as_backbone.backbone_shapes().items() if ".conv5." in name})  # fmt: skip
    generator, weights = np.random.default_rng(7), {}
    for name, shape in shapes.items():
        if name.endswith(("gamma", "moving_variance")):
            # the last layer of a branch is weaker: the sums of a deep network would grow without end
            value = generator.uniform(0.5, 1.5, shape) * (0.3 if name.endswith(("bn_c.gamma", "bn_b.gamma")) else 1)
        else:
            value = generator.normal(0, (1 / np.prod(shape[1:])) ** 0.5 if len(shape) > 1 else 0.2, shape)
        weights[name] = value.astype(np.float32).astype(np.float64)
    return weights


def twins(name, style):
    """Architecture, weights, and for each size the image and what plain NumPy makes of it."""
    model, net = recipe_and_twin(name, style)
    architecture = narrow(architecture_of(model))
    weights, cases = random_weights(architecture), []
    for height, width in SIZES:
        image = random_images(1, height, width)
        block3 = reference.block3(image[0], weights, net)
        stride = 2 if style == "torchvision" else 1
        block4 = reference.run_stage(block3, weights, "descriptor_head.conv5", COUNTS[name][3], stride, net)
        assert block4.std() > 0.01 and len(block4) == architecture.block4_channels
        cases.append((image, block3, block4))
    return architecture, weights, cases


def onnxruntime_of(content):
    session = pytest.importorskip("onnxruntime").InferenceSession(content, providers=["CPUExecutionProvider"])
    return lambda image: session.run(list(OUTPUTS), {"image": image})


def openvino_of(content):
    openvino = pytest.importorskip("openvino")
    core = openvino.Core()
    model = core.compile_model(core.read_model(content), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda image: [model(image)[name] for name in OUTPUTS]


@pytest.mark.parametrize("engine", [onnxruntime_of, pytest.param(openvino_of, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name,style", EVERY)
def test_onnx_graph(name, style, engine):
    pytest.importorskip("onnx")
    architecture, weights, cases = twins(name, style)
    network = engine(build_onnx(fold(weights, architecture.style.epsilon), architecture, OUTPUTS))
    for image, *expected in cases:
        for found, map_ in zip(network(image), expected):
            assert_close(found[0], map_)


@pytest.fixture
def unless_compiled():
    """Cells run one by one: a graph of 150 layers takes minutes to compile. Those of 50 layers are compiled."""
    set_up_device("CPU", 0)
    yield lambda name: ms.set_context(mode=ms.GRAPH_MODE if name == "resnet50" else ms.PYNATIVE_MODE)
    ms.set_context(mode=ms.GRAPH_MODE)


@pytest.mark.slow
@pytest.mark.parametrize("name,style", EVERY)
def test_cells_of_mindspore(name, style, unless_compiled):
    unless_compiled(name)
    architecture, weights, cases = twins(name, style)

    class Both(ms.nn.Cell):
        def __init__(self):
            super().__init__()
            self.backbone, self.descriptor_head = Backbone(architecture), Conv5(architecture)

        def construct(self, images):
            block3 = self.backbone(images)
            return block3, self.descriptor_head(block3)

    network = Both().set_train(False)
    for key, parameter in network.parameters_and_names():
        parameter.set_data(ms.Tensor(weights[key].astype(np.float32)))
    if name == "resnet50":
        network.set_inputs(ms.Tensor(shape=[1, 3, None, None], dtype=ms.float32))
    for image, *expected in cases:
        for found, map_ in zip(network(ms.Tensor(image)), expected):
            assert_close(found.asnumpy()[0], map_)
