"""Which weights a file stands for, and the texts inside an exported network that say so.

ONNX and MindIR files are protobuf messages that keep texts in a repeated field of (key, value) entries (ONNX's
`metadata_props`, MindIR's `user_info`), with the same numbers in both. Protobuf allows the fields of a message in any
order, so entries are appended to a file. So no engine is needed to know what an export was made from. The last entry
is the SHA-256 of all bytes before it: engines run damaged networks without a word, or crash.
"""

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Dict, Mapping, Sequence

from ..artifacts import PathLike, require_file, sha256_of
from ..config import ModelConfig, RunConfig
from ..errors import UserError
from ..model.architectures import Architecture, PerChannel
from ..model.checkpoint_file import require_weights
from ..model.weight_files import is_foreign_file
from ..protobuf import message_classes, parse
from .network import DELF_OUTPUTS

EXPORT_SUFFIXES = (".onnx", ".mindir")
WEIGHTS_TEXT = "checkpoint_sha256"
PRECISION_TEXT = "precision"  # of the arithmetic, where it is not float32
_CHECKSUM_TEXT = "sha256"
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
    made with either belong together. Other libraries' weights (.h5, .pth) have no attention: its initial values are
    part of the network, so what they come from is part of the identity.

    Raises:
        UserError: no such file, or an export that does not say what it was made from.
    """
    path = require_weights(model.checkpoint_path, "checkpoint_path")
    if is_export(path):
        origin = export_texts(path).get(WEIGHTS_TEXT)
        if origin is None:
            raise UserError(f"{path}: does not say which checkpoint it was made from; use the command export_model")
        return origin
    if not is_foreign_file(path):
        return sha256_of(path)
    initial = {name: getattr(model, name) for name in ("architecture", "weights_style", *INITIAL_KEYS)}
    values = {"file": sha256_of(path), "seed": run.seed, **initial}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def is_export(path: PathLike) -> bool:
    """Whether the name is that of an exported network, and not of a checkpoint."""
    return Path(path).suffix.lower() in EXPORT_SUFFIXES


def precision_of(path: PathLike) -> str:
    """The arithmetic that an export was written for; float32 of checkpoints. UserError as of ``export_texts``."""
    return export_texts(path).get(PRECISION_TEXT, "float32")


def export_texts(path: PathLike) -> Dict[str, str]:
    """The texts inside an export, without its checksum; empty for a checkpoint.

    Raises:
        UserError: no such file, no export, or damaged.
    """
    if not is_export(require_file(path, "checkpoint_path")):
        return {}
    path = require_weights(path, "checkpoint_path")
    status = path.stat()
    try:
        return dict(_texts_of_file(path, status.st_ino, status.st_size, status.st_mtime_ns))
    except ValueError as error:
        raise UserError(f"{path}: not an exported network, or damaged ({error}); export it again") from error


@lru_cache(maxsize=8)
def _texts_of_file(path: Path, *_: int) -> Dict[str, str]:
    """As ``texts_of``; a command asks several times for the texts of a file, whose state is the other arguments."""
    return texts_of(path.read_bytes())


def texts_of(content: bytes) -> Dict[str, str]:
    """The texts in the bytes of an export, without its checksum; ValueError when they are none, or damaged."""
    end = len(content) - len(_checksum(b""))
    if end < 0 or content[end:] != _checksum(content[:end]):
        raise ValueError("its checksum is missing or another")
    message = parse(_MESSAGES["Export"], content[:end])
    if not message.HasField("graph"):
        raise ValueError("it holds no network")
    return {entry.key: entry.value for entry in message.texts}


def sealed(network: bytes, texts: Mapping[str, str]) -> bytes:
    """The bytes of an export: those of a network, ``texts``, and the checksum of both."""
    content = network + _encode_texts(texts)
    return content + _checksum(content)


def _checksum(content: bytes) -> bytes:
    return _encode_texts({_CHECKSUM_TEXT: hashlib.sha256(content).hexdigest()})


def _encode_texts(texts: Mapping[str, str]) -> bytes:
    """The bytes that add ``texts`` to an export when they are appended to it."""
    entries = [_MESSAGES["Entry"](key=key, value=text) for key, text in texts.items()]
    return _MESSAGES["Export"](texts=entries).SerializeToString()


def describe_export(identity: str, architecture: Architecture, outputs: Sequence[str] = DELF_OUTPUTS) -> Dict[str, str]:
    """The texts of an export's metadata: whose network it is, what it takes and gives, where its cells look."""
    offset, scale = (_as_text(value) for value in (architecture.pixel_offset, architecture.pixel_scale))
    field = architecture.receptive_field
    shapes = {
        "feature_map": f"[batch, {architecture.block3_channels}, rows, columns]",
        "attention": "[batch, 1, rows, columns] above 0",
        "block4": f"[batch, {architecture.block4_channels}, rows, columns]",
    }
    return {
        WEIGHTS_TEXT: identity,
        "architecture": architecture.name,
        "weights_style": architecture.style.name,
        "input": f"image [batch, 3, height, width] float32, RGB, (value - {offset}) / {scale}",
        "outputs": f"{', '.join(f'{name} {shapes[name]}' for name in outputs)}; float32",
        "receptive_field": str(field.size),
        "stride": str(field.stride),
        "padding": str(field.padding),
    }


def _as_text(value: PerChannel) -> str:
    return f"{value:g}" if isinstance(value, float) else f"({', '.join(f'{channel:g}' for channel in value)})"
