"""Architectures as data: one table from which cells, folding, ONNX graph, weight readers and receptive field follow.

A ResNet is a stem (7x7/2 convolution, 3x3/2 max-pool) and four stages of residual units, conv2 to conv5 (He et al.,
2016). DELF takes its features after conv4 ("block3"); conv5 ("block4") serves the first stage of training. The same
layers exist in two styles, in which their weights were trained:

keras: every convolution has a bias. The stride of a stage sits on its first convolution (of a bottleneck a 1x1) and on
the shortcut. The stem follows TF's SAME: on an even side it is padded by 2 before and 3 after; its max-pool is VALID.
A 1x1/2 max-pool follows conv4, a pure sub-sampling, so that conv5 runs at stride 1, as in the reference, TF DELF:
block3 has a stride of 32 pixels.

torchvision: no biases. The stride of a stage sits on its first 3x3 convolution, and stem and max-pool are padded by 3
and 1. Nothing is sub-sampled after conv4: that would not give conv5 the input it was trained on, as its 1x1 convolution
comes before the stride. So block3 has a stride of 16 pixels, as in HOW and with ``block3_strides`` off in TF DELF.
"""

import math
from dataclasses import dataclass, replace
from functools import cache
from typing import Dict, List, Mapping, NamedTuple, Optional, Tuple, Union

import numpy as np

from ..config import ModelConfig

_UNITS = {  # kind of unit, and how many of them conv2 to conv5 have
    "resnet18": ("basic", (2, 2, 2, 2)),
    "resnet34": ("basic", (3, 4, 6, 3)),
    "resnet50": ("bottleneck", (3, 4, 6, 3)),
    "resnet101": ("bottleneck", (3, 4, 23, 3)),
    "resnet152": ("bottleneck", (3, 8, 36, 3)),
}
STEM_CHANNELS = 64
_WIDENING = {"basic": 1, "bottleneck": 4}  # output channels of a unit / those of its 3x3 convolutions
PerChannel = Union[float, Tuple[float, float, float]]  # one number for R, G and B, or one each


@dataclass(frozen=True)
class Style:
    """What weights of one origin have in common.

    Attributes:
        epsilon: of BatchNorm.
        pixel_offset, pixel_scale: the network takes (pixel - offset) / scale of RGB from 0 to 255.
        convolution_bias: of the backbone.
        stride_first: the stride of a stage sits on its first convolution, not on its first 3x3.
        same_stem: TF SAME conv1 and VALID max-pool; otherwise both are padded by half their kernel.
        subsampling: stride of the sub-sampling after conv4.
    """

    name: str
    epsilon: float
    pixel_offset: PerChannel
    pixel_scale: PerChannel
    convolution_bias: bool
    stride_first: bool
    same_stem: bool
    subsampling: int


_STYLES = {
    "keras": Style("keras", 1e-3, 128.0, 128.0, True, True, True, 2),
    "torchvision": Style(  # mean and deviation of ImageNet's pixels
        "torchvision", 1e-5, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), False, False, False, 1
    ),
}


@dataclass(frozen=True)
class Convolution:
    """A convolution and the BatchNorm after it, padded by half the kernel on each side, or as TF's SAME.

    ``name`` is what follows conv_ and bn_ in the parameters' names.
    """

    name: str
    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    same: bool = False


@dataclass(frozen=True)
class Unit:
    """A residual unit: relu(branch(x) + shortcut(x)), with a ReLU after each convolution of the branch but the last.

    Attributes:
        name: stage and number, such as "conv2.0".
        branch: two convolutions (basic) or three (bottleneck).
        projection: convolution of the shortcut; None = the identity.
        skip: stride of an identity: 2 takes every second row and column.
    """

    name: str
    branch: Tuple[Convolution, ...]
    projection: Optional[Convolution] = None
    skip: int = 1


class ReceptiveField(NamedTuple):
    """Where a cell of block3 looks: cell i sees the pixels from ``stride * i - padding``, ``size`` of them.

    The reference's convention: every layer counts as centred, so that the field's centre is at ``stride * i`` exactly.
    In style keras the network itself looks 2 (odd sides) or 3 (even sides) pixels further, as its max-pool is VALID.
    """

    size: int
    stride: int
    padding: int


