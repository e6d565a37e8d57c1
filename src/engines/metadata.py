"""Texts inside an exported network: ONNX's `metadata_props`, MindIR's `user_info`.

Both files are protobuf messages that keep such texts in a repeated field of (key, value) entries, and protobuf allows
the fields of a message in any order: entries are appended to the file. So no engine is needed to know what an export
was made from.
"""

from pathlib import Path
from typing import Dict

from ..artifacts import PathLike
from ..errors import UserError
from ..features.protobuf_wire import Fields, encode_bytes, messages, parse_fields

SUFFIXES = (".onnx", ".mindir")
_GRAPH, _TEXTS = 7, 14  # the same numbers in onnx.proto and mind_ir.proto
_KEY, _VALUE = 1, 2


def is_export(path: PathLike) -> bool:
    """Whether the name is that of an exported network, and not of a checkpoint."""
    return Path(path).suffix.lower() in SUFFIXES


def encode(texts: Dict[str, str]) -> bytes:
    """The bytes that add ``texts`` to an export when they are appended to it."""
    entries = (
        encode_bytes(_KEY, key.encode("utf-8")) + encode_bytes(_VALUE, text.encode("utf-8"))
        for key, text in texts.items()
    )
    return b"".join(encode_bytes(_TEXTS, entry) for entry in entries)


def read(path: PathLike) -> Dict[str, str]:
    """The texts inside an export.

    Raises:
        UserError: the file is no export, or cut short.
    """
    try:
        fields = parse_fields(Path(path).read_bytes())
        if _GRAPH not in fields:
            raise ValueError("it holds no network")
        entries = [parse_fields(message) for message in messages(fields, _TEXTS)]
        return {_text(entry, _KEY): _text(entry, _VALUE) for entry in entries}
    except ValueError as error:
        raise UserError(f"{path}: not an exported network ({error}); export it again") from error


def _text(entry: Fields, number: int) -> str:
    return "".join(part.decode("utf-8") for part in messages(entry, number))
