"""The network as extraction sees it: a function from an image to its feature map and attention, run by MindSpore."""

from typing import Dict, Mapping, Tuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from ..artifacts import PathLike, require_file
from ..config import Config
from ..device import set_up_device
from ..errors import UserError
from ..model.checkpoint import load_weights
from ..model.delf import DelfNet
from ..model.folding import UNITS, fold
from . import Model, metadata

PARTS = ("backbone", "attention")
ANY_SIZE = [None, 3, None, None]


def folded_weights(config: Config) -> Dict[str, np.ndarray]:
    """The weights of ``config.checkpoint_path`` as ``fold`` returns them.

    Raises:
        UserError: no checkpoint there, or it holds no backbone or no attention.
    """
    network = DelfNet(config)
    load_weights(network, config.checkpoint_path, PARTS)
    return fold({name: parameter.asnumpy() for name, parameter in network.parameters_and_names()})


def _convolution(weights: Mapping[str, np.ndarray], name: str, stride: int = 1, pad_mode: str = "pad") -> nn.Conv2d:
    """A convolution with its weights; padded by half its kernel on each side unless ``pad_mode`` says otherwise."""
    weight, bias = Tensor(weights[f"{name}.weight"]), Tensor(weights[f"{name}.bias"])
    outputs, inputs, kernel, _ = weight.shape
    return nn.Conv2d(
        inputs, outputs, kernel, stride, pad_mode=pad_mode, padding=kernel // 2 if pad_mode == "pad" else 0,
        has_bias=True, weight_init=weight, bias_init=bias,
    )  # fmt: skip


class FoldedBottleneck(nn.Cell):
    """A bottleneck without BatchNorm, whose 3x3 convolution strides (see ``UNITS``)."""

    def __init__(self, weights: Mapping[str, np.ndarray], name: str, stride: int) -> None:
        super().__init__()
        self.conv_a = _convolution(weights, f"{name}.conv_a")
        self.conv_b = _convolution(weights, f"{name}.conv_b", stride)
        self.conv_c = _convolution(weights, f"{name}.conv_c")
        if f"{name}.conv_shortcut.weight" in weights:
            self.shortcut = _convolution(weights, f"{name}.conv_shortcut")
        else:
            self.shortcut = nn.MaxPool2d(1, stride) if stride > 1 else nn.Identity()

    def construct(self, x: Tensor) -> Tensor:
        y = ops.relu(self.conv_b(ops.relu(self.conv_a(x))))
        return ops.relu(ops.add(self.conv_c(y), self.shortcut(x)))


class FoldedDelf(nn.Cell):
    """``DelfNet`` for inference: images [B, 3, H, W] -> (feature map [B, 1024, h, w], attention [B, 1, h, w])."""

    def __init__(self, weights: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        self.conv1 = _convolution(weights, "backbone.conv1", 2, "same")
        self.pool1 = nn.MaxPool2d(3, 2, pad_mode="valid")
        self.units = nn.SequentialCell([FoldedBottleneck(weights, name, stride) for name, stride in UNITS])
        self.attention_conv1 = _convolution(weights, "attention.conv1")
        self.attention_conv2 = _convolution(weights, "attention.conv2")
        self.set_train(False)
        self.set_inputs(Tensor(shape=ANY_SIZE, dtype=ms.float32))  # one compilation for all sizes

    def use_bfloat16(self) -> None:
        """Run the convolutions, and what lies between them, in bfloat16; the outputs stay float32."""
        for cell in self.cells_and_names():
            if isinstance(cell[1], nn.Conv2d):
                cell[1].to_float(ms.bfloat16)

    def construct(self, images: Tensor) -> Tuple[Tensor, Tensor]:
        feature_map = self.units(self.pool1(ops.relu(self.conv1(images))))
        logits = self.attention_conv2(ops.relu(self.attention_conv1(feature_map)))
        return ops.cast(feature_map, ms.float32), softplus(ops.cast(logits, ms.float32))


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)), written so that a cell's value depends on nothing but x.

    `ops.softplus` on a CPU rounds by the place of a cell in its thread's share of the map, and MindSpore changes the
    shares while a process runs; nor does it resolve small values. log(1 + e) is 2 atanh(e / (2 + e)).
    """
    e = ops.exp(-ops.abs(x))
    return ops.relu(x) + 2.0 * ops.atanh(e / (2.0 + e))


def open_model(config: Config, device_id: int = 0) -> Model:
    """The network of ``config.checkpoint_path`` (checkpoint or MindIR), compiled once for all image sizes.

    Args:
        config: recipe.
        device_id: which of several GPUs or Ascends.

    Raises:
        UserError: a device that is not there, or a file that cannot be used.
    """
    set_up_device(config.device_target, config.seed, device_id)
    if metadata.is_export(config.checkpoint_path):
        return as_model(load_mindir(config.checkpoint_path))
    network = FoldedDelf(folded_weights(config))
    if config.precision == "bfloat16":
        network.use_bfloat16()
    return as_model(network)


def open_trained_model(config: Config) -> Model:
    """The network of a checkpoint with its BatchNorm apart, as trained: slower, and what others are measured against.

    Raises:
        UserError: as ``open_model``.
    """
    set_up_device(config.device_target, config.seed)
    network = DelfNet(config)
    load_weights(network, config.checkpoint_path, PARTS)
    network.set_train(False)
    network.set_inputs(Tensor(shape=ANY_SIZE, dtype=ms.float32))
    return as_model(network)


def load_mindir(path: PathLike) -> nn.Cell:
    """The network of a MindIR file; UserError when it is none."""
    metadata.read(require_file(path, "checkpoint_path"))
    try:
        return nn.GraphCell(ms.load(str(path)))
    except (RuntimeError, ValueError, TypeError) as error:
        raise UserError(f"{path}: not a MindIR file that MindSpore {ms.__version__} reads; export it again") from error


def as_model(network: nn.Cell) -> Model:
    """A network that takes and returns arrays instead of tensors."""
    return lambda images: tuple(output.asnumpy() for output in network(Tensor(images)))