@dataclass(frozen=True)
class Architecture:
    """The layers of a network.

    Attributes:
        name: such as "resnet50".
        style: see ``Style``.
        stem: conv1.
        stages: units of conv2, conv3, conv4 and conv5.
        subsampling: stride of the sub-sampling after conv4; 1 = none.
        convolution_bias: whether the backbone's convolutions have one.
        batch_norm: whether one follows each convolution.
    """

    name: str
    style: Style
    stem: Convolution
    stages: Tuple[Tuple[Unit, ...], ...]
    subsampling: int
    convolution_bias: bool
    batch_norm: bool = True

    @property
    def backbone_units(self) -> Tuple[Unit, ...]:
        """Units of conv2, conv3 and conv4 in order."""
        return tuple(unit for stage in self.stages[:3] for unit in stage)

    @property
    def block3_channels(self) -> int:
        return self.stages[2][-1].branch[-1].outputs

    @property
    def block4_channels(self) -> int:
        return self.stages[3][-1].branch[-1].outputs

    @property
    def pixel_offset(self) -> PerChannel:
        return self.style.pixel_offset

    @property
    def pixel_scale(self) -> PerChannel:
        return self.style.pixel_scale

    @property
    def receptive_field(self) -> ReceptiveField:
        """Of a cell of block3: a layer widens it by (kernel - 1) cells of its input, half of them before the centre."""
        branches = [(layer.kernel, layer.stride) for unit in self.backbone_units for layer in unit.branch]
        size, stride, padding = 1, 1, 0
        for kernel, step in [(self.stem.kernel, self.stem.stride), (3, 2), *branches, (1, self.subsampling)]:
            size, padding = size + (kernel - 1) * stride, padding + (kernel - 1) // 2 * stride
            stride *= step
        return ReceptiveField(size, stride, padding)

    @property
    def block4_stride(self) -> int:
        """Pixels between two cells of block4."""
        return self.receptive_field.stride * math.prod(layer.stride for layer in self.stages[3][0].branch)

    def folded(self) -> "Architecture":
        """The same network for inference: no BatchNorm (see ``fold``), and no cell computed that nothing reads.

        A stage whose first layer strides in a 1x1 convolution and its shortcut, or a sub-sampling, reads only every
        second row and column. So the last 3x3 convolution before it strides instead (padded by 1 on each side, it
        stays centred on the even cells), as does the shortcut beside it, and what follows has no stride left.
        """
        units, reads = [], self.subsampling
        for unit in reversed(self.backbone_units):
            unit, reads = _stride_moved(unit, reads)
            units.insert(0, unit)
        stages = [tuple(unit for unit in units if unit.name.startswith(f"conv{number}.")) for number in (2, 3, 4)]
        return replace(self, stages=(*stages, self.stages[3]), subsampling=1, convolution_bias=True, batch_norm=False)

    def backbone_shapes(self) -> Dict[str, Tuple[int, ...]]:
        """Shape of every parameter of conv1 to conv4 by its name, as in a checkpoint."""
        layers = [("backbone.conv1", "backbone.bn1", self.stem)]
        for unit in self.backbone_units:
            layers += [
                (f"backbone.{unit.name}.conv_{layer.name}", f"backbone.{unit.name}.bn_{layer.name}", layer)
                for layer in (*unit.branch, *filter(None, [unit.projection]))
            ]
        shapes: Dict[str, Tuple[int, ...]] = {}
        for convolution, norm, layer in layers:
            shapes[f"{convolution}.weight"] = (layer.outputs, layer.inputs, layer.kernel, layer.kernel)
            names = [f"{convolution}.bias"] if self.convolution_bias else []
            if self.batch_norm:
                names += [f"{norm}.{kind}" for kind in ("gamma", "beta", "moving_mean", "moving_variance")]
            shapes.update({name: (layer.outputs,) for name in names})
        return shapes


