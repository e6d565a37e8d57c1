"""Names of a ResNet's parameters in other libraries' files, and this project's for them.

One table serves torchvision, timm, cirtorch, dirtorch, MindCV and MindSpore's model zoo, as all name the layers after
torchvision: ``conv1``, ``bn1``, ``layer1.0.conv1`` .. ``layer4.2.bn3``. They differ in what stands before
(``module.``, ``features.``), in the name of the shortcut, and in MindSpore's words for BatchNorm's parameters. cirtorch
numbers the parts of the network: 0 and 1 are conv1 and bn1, 4 to 7 the stages.
"""

import re
from typing import Dict, Mapping, Optional

import numpy as np

PREFIX = re.compile(r"^(?:module\.)?(?:features\.)?")  # of DataParallel, which dirtorch saves with; of cirtorch
_STEM = {"conv1": "conv1", "bn1": "bn1", "0": "conv1", "1": "bn1"}
_UNIT = re.compile(r"(?:layer([1-4])|([4-7]))\.(\d+)\.(.+)")
_SHORTCUT = re.compile(r"(?:downsample|down_sample|down_sample_layer)\.([01])")
_LAYER = re.compile(r"(conv|bn)([1-3])d?")  # the d: the model zoo's basic units
_CONVOLUTION = {"weight": "weight", "bias": "bias"}
_BATCH_NORM = {
    "weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance",
    **{name: name for name in ("gamma", "beta", "moving_mean", "moving_variance")},
}  # fmt: skip
_COUNTER = "num_batches_tracked"  # of PyTorch's BatchNorm; nothing needs it
# BatchNorm's in the model zoo (with basic units in bn1d and bn2d alone), and in style torchvision
_ZOO_EPSILON, _EPSILON = 1e-4, 1e-5


def own_name(name: str) -> Optional[str]:
    """This project's name of a parameter of a ResNet's, or None where it is no such name."""
    layer, _, kind = PREFIX.sub("", name).rpartition(".")
    if layer in _STEM:
        found = _STEM[layer]
        place = f"backbone.{found}"
    else:
        unit = _UNIT.fullmatch(layer)
        found = unit and _layer_of(unit[4])
        if not found:
            return None
        stage = int(unit[1]) + 1 if unit[1] else int(unit[2]) - 2
        owner = "descriptor_head" if stage == 5 else "backbone"
        place = f"{owner}.conv{stage}.{int(unit[3])}.{found}"
    own_kind = (_CONVOLUTION if found.startswith("conv") else _BATCH_NORM).get(kind)
    return own_kind and f"{place}.{own_kind}"


def _layer_of(name: str) -> Optional[str]:
    """``conv_a`` for ``conv1`` and so on, ``conv_shortcut`` and ``bn_shortcut`` for the two of the shortcut."""
    shortcut, layer = _SHORTCUT.fullmatch(name), _LAYER.fullmatch(name)
    if shortcut:
        return ("conv_shortcut", "bn_shortcut")[int(shortcut[1])]
    return f"{layer[1]}_{'abc'[int(layer[2]) - 1]}" if layer else None


def is_foreign(names: Mapping[str, object]) -> bool:
    """Whether some names are another library's for a ResNet, and none is this project's."""
    return not any(name.startswith("backbone.") for name in names) and any(own_name(name) for name in names)


def renamed(tensors: Mapping[str, np.ndarray]) -> Dict[str, np.ndarray]:
    """The tensors of a foreign file under this project's names; those that no ResNet has keep their own.

    Raises:
        ValueError: two have one name here.
    """
    result: Dict[str, np.ndarray] = {}
    is_zoo, is_basic = (any(part in name for name in tensors) for part in (".down_sample_layer.", ".bn1d."))
    for name, value in tensors.items():
        if name.rpartition(".")[2] == _COUNTER:
            continue
        own = own_name(name) or name
        if own in result:
            raise ValueError(f"two of its tensors are {own}")
        if is_zoo and own.endswith("moving_variance") and (not is_basic or name.split(".")[-2].endswith("d")):
            value = value + np.float32(_ZOO_EPSILON - _EPSILON)  # then our epsilon gives what the zoo's gave
        result[own] = value
    return result
