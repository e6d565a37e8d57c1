"""Weights that training starts from: Keras's ImageNet ResNet-50, a checkpoint of this project, or safetensors."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Mapping, Tuple

import numpy as np
from mindspore import Parameter, Tensor, nn

from ..artifacts import PathLike, require_file
from ..errors import UserError
from .keras_weights import read_keras_weights

logger = logging.getLogger(__name__)

_HEADS = ("descriptor_head", "attention_head")
_STEM = ("backbone.conv1.", "backbone.bn1.")
_TRAINING_STATE = ("moments.", "global_step", "learning_rate")  # what a checkpoint holds for resuming


@dataclass(frozen=True)
class LoadReport:
    """What became of a file's tensors.

    Attributes:
        loaded: names of the parameters that were set.
        missing: parameters that the file does not hold; they keep their initial values.
        unexpected: tensors of the file that belong to no parameter.
        head_dropped: heads whose dense layer starts anew, as the file's is of another number of classes.
    """

    loaded: Tuple[str, ...]
    missing: Tuple[str, ...]
    unexpected: Tuple[str, ...]
    head_dropped: Tuple[str, ...]


def load_pretrained(network: nn.Cell, path: PathLike, load_stem: bool = True) -> LoadReport:
    """Set the parameters of a training network from a file, and log and return what was loaded and what was not.

    Args:
        network: a network of ``src/model/delf.py``.
        path: Keras .h5 file (see ``read_keras_weights``), or a MindSpore checkpoint or a safetensors file whose tensors
            bear this network's names. A classification head with another number of classes is left out.
        load_stem: False leaves conv1 as initialised when reading an .h5 file, as the reference does.

    Raises:
        UserError: no such file, unreadable, nothing in it matches, or a shape differs; ``network`` is unchanged then.
    """
    path = require_file(path, "`imagenet_checkpoint` or `checkpoint_path`")
    stored = _read(path, load_stem)
    wanted: Dict[str, Parameter] = dict(network.parameters_and_names())
    dropped = _drop_other_heads(stored, wanted, path)
    loaded = [name for name in stored if name in wanted]
    if not loaded:
        raise UserError(
            f"{path}: none of its {len(stored)} tensors belongs to this network; "
            "give Keras's ResNet-50 'notop' file or a checkpoint that train.py wrote"
        )
    for name in loaded:
        if wanted[name].shape != stored[name].shape:
            raise UserError(f"{path}: {name} is {stored[name].shape}, this network's is {tuple(wanted[name].shape)}")
    for name in loaded:
        wanted[name].set_data(Tensor(stored[name].astype(np.float32)))
    anew = tuple(f"{head}.dense." for head in dropped)
    missing = [name for name in wanted if name not in stored and not name.startswith(anew)]
    unexpected = [name for name in stored if name not in wanted]
    report = LoadReport(*(tuple(sorted(names)) for names in (loaded, missing, unexpected, dropped)))
    _log(report, path)
    return report


def _read(path: Path, load_stem: bool) -> Dict[str, np.ndarray]:
    """Tensors by name, in whichever of the three formats the file's first bytes show."""
    with open(path, "rb") as stream:
        start = stream.read(9)
    if start[:8] == b"\x89HDF\r\n\x1a\n":
        stored = read_keras_weights(path)
        return {name: value for name, value in stored.items() if load_stem or not name.startswith(_STEM)}
    # safetensors: the length of a JSON header as a little-endian 64-bit number, then the header.
    is_safetensors = start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size
    stored = _read_safetensors(path) if is_safetensors else _read_checkpoint(path)
    return {name: value for name, value in stored.items() if not name.startswith(_TRAINING_STATE)}


def _read_checkpoint(path: Path) -> Dict[str, np.ndarray]:
    import mindspore as ms

    try:
        stored = ms.load_checkpoint(str(path))
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"{path}: neither a Keras .h5 file, nor a MindSpore checkpoint, nor safetensors") from error
    return {name: parameter.asnumpy() for name, parameter in stored.items()}


def _read_safetensors(path: Path) -> Dict[str, np.ndarray]:
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError as error:
        raise UserError(
            f"{path}: safetensors files need a library that is not installed: "
            "run 'pip install -r requirements-extras.txt'"
        ) from error
    try:
        return load_file(str(path))
    except (SafetensorError, TypeError, AttributeError, KeyError) as error:  # the last three: types NumPy lacks
        raise UserError(f"{path}: cannot be read ({error}); give an undamaged file of float32 or float16") from error


def _drop_other_heads(stored: Dict[str, np.ndarray], wanted: Mapping[str, Parameter], path: Path) -> List[str]:
    """Take dense layers with another number of classes out of ``stored``; the heads they are of."""
    dropped = []
    for head in _HEADS:
        name = f"{head}.dense.weight"
        if name not in stored or name not in wanted:
            continue
        found, needed = stored[name].shape, wanted[name].shape
        if found[1:] == needed[1:] and found != needed:
            logger.info(
                "%s: its %s has %d classes, this data set %d: the head starts anew",
                path.name, head, found[0], needed[0],
            )  # fmt: skip
            dropped.append(head)
            stored.pop(name)
            stored.pop(f"{head}.dense.bias", None)
    return dropped


def _log(report: LoadReport, path: Path) -> None:
    logger.info("%s: %d tensors loaded", path.name, len(report.loaded))
    for title, names in (("keep their initial values", report.missing), ("unexpected, left out", report.unexpected)):
        if names:
            logger.info("%d tensors %s: %s%s", len(names), title, ", ".join(names[:6]), " ..." if names[6:] else "")
            logger.debug("%s, all of them: %s", title, ", ".join(names))
