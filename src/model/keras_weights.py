"""Keras's ImageNet weights (.h5) of a ResNet under this network's parameter names and in its layouts."""

import re
from functools import cache
from pathlib import Path
from string import ascii_lowercase
from typing import Dict, List, Optional

import h5py
import numpy as np

from ..artifacts import PathLike
from ..errors import reading
from ..hdf5 import open_hdf5
from .architectures import all_architectures

_KINDS = (
    (r"(?:kernel|.*W)(?:_\d+)?:0", "weight"),
    (r"(?:bias|.*_b)(?:_\d+)?:0", "bias"),
    (r"(?:.*_)?gamma(?:_\d+)?:0", "gamma"),
    (r"(?:.*_)?beta(?:_\d+)?:0", "beta"),
    (r"(?:.*_)?(?:running|moving)_mean(?:_\d+)?:0", "moving_mean"),
    # Keras 1 calls it running_std, but it holds the variance.
    (r"(?:.*_)?(?:running_std|moving_variance)(?:_\d+)?:0", "moving_variance"),
)
_PARTS = {"a": ("2a", 1), "b": ("2b", 2), "c": ("2c", 3), "shortcut": ("1", 0)}  # in the old names and the new
_FIX = "download it again"
_MOST_RATIO, _ALWAYS_ALLOWED = 4, 2**26  # of the bytes unpacked to those of the file, beside 64 MiB
_CAFFE_BGR_MEAN = np.array([103.939, 116.779, 123.68])


def read_keras_weights(path: PathLike) -> Dict[str, np.ndarray]:
    """Tensors of a Keras file under this network's names; those of layers that no ResNet has keep their own.

    Reads both namings (res2a_branch2a_W_1:0, conv2_block1_1_conv/kernel:0), weights alone or a whole model with them
    under model_weights/, whose optimizer is passed over.

    Raises:
        UserError: a damaged file, one whose numbers lie in other files, or one that unpacks to far more than it holds.
    """
    tensors: Dict[str, np.ndarray] = {}
    allowed = _ALWAYS_ALLOWED + _MOST_RATIO * Path(path).stat().st_size

    def visit(location: str, item: object) -> None:  # of hard links only
        nonlocal allowed
        parts = location.split("/")
        if not isinstance(item, h5py.Dataset) or parts[0] == "optimizer_weights":
            return
        if item.dtype.kind not in "fiu" or item.shape is None:
            return
        if item.is_virtual or item.external:
            raise ValueError(f"{location} lies in another file")
        allowed -= item.nbytes  # as its header says
        if allowed < 0:
            raise ValueError(f"it would unpack to more than {_MOST_RATIO} times its size")
        kind = next((name for pattern, name in _KINDS if re.fullmatch(pattern, parts[-1])), None)
        layer = _layer_of(parts[:-1])
        value = np.asarray(item)
        if kind == "weight" and value.ndim == 4:
            value = value.transpose(3, 2, 0, 1)  # HWIO -> OIHW
        tensors[f"{layer}.{kind}" if layer and kind else location] = value

    with reading(path, _FIX), open_hdf5(path, "a whole .h5 file of Keras", _FIX) as file:
        file.visititems(visit)
        if tensors.get("backbone.conv1.weight", np.empty(0)).shape[1:] == (3, 7, 7):  # any other is no stem of ours
            _convert_stem(tensors)
    return tensors


def _layer_of(groups: List[str]) -> Optional[str]:
    """This network's name of the first group that is one of its layers, or None; wrapping groups are passed over."""
    return next((_layer_names()[group] for group in groups if group in _layer_names()), None)


@cache
def _layer_names() -> Dict[str, str]:
    """This project's name of every Keras layer of every depth, in both of Keras's namings.

    The old one letters the units of a stage (res4f), or, Caffe's way for many, numbers them from the second (res4b22).
    """
    names = {"conv1": "backbone.conv1", "bn_conv1": "backbone.bn1"}
    names.update({"conv1_conv": "backbone.conv1", "conv1_bn": "backbone.bn1"})
    for unit in (unit for architecture in all_architectures() for stage in architecture.stages for unit in stage):
        block, number = unit.name.replace("conv", "").split(".")
        owner = "descriptor_head" if block == "5" else "backbone"
        letters = [*ascii_lowercase[int(number) : int(number) + 1], *([f"b{number}"] if int(number) else [])]
        for part, (old, new) in _PARTS.items():
            for kind, old_kind in (("conv", "res"), ("bn", "bn")):
                ours = f"{owner}.{unit.name}.{kind}_{part}"
                names[f"conv{block}_block{int(number) + 1}_{new}_{kind}"] = ours
                names.update({f"{old_kind}{block}{letter}_branch{old}": ours for letter in letters})
    return names


def _convert_stem(tensors: Dict[str, np.ndarray]) -> None:
    """From BGR minus Caffe's mean to RGB as (x - 128) / 128: the same response, exactly so away from the border.

    sum w (x - mean) = sum (128 w) z + sum w (128 - mean), with x = 128 z + 128.

    At the border the padding, 0 in both, means Caffe's mean colour there and grey here. Keras pads 3 pixels on every
    side. TF SAME, which this network follows, does so too on odd sides (321); on even ones it pads 2 before and 3
    after, which moves the grid of responses by one pixel and changes nothing else.
    """
    weight = tensors["backbone.conv1.weight"].astype(np.float64)  # [64, 3 (BGR), 7, 7]
    shift = (weight * (128.0 - _CAFFE_BGR_MEAN)[:, None, None]).sum((1, 2, 3))
    tensors["backbone.conv1.weight"] = 128.0 * weight[:, ::-1]
    tensors["backbone.conv1.bias"] = tensors.get("backbone.conv1.bias", np.zeros(len(weight))) + shift
