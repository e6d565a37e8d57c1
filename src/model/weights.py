"""Weights to and from checkpoints that MindSpore's own `load_checkpoint` reads, and from ImageNet files."""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Collection, Dict, List, Mapping, Optional, Sequence, Tuple

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn

from ..artifacts import PathLike, atomic_path, is_made
from ..config import ModelConfig
from ..errors import UserError
from ..outside import is_hdf5
from ..records import Provenance
from .architectures import Architecture
from .checkpoint_file import require_weights
from .networks import DelfNet
from .weight_files import STEM, fitting_architectures, read_weight_file, read_weights

logger = logging.getLogger(__name__)

_HEADS = ("descriptor_head", "attention_head", "class_head")


def save_weights(network: nn.Cell, path: PathLike, extra: Optional[Dict[str, int]] = None) -> None:
    """Write every parameter of ``network``, BatchNorm's moving statistics included, atomically.

    What a cell has as ``texts``, by their names, is stored too: what numbers do not say of a network.

    Args:
        network: a network, or any other cell with parameters, under whose names they are stored.
        path: the checkpoint.
        extra: numbers to store besides.
    """
    parameters = [{"name": name, "data": parameter} for name, parameter in network.parameters_and_names()]
    texts = [getattr(cell, "texts", {}) for _, cell in network.cells_and_names()]
    added = {**{name: text for own in texts for name, text in own.items()}, **(extra or {})}
    with atomic_path(path) as temporary:
        ms.save_checkpoint(parameters, str(temporary), append_dict=added or None, crc_check=True)


def write_untrained(model: ModelConfig, output: Path, overwrite: bool = False) -> None:
    """Write backbone and attention as they start: initial values, with the weights of ``imagenet_checkpoint``, if any.

    The device must be set up, and with it the seed. A finished file is known by its numbers.

    Raises:
        UserError: a file that cannot be used, a name that does not end in .ckpt, or another checkpoint at ``output``
            that may not be replaced.
    """
    if output.suffix != ".ckpt":  # MindSpore would add it, and the file of this name stay empty
        raise UserError(f"{output}: the name of a checkpoint ends in .ckpt; give `output` such a name")
    network = DelfNet(model)
    if model.imagenet_checkpoint:
        load_pretrained(network, model.imagenet_checkpoint, model.load_stem)
    numbers = {name: parameter.asnumpy() for name, parameter in network.parameters_and_names()}
    if is_made(output, _provenance(numbers), lambda path: _provenance(read_weights(path)), overwrite):
        return
    save_weights(network, output)
    logger.info("wrote %s", output)


def _provenance(numbers: Mapping[str, np.ndarray]) -> Provenance:
    state = hashlib.sha256()
    for name in sorted(numbers):
        state.update(name.encode() + numbers[name].tobytes())
    return Provenance(weights=state.hexdigest())


def load_weights(network: nn.Cell, path: PathLike, parts: Sequence[str], load_stem: bool = True) -> None:
    """Load some parts of ``network`` from a file; the attention keeps its initial values where ImageNet's has none.

    Args:
        network: a network of ``networks.py``; its parameters whose names start with one of ``parts`` are set.
        path: see ``read_weights``; what it holds beyond ``parts`` is left alone.
        parts: names of sub-networks, such as "backbone".
        load_stem: False leaves conv1 as initialised when reading an .h5 file.

    Raises:
        UserError: unreadable, of another architecture, a parameter is missing, or a shape differs.
    """
    path = require_weights(path, "checkpoint_path")
    file = read_weight_file(path, load_stem)
    stored = file.tensors
    _require_architecture(path, stored, network.architecture)
    if file.foreign and "attention" in parts:
        logger.info("%s: weights of a ResNet without an attention, which stays untrained", path.name)
        parts = [part for part in parts if part != "attention"]
    left = STEM if is_hdf5(path) and not load_stem else ()
    wanted = {
        name: parameter
        for name, parameter in network.parameters_and_names()
        if name.split(".")[0] in parts and not name.startswith(left)
    }
    missing = [name for name in wanted if name not in stored]
    for part in parts:
        own = [name for name in wanted if name.startswith(f"{part}.")]
        if own and all(name in missing for name in own):
            raise UserError(f"{path}: holds no {part}; {_advice(part)}")
    if missing:
        raise UserError(
            f"{path}: {len(missing)} parameters are missing, {missing[0]} first; give a checkpoint of the command train"
        )
    _set(wanted, stored, wanted, path)
    unexpected = [name for name in stored if name not in wanted] if file.foreign else []
    kept = [name for name, _ in network.parameters_and_names() if name not in wanted]
    _log(LoadReport(tuple(wanted), tuple(kept), tuple(unexpected), ()), path, file.format)


