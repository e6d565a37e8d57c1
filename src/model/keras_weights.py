"""Keras's ImageNet ResNet-50 weights (.h5) under this network's parameter names and in its layouts."""

import re
from typing import Dict, List, Optional

import numpy as np

from ..artifacts import PathLike
from ..errors import UserError

_KINDS = (
    (r"(?:kernel|.*W)(?:_\d+)?:0", "weight"),
    (r"(?:bias|.*_b)(?:_\d+)?:0", "bias"),
    (r"(?:.*_)?gamma(?:_\d+)?:0", "gamma"),
    (r"(?:.*_)?beta(?:_\d+)?:0", "beta"),
    (r"(?:.*_)?(?:running|moving)_mean(?:_\d+)?:0", "moving_mean"),
    # Keras 1 calls it running_std, but it holds the variance.
    (r"(?:.*_)?(?:running_std|moving_variance)(?:_\d+)?:0", "moving_variance"),
)
_CAFFE_BGR_MEAN = np.array([103.939, 116.779, 123.68])


def read_keras_weights(path: PathLike) -> Dict[str, np.ndarray]:
    """Tensors of a Keras file under this network's names; those of layers that ResNet-50 lacks keep their own.

    Reads both namings (res2a_branch2a_W_1:0, conv2_block1_1_conv/kernel:0), weights alone or a whole model with them
    under model_weights/, whose optimizer is passed over.

    Raises:
        UserError: not a readable .h5 file.
    """
    import h5py

    tensors: Dict[str, np.ndarray] = {}

    def visit(location: str, item: object) -> None:
        parts = location.split("/")
        if not isinstance(item, h5py.Dataset) or parts[0] == "optimizer_weights":
            return
        kind = next((name for pattern, name in _KINDS if re.fullmatch(pattern, parts[-1])), None)
        layer = _layer_of(parts[:-1])
        value = np.asarray(item)
        if kind == "weight" and value.ndim == 4:
            value = value.transpose(3, 2, 0, 1)  # HWIO -> OIHW
        tensors[f"{layer}.{kind}" if layer and kind else location] = value

    try:
        with h5py.File(path, "r") as file:
            file.visititems(visit)
    except (OSError, RuntimeError) as error:  # RuntimeError: damaged past its header
        raise UserError(f"{path}: not a readable .h5 file ({error}); download it again") from error
    if "backbone.conv1.weight" in tensors:
        _convert_stem(tensors)
    return tensors


def _layer_of(groups: List[str]) -> Optional[str]:
    """This network's name of the first group that is one of its layers, or None; wrapping groups are passed over."""
    return next(filter(None, map(_layer_name, groups)), None)


def _layer_name(keras_name: str) -> Optional[str]:
    """This network's name of a Keras layer, or None."""
    if keras_name in ("conv1", "conv1_conv"):
        return "backbone.conv1"
    if keras_name in ("bn_conv1", "conv1_bn"):
        return "backbone.bn1"
    old = re.fullmatch(r"(res|bn)([2-5])([a-f])_branch(1|2[abc])", keras_name)
    new = re.fullmatch(r"conv([2-5])_block([1-6])_([0-3])_(conv|bn)", keras_name)
    if old:
        kind, block, unit = old[1].replace("res", "conv"), old[2], "abcdef".index(old[3])
        part = "shortcut" if old[4] == "1" else old[4][1]
    elif new:
        kind, block, unit = new[4], new[1], int(new[2]) - 1
        part = ("shortcut", "a", "b", "c")[int(new[3])]
    else:
        return None
    owner = "descriptor_head" if block == "5" else "backbone"
    return f"{owner}.conv{block}.{unit}.{kind}_{part}"


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
