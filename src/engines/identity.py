"""Which weights a file stands for, and the texts inside an exported network that say so.

ONNX and MindIR files are protobuf messages that keep texts in a repeated field of (key, value) entries (ONNX's
`metadata_props`, MindIR's `user_info`), with the same numbers in both. Protobuf allows the fields of a message in any
order, so entries are appended to a file. So no engine is needed to know what an export was made from.
"""

import hashlib
import json
from pathlib import Path
from typing import Dict

from ..artifacts import PathLike, is_hdf5, require_file, sha256_of
from ..config import ModelConfig, RunConfig
from ..errors import UserError
from ..model.architectures import Architecture, PerChannel
from ..protobuf import message_classes, parse

EXPORT_SUFFIXES = (".onnx", ".mindir")
WEIGHTS_TEXT = "checkpoint_sha256"
_MESSAGES = message_classes(
    "export",
    {
        "Entry": {"key": (1, "string"), "value": (2, "string")},
        "Export": {"graph": (7, "bytes"), "texts": (14, "repeated Entry")},
    },
)
# keys of ModelConfig that an untrained attention follows from, beside the seed
INITIAL_KEYS = ("attention_init", "load_stem", "kernel_init", "kernel_init_gain")


def weights_identity(run: RunConfig, model: ModelConfig) -> str:
    """SHA-256 in hex that stands for the numbers of the network that the recipe names.

    That of the checkpoint, also when ``checkpoint_path`` is an export (.onnx, .mindir) made from it: features and PCA
    made with either belong together. Weights of ImageNet (.h5) have no attention: its initial values are part of the
    network, so what they come from is part of the identity.

    Raises:
        UserError: no such file, or an export that does not say what it was made from.
    """
    path = require_file(model.checkpoint_path, "checkpoint_path")
    if is_export(path):
        origin = export_texts(path).get(WEIGHTS_TEXT)
        if origin is None:
            raise UserError(f"{path}: does not say which checkpoint it was made from; use the command export_model")
        return origin
    if not is_hdf5(path):
        return sha256_of(path)
    initial = {name: getattr(model, name) for name in ("architecture", "weights_style", *INITIAL_KEYS)}
    values = {"file": sha256_of(path), "seed": run.seed, **initial}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def is_export(path: PathLike) -> bool:
    """Whether the name is that of an exported network, and not of a checkpoint."""
    return Path(path).suffix.lower() in EXPORT_SUFFIXES


def export_texts(path: PathLike) -> Dict[str, str]:
    """The texts inside an export; empty for a checkpoint.

    Raises:
        UserError: no such file, no export, or cut short.
    """
    path = require_file(path, "checkpoint_path")
    if not is_export(path):
        return {}
    try:
        message = parse(_MESSAGES["Export"], path.read_bytes())
        texts = {entry.key: entry.value for entry in message.texts}
    except ValueError as error:
        raise UserError(f"{path}: not an exported network, or cut short; export it again") from error
    if not message.HasField("graph"):
        raise UserError(f"{path}: not an exported network: it holds none; export it again")
    return texts


def encode_texts(texts: Dict[str, str]) -> bytes:
    """The bytes that add ``texts`` to an export when they are appended to it."""
    entries = [_MESSAGES["Entry"](key=key, value=text) for key, text in texts.items()]
    return _MESSAGES["Export"](texts=entries).SerializeToString()


def describe_export(identity: str, architecture: Architecture) -> Dict[str, str]:
    """The texts of an export's metadata: whose network it is, what it takes and gives, where its cells look."""
    offset, scale = (_as_text(value) for value in (architecture.pixel_offset, architecture.pixel_scale))
    channels, field = architecture.block3_channels, architecture.receptive_field
    return {
        WEIGHTS_TEXT: identity,
        "architecture": architecture.name,
        "weights_style": architecture.style.name,
        "input": f"image [batch, 3, height, width] float32, RGB, (value - {offset}) / {scale}",
        "outputs": f"feature_map [batch, {channels}, rows, columns], "
        "attention [batch, 1, rows, columns] above 0; float32",
        "receptive_field": str(field.size),
        "stride": str(field.stride),
        "padding": str(field.padding),
    }


def _as_text(value: PerChannel) -> str:
    return f"{value:g}" if isinstance(value, float) else f"({', '.join(f'{channel:g}' for channel in value)})"
