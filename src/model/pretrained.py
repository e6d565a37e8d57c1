"""Weights that stage `tuning` starts from: Keras's ImageNet ResNet-50 (.h5) or a checkpoint of this project."""

import logging
import re
from typing import Dict, Optional

import numpy as np
from mindspore import Parameter, Tensor, nn

from src.errors import UserError
from src.files import PathLike, require_file

logger = logging.getLogger(__name__)

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


def load_pretrained(network: nn.Cell, path: PathLike, load_stem: bool = True) -> None:
    """Set the backbone and conv5 of a `TuningNet` from a file, and log what was loaded, missing and unexpected.

    Args:
        network: a TuningNet; its dense layer is set only by a checkpoint with as many classes.
        path: Keras .h5 file in either naming (res2a_branch2a_W_1:0, conv2_block1_1_conv/kernel:0), or a checkpoint.
        load_stem: False leaves conv1 as initialised when reading an .h5 file, as the reference does.

    Raises:
        UserError: no such file, unreadable, nothing in it matches, or a shape differs.
    """
    path = require_file(path, "--imagenet_checkpoint or --checkpoint_path")
    with open(path, "rb") as stream:
        is_hdf5 = stream.read(8) == b"\x89HDF\r\n\x1a\n"
    stored = _read_keras(path) if is_hdf5 else _read_checkpoint(path)
    wanted: Dict[str, Parameter] = dict(network.parameters_and_names())
    if is_hdf5 and not load_stem:
        stored = {
            name: value for name, value in stored.items() if not name.startswith(("backbone.conv1.", "backbone.bn1."))
        }
    dense = "descriptor_head.dense.weight"
    if dense in stored and stored[dense].shape != wanted[dense].shape:
        logger.info(
            "%s: its classification head has %d classes, this data set %d: the head starts anew",
            path.name, len(stored[dense]), len(wanted[dense]),
        )  # fmt: skip
        stored = {name: value for name, value in stored.items() if not name.startswith("descriptor_head.dense.")}
    matched = [name for name in stored if name in wanted]
    if not matched:
        raise UserError(f"{path}: none of its {len(stored)} tensors belongs to ResNet-50; give the Keras 'notop' file")
    for name in matched:
        if wanted[name].shape != stored[name].shape:
            raise UserError(f"{path}: {name} is {stored[name].shape}, this network's is {tuple(wanted[name].shape)}")
        wanted[name].set_data(Tensor(stored[name].astype(np.float32)))
    missing = sorted(set(wanted) - set(stored))
    unexpected = sorted(set(stored) - set(wanted))
    logger.info("%s: %d tensors loaded", path.name, len(matched))
    for title, names in (("keep their initial values", missing), ("unexpected, left out", unexpected)):
        if names:
            logger.info("%d tensors %s: %s%s", len(names), title, ", ".join(names[:6]), " ..." if names[6:] else "")


def _read_checkpoint(path: PathLike) -> Dict[str, np.ndarray]:
    import mindspore as ms

    try:
        stored = ms.load_checkpoint(str(path))
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"{path}: neither a Keras .h5 file nor a MindSpore checkpoint") from error
    return {name: parameter.asnumpy() for name, parameter in stored.items()}


def _read_keras(path: PathLike) -> Dict[str, np.ndarray]:
    """Tensors of a Keras file under this network's names; layers that ResNet-50 lacks keep their own."""
    import h5py

    tensors: Dict[str, np.ndarray] = {}

    def visit(location: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            parts = [part for part in location.split("/") if part != "model_weights"]
            kind = next((name for pattern, name in _KINDS if re.fullmatch(pattern, parts[-1])), None)
            layer = _layer_name(parts[0])
            value = np.asarray(item)
            if kind == "weight" and value.ndim == 4:
                value = value.transpose(3, 2, 0, 1)  # HWIO -> OIHW
            tensors[f"{layer}.{kind}" if layer and kind else location] = value

    try:
        with h5py.File(path, "r") as file:
            file.visititems(visit)
    except OSError as error:
        raise UserError(f"{path}: not a readable .h5 file ({error}); download it again") from error
    if "backbone.conv1.weight" in tensors:
        _convert_stem(tensors)
    return tensors


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
    """
    weight = tensors["backbone.conv1.weight"].astype(np.float64)  # [64, 3 (BGR), 7, 7]
    shift = (weight * (128.0 - _CAFFE_BGR_MEAN)[:, None, None]).sum((1, 2, 3))
    tensors["backbone.conv1.weight"] = 128.0 * weight[:, ::-1]
    tensors["backbone.conv1.bias"] = tensors.get("backbone.conv1.bias", np.zeros(len(weight))) + shift