def _advice(part: str) -> str:
    if part == "attention":
        return "train the second stage first: the command train with `train_state` attn"
    return "give a checkpoint that the command train wrote"


def _require_architecture(path: Path, stored: Collection[str], needed: Architecture) -> None:
    """UserError when the names are those of another architecture's backbone; those of none are not judged here."""
    fitting = fitting_architectures(stored)
    if fitting and needed not in fitting:
        name, style = fitting[0].name, fitting[0].style.name
        raise UserError(
            f"{path}: weights of {name} in style {style}, the recipe's network is {needed.name} in style "
            f"{needed.style.name}; give `architecture` {name} and `weights_style` {style}"
        )


def _set(
    parameters: Mapping[str, Parameter], stored: Mapping[str, np.ndarray], names: Collection[str], path: Path
) -> None:
    """Set the parameters of these names, or, when a shape differs, none and raise a UserError."""
    for name in names:
        needed, found = tuple(parameters[name].shape), stored[name].shape
        if stored[name].dtype.kind not in "fiu":
            raise UserError(f"{path}: {name} is of {stored[name].dtype}, no numbers; give a file of the same network")
        if needed != found:
            shapes = [" x ".join(map(str, shape)) or "one number" for shape in (found, needed)]
            fact = f"{name} is {shapes[0]}, this network's is {shapes[1]}"
            raise UserError(f"{path}: {fact}; give a file of the same network")
    for name in names:
        parameters[name].set_data(Tensor(stored[name].astype(np.float32)))


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
    """Set whichever parameters a file holds, to start training from; log and return what was loaded and what was not.

    Args:
        network: a network of ``networks.py``.
        path: see ``read_weights``. A classification head with another number of classes is left out.
        load_stem: False leaves conv1 as initialised when reading an .h5 file, as the reference does.

    Raises:
        UserError: no such file, unreadable, of another architecture, nothing in it matches, or a shape differs;
            ``network`` is unchanged then.
    """
    path = require_weights(path, "`imagenet_checkpoint` or `checkpoint_path`")
    file = read_weight_file(path, load_stem)
    stored = dict(file.tensors)
    _require_architecture(path, stored, network.architecture)
    wanted: Dict[str, Parameter] = dict(network.parameters_and_names())
    dropped = _drop_other_heads(stored, wanted, path)
    loaded = [name for name in stored if name in wanted]
    if not loaded:
        raise UserError(
            f"{path}: none of its {len(stored)} tensors belongs to this network; "
            "give Keras's 'notop' file of a ResNet or a checkpoint that the command train wrote"
        )
    _set(wanted, stored, loaded, path)
    anew = tuple(f"{head}.dense." for head in dropped)
    missing = [name for name in wanted if name not in stored and not name.startswith(anew)]
    unexpected = [name for name in stored if name not in wanted]
    report = LoadReport(*(tuple(sorted(names)) for names in (loaded, missing, unexpected, dropped)))
    _log(report, path, file.format)
    return report


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


def _log(report: LoadReport, path: Path, format: str) -> None:
    """One paragraph of what became of a file's tensors."""
    facts = [f"{path.name} ({format}): {len(report.loaded)} tensors loaded"]
    for title, names in (("keep their initial values", report.missing), ("unexpected, left out", report.unexpected)):
        if names:
            facts.append(f"{len(names)} {title}: {', '.join(names[:6])}{' ...' if names[6:] else ''}")
            logger.debug("%s, all of them: %s", title, ", ".join(names))
    logger.info("; ".join(facts))
