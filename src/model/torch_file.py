"""PyTorch's files (.pth, .pt, .pth.tar), read without PyTorch: arrays and plain values alone, nothing is called.

Both layouts of ``torch.save``: since PyTorch 1.6 a zip of a pickle, ``NAME/data.pkl``, and a member for each storage,
``NAME/data/KEY``; before, five pickles one after the other (a number that tells the layout, its version, facts of the
machine, the object, the keys of the storages) and then the storages, each with its length before it.
"""

import os
import zipfile
from functools import partial
from pathlib import Path
from typing import IO, Any, Dict

from ..artifacts import PathLike
from ..errors import UserError, printable, reading
from ..pickle_values import PickleFault, as_text
from .torch_values import TorchMachine

_ZIP = b"PK\x03\x04"
_OLD = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the pickle of a number: how files of the older layout begin
_OLD_VERSION = 1001
_FIX = "give a whole file that torch.save wrote"
# entries of a training's file that no network needs, and that may hold anything
_OF_TRAINING = ("optimizer", "optim", "lr_scheduler", "scheduler", "scaler", "args", "loss", "rng_state")


def is_torch(path: PathLike) -> bool:
    """Whether a file's first bytes are those of a file of PyTorch, or of another zip."""
    with open(path, "rb") as stream:
        return stream.read(len(_OLD)).startswith((_ZIP, _OLD))


def read_torch(path: PathLike) -> Dict[Any, Any]:
    """The dictionary that ``torch.save`` wrote, without what it holds for going on with a training.

    Args:
        path: a regular file for which ``is_torch`` holds.

    Returns:
        Tensors as arrays in C order, float32 for bfloat16; containers as of ``load_plain``; objects of the few classes
        that are known as dictionaries of their attributes.

    Raises:
        UserError: damaged, made to break readers, no dictionary, or with things in it that are no plain data.
    """
    with reading(path, _FIX), open(path, "rb") as stream:
        try:
            return _read(stream, Path(path))
        except PickleFault as fault:
            fix = "save the network's state_dict() alone, and give that"
            raise UserError(f"{path}: not read: {printable(str(fault))}; {fix}") from fault


def _read(stream: IO[bytes], path: Path) -> Dict[Any, Any]:
    size = os.fstat(stream.fileno()).st_size
    machine = TorchMachine(size)
    is_zip = stream.read(len(_ZIP)) == _ZIP
    stream.seek(0)
    value = _run_zip(stream, machine, size) if is_zip else _run_old(stream, machine, size)
    if not isinstance(value, dict):
        raise UserError(f"{path}: holds a {type(value).__name__}, no network's state_dict; {_FIX} of one")
    return machine.plain({key: part for key, part in value.items() if key not in _OF_TRAINING})


def _run_zip(stream: IO[bytes], machine: TorchMachine, size: int) -> Any:
    """Run the pickle of a zip and place the storages that it names, to be read while ``stream`` is open."""
    archive = zipfile.ZipFile(stream)
    names = [_checked(info) for info in archive.infolist()]
    if len(set(names)) < len(names) or sum(info.file_size for info in archive.infolist()) > size:
        raise ValueError("its members overlap")
    pickles = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise ValueError("a zip, but none that torch.save wrote: no data.pkl in it")
    folder = pickles[0][: -len("data.pkl")]
    order = archive.read(f"{folder}byteorder") if f"{folder}byteorder" in names else b"little"
    if order not in (b"little", b"big"):
        raise ValueError("its byteorder is neither little nor big")
    value = machine.run(archive.read(pickles[0]))
    for key, storage in machine.storages.items():
        member = f"{folder}data/{key}"
        if member not in names:
            raise ValueError(f"storage {key[:20]} is missing")
        storage.place(partial(archive.read, member), "<" if order == b"little" else ">")
    return value


def _checked(info: zipfile.ZipInfo) -> str:
    """The name of a member; ValueError for one outside the zip's folder, or compressed, as PyTorch writes none."""
    name = info.filename
    if {"", ".", ".."}.intersection(name.rstrip("/").split("/")) or "\\" in name:
        raise ValueError(f"it holds a file named {name[:40]!r}")
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        raise ValueError(f"{name[:40]} is compressed: write it without")
    return name


def _run_old(stream: IO[bytes], machine: TorchMachine, size: int) -> Any:
    """Run the pickles of the older layout and place the storages, to be read while ``stream`` is open."""
    stream.seek(len(_OLD))
    if TorchMachine(0).run(stream) != _OLD_VERSION:
        raise ValueError("another version of PyTorch's older layout")
    TorchMachine(0).run(stream)  # facts of the machine; storages are little-endian on any
    value = machine.run(stream)
    keys = TorchMachine(0).run(stream)
    for key in keys:
        storage = machine.storages[as_text(key)]
        if int.from_bytes(stream.read(8), "little") != storage.length:
            raise ValueError(f"storage {as_text(key)[:20]} is of another length")
        start = stream.tell()
        if start + storage.size > size:
            raise ValueError("it ends within a storage")
        storage.place(partial(_bytes_at, stream, start, storage.size))
        stream.seek(start + storage.size)
    return value


def _bytes_at(stream: IO[bytes], start: int, size: int) -> bytes:
    stream.seek(start)
    return stream.read(size)
