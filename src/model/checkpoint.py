"""Weights to and from checkpoint files that MindSpore's own `load_checkpoint` reads."""

import logging
import os
from pathlib import Path
from typing import Dict, Optional, Sequence

import mindspore as ms
from mindspore import nn

from ..artifacts import PathLike, atomic_path, require_file
from ..errors import UserError

logger = logging.getLogger(__name__)


def save_weights(network: nn.Cell, path: PathLike, extra: Optional[Dict[str, int]] = None) -> None:
    """Write every parameter of ``network``, BatchNorm's moving statistics included, atomically.

    Args:
        network: a network, or any other cell with parameters, under whose names they are stored.
        path: the checkpoint.
        extra: numbers to store besides.
    """
    parameters = [{"name": name, "data": parameter} for name, parameter in network.parameters_and_names()]
    with atomic_path(path) as temporary:
        ms.save_checkpoint(parameters, str(temporary), append_dict=extra)
        os.chmod(temporary, 0o644)  # MindSpore leaves it unreadable for others, and read-only


def load_weights(network: nn.Cell, path: PathLike, parts: Sequence[str]) -> None:
    """Load some parts of ``network`` from a checkpoint.

    Args:
        network: its parameters whose names start with one of ``parts`` are set.
        path: checkpoint of any stage; what it holds beyond ``parts`` is left alone.
        parts: names of sub-networks, such as "backbone".

    Raises:
        UserError: not a checkpoint, a parameter is missing, or a shape differs.
    """
    path = require_file(path, "checkpoint_path")
    try:
        stored = ms.load_checkpoint(str(path))
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"{path}: not a MindSpore checkpoint; give one that train.py wrote") from error
    wanted = {name: parameter for name, parameter in network.parameters_and_names() if name.split(".")[0] in parts}
    missing = [name for name in wanted if name not in stored]
    for part in parts:
        if missing and all(name in missing for name in wanted if name.startswith(part + ".")):
            raise UserError(f"{path}: holds no {part}; {_advice(part)}")
    if missing:
        raise UserError(
            f"{path}: {len(missing)} parameters are missing, {missing[0]} first; was it made by this project?"
        )
    for name, parameter in wanted.items():
        if parameter.shape != stored[name].shape:
            raise UserError(f"{path}: {name} is {stored[name].shape}, this network's is {parameter.shape}")
        parameter.set_data(stored[name].value())
    logger.info("loaded %d tensors of %s from %s", len(wanted), " and ".join(parts), Path(path).name)


def _advice(part: str) -> str:
    if part == "attention":
        return "train the second stage first: scripts/run_1p_train.sh attn CHECKPOINT"
    return "give a checkpoint that train.py wrote"