def architecture_of(model: ModelConfig) -> Architecture:
    """The architecture that the recipe names."""
    return _architecture(model.architecture, model.weights_style)


def all_architectures() -> List[Architecture]:
    """Every depth in every style."""
    return [_architecture(name, style) for name in _UNITS for style in _STYLES]


@cache
def _architecture(name: str, style_name: str) -> Architecture:
    (kind, counts), style = _UNITS[name], _STYLES[style_name]
    inputs, stages = STEM_CHANNELS, []
    for number, count in enumerate(counts, 2):
        width = STEM_CHANNELS << (number - 2)
        stride = 1 if number == 2 or (number == 5 and style.subsampling > 1) else 2
        units = []
        for position in range(count):
            own_stride = stride if position == 0 else 1
            units.append(_unit(f"conv{number}.{position}", kind, inputs, width, own_stride, style))
            inputs = width * _WIDENING[kind]
        stages.append(tuple(units))
    stem = Convolution("1", 3, STEM_CHANNELS, 7, 2, style.same_stem)
    return Architecture(name, style, stem, tuple(stages), style.subsampling, style.convolution_bias)


def _unit(name: str, kind: str, inputs: int, width: int, stride: int, style: Style) -> Unit:
    outputs = width * _WIDENING[kind]
    if kind == "basic":
        branch = (Convolution("a", inputs, width, 3, stride), Convolution("b", width, width, 3))
    else:
        first, second = (stride, 1) if style.stride_first else (1, stride)
        branch = (
            Convolution("a", inputs, width, 1, first),
            Convolution("b", width, width, 3, second),
            Convolution("c", width, outputs, 1),
        )
    changes = inputs != outputs or stride > 1
    return Unit(name, branch, Convolution("shortcut", inputs, outputs, 1, stride) if changes else None)


def _stride_moved(unit: Unit, reads: int) -> Tuple[Unit, int]:
    """The unit when what follows reads every ``reads``-th cell of it, and the same of what it reads itself."""
    branch, projection = list(unit.branch), unit.projection
    last = max(place for place, layer in enumerate(branch) if layer.kernel == 3)
    branch[last] = replace(branch[last], stride=branch[last].stride * reads)
    needs = branch[0].stride if branch[0].kernel == 1 else 1
    if needs > 1:
        branch[0] = replace(branch[0], stride=1)
    if projection:
        projection = replace(projection, stride=projection.stride * reads // needs)
    return replace(unit, branch=tuple(branch), projection=projection, skip=unit.skip * reads), needs


def fold(weights: Mapping[str, np.ndarray], epsilon: float) -> Dict[str, np.ndarray]:
    """The convolutions of a network with their BatchNorm folded in.

    Args:
        weights: every parameter by name, as in a checkpoint; the BatchNorm of ``conv_a`` is ``bn_a`` beside it.
        epsilon: of BatchNorm.

    Returns:
        ``NAME.weight`` [outputs, inputs, k, k] and ``NAME.bias`` [outputs] float32 of each convolution NAME; those
        without a BatchNorm are unchanged.
    """
    folded: Dict[str, np.ndarray] = {}
    for key in weights:
        name, _, kind = key.rpartition(".")
        if kind != "weight":
            continue
        weight = weights[key].astype(np.float64)
        bias = weights.get(f"{name}.bias", np.zeros(len(weight))).astype(np.float64)
        parent, _, own = name.rpartition(".")
        normalisation = f"{parent}.{own.replace('conv', 'bn')}"
        if f"{normalisation}.gamma" in weights:
            gamma, beta, mean, variance = (
                weights[f"{normalisation}.{part}"].astype(np.float64)
                for part in ("gamma", "beta", "moving_mean", "moving_variance")
            )
            factor = gamma / np.sqrt(variance + epsilon)
            weight, bias = weight * factor[:, None, None, None], (bias - mean) * factor + beta
        folded[f"{name}.weight"], folded[f"{name}.bias"] = weight.astype(np.float32), bias.astype(np.float32)
    return folded
