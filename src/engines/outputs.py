"""Which outputs the network of a file can give."""

import re
from typing import Sequence, Tuple

from ..artifacts import PathLike
from ..config import ModelConfig
from ..errors import UserError
from ..model.checkpoint_file import require_weights
from ..model.weight_files import tensor_names
from .identity import export_texts, is_export
from .network import DELF_OUTPUTS, OUTPUTS

_CONV5 = "descriptor_head.conv5."


def available_outputs(model: ModelConfig) -> Tuple[str, ...]:
    """What the network of ``model.checkpoint_path`` gives; of a checkpoint the attention is not judged here.

    Raises:
        UserError: no such file, or damaged.
    """
    path = require_weights(model.checkpoint_path, "checkpoint_path")
    if is_export(path):
        return export_outputs(path)
    has_conv5 = any(name.startswith(_CONV5) for name in tensor_names(path))
    return OUTPUTS if has_conv5 else DELF_OUTPUTS


def export_outputs(path: PathLike) -> Tuple[str, ...]:
    """The outputs of an export, in their order; UserError as of ``export_texts``."""
    named = re.findall(r"(\w+) \[batch", export_texts(path).get("outputs", ""))
    return tuple(name for name in OUTPUTS if name in named) or DELF_OUTPUTS


def require_outputs(model: ModelConfig, outputs: Sequence[str]) -> None:
    """UserError when the file cannot give one of ``outputs``."""
    if "block4" not in outputs and not is_export(model.checkpoint_path):
        return
    missing = [name for name in outputs if name not in available_outputs(model)]
    if not missing:
        return
    path = model.checkpoint_path
    if "block4" in missing:
        lacks = "was exported without block4" if is_export(path) else "holds no conv5, and so gives no block4"
        raise UserError(f"{path}: {lacks}; give `descriptor_layer` block3, or weights with conv5")
    if "attention" in missing:
        raise UserError(f"{path}: was exported without attention; give `features` global, or export it for local ones")
    raise UserError(f"{path}: was exported without block3; give `descriptor_layer` block4, or export it for block3")
