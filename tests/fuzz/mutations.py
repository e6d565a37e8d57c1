"""Seeded damage to bytes: what disks, downloads, editors and ill will do to a file."""

import contextlib
import io
import re
import zipfile
from pathlib import Path
from typing import Callable, List, Sequence, Tuple

import h5py
import numpy as np

_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**62, 2**63, 2**64 - 1)
_TEXTS = (
    b"nan", b"-1", b"1e999", b"99999999999999", b"null", b"[]", b"{}", b'""', b"[" * 3000, b'{"a":' * 3000,
    b"\0", b"\x1b[2J",
    b"../../x", b"/etc/passwd", b"\xff\xfe", b"\xed\xa0\x80", b"'", b'"', b"\n", b"\t", b",,,,", b"&a [*a]",
    b"true", b"x" * 70000,
)  # fmt: skip


def mutate(data: bytes, generator: np.random.Generator, tokens: Sequence[bytes] = ()) -> bytes:
    """One to four random changes of ``data``; ``tokens`` are words of its format."""
    for _ in range(generator.integers(1, 5)):
        data = _CHANGES[generator.integers(len(_CHANGES))](data, generator, (*tokens, *_TEXTS))
    return data


def mutate_zip(data: bytes, generator: np.random.Generator, tokens: Sequence[bytes] = ()) -> bytes:
    """As ``mutate``, half the time inside one member, whose checksum is right again."""
    if generator.random() < 0.5:
        return mutate(data, generator, tokens)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    chosen = sorted(members)[generator.integers(len(members))]
    members[chosen] = mutate(members[chosen][:128], generator, tokens) + members[chosen][128:]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def mutate_hdf5(data: bytes, generator: np.random.Generator, tokens: Sequence[bytes] = ()) -> bytes:
    """As ``mutate``, half the time a change that HDF5 itself finds sound: other types, shapes, links, names."""
    if generator.random() < 0.5:
        return mutate(data, generator, tokens)
    buffer = io.BytesIO(data)
    with h5py.File(buffer, "r+") as file:
        for _ in range(generator.integers(1, 4)):
            places: List[str] = []
            file.visit(places.append)
            if not places:
                break
            place = places[generator.integers(len(places))]
            with contextlib.suppress(OSError, TypeError, ValueError, MemoryError):  # not after an earlier change
                _HDF5_CHANGES[generator.integers(len(_HDF5_CHANGES))](file, place, generator)
    return buffer.getvalue()


def _flip(data: bytes, generator: np.random.Generator, _: object) -> bytes:
    changed = bytearray(data)
    for place in generator.integers(0, max(1, len(data)), generator.integers(1, 17)) if data else ():
        changed[place] ^= 1 << generator.integers(8)
    return bytes(changed)


def _span(data: bytes, generator: np.random.Generator) -> Tuple[int, int]:
    start = int(generator.integers(0, len(data) + 1))
    return start, min(len(data), start + int(2 ** (generator.random() * 12)))


def _fill(data: bytes, generator: np.random.Generator, _: object) -> bytes:
    start, end = _span(data, generator)
    size = end - start
    filling = (bytes(size), b"\xff" * size, generator.bytes(size))[generator.integers(3)]
    return data[:start] + filling + data[end:]


def _cut(data: bytes, generator: np.random.Generator, _: object) -> bytes:
    return data[: generator.integers(0, len(data) + 1)]


def _remove(data: bytes, generator: np.random.Generator, _: object) -> bytes:
    start, end = _span(data, generator)
    return data[:start] + data[end:]


def _repeat(data: bytes, generator: np.random.Generator, _: object) -> bytes:
    start, end = _span(data, generator)
    return data[:end] + data[start:end] * int(generator.integers(1, 4)) + data[end:]


def _number(data: bytes, generator: np.random.Generator, _: object) -> bytes:
    size = (1, 2, 4, 8)[generator.integers(4)]
    value = _NUMBERS[generator.integers(len(_NUMBERS))] % 256**size
    start = int(generator.integers(0, len(data) + 1))
    return data[:start] + value.to_bytes(size, ("little", "big")[generator.integers(2)]) + data[start + size :]


def _insert(data: bytes, generator: np.random.Generator, tokens: Sequence[bytes]) -> bytes:
    start = int(generator.integers(0, len(data) + 1))
    return data[:start] + tokens[generator.integers(len(tokens))] + data[start:]


def _replace_word(data: bytes, generator: np.random.Generator, tokens: Sequence[bytes]) -> bytes:
    words = list(re.finditer(rb"[\w.+-]+", data[:100000]))
    if not words:
        return _insert(data, generator, tokens)
    word = words[generator.integers(len(words))]
    return data[: word.start()] + tokens[generator.integers(len(tokens))] + data[word.end() :]


_CHANGES: Sequence[Callable[..., bytes]] = (_flip, _fill, _cut, _remove, _repeat, _number, _insert, _replace_word)


def _delete(file: h5py.File, place: str, _: object) -> None:
    del file[place]


def _link(file: h5py.File, place: str, generator: np.random.Generator) -> None:
    targets = (h5py.SoftLink("/"), h5py.SoftLink("/gone"), h5py.ExternalLink("/dev/zero", "/x"), file["/"])
    del file[place]
    file[place] = targets[generator.integers(len(targets))]


def _other_values(file: h5py.File, place: str, generator: np.random.Generator) -> None:
    item = file[place]
    if isinstance(item, h5py.Dataset) and item.dtype.kind in "fiu" and item.size:
        values = item[()].reshape(-1)
        number = (np.nan, np.inf, -1, 0, 3e38)[generator.integers(5)]
        with np.errstate(all="ignore"):
            values[generator.integers(len(values))] = np.float32(number).astype(values.dtype)
        item[...] = values.reshape(item.shape)


def _other_data(file: h5py.File, place: str, generator: np.random.Generator) -> None:
    old = file[place]
    shape = old.shape if isinstance(old, h5py.Dataset) else (3,)
    makers = (
        lambda: file.create_dataset(place, (), "f4"),
        lambda: file.create_dataset(place, (0,), "f4"),
        lambda: file.create_dataset(place, shape[::-1], "f8"),
        lambda: file.create_dataset(place, shape, "i1"),
        lambda: file.create_dataset(place, shape + (1,), "f4"),
        lambda: file.create_dataset(place, (2**40,), "f4", chunks=(1024,)),
        lambda: file.create_dataset(place, (2**20, 2**20), "f4", chunks=(16, 16), compression="gzip"),
        lambda: file.create_dataset(place, data="text"),
        lambda: file.create_dataset(place, (2,), h5py.ref_dtype),
        lambda: file.create_dataset(place, (2,), h5py.vlen_dtype(np.float32)),
        lambda: file.create_dataset(place, (2,), [("x", "f4"), ("y", "f4")]),
        lambda: file.create_dataset(place, data=h5py.Empty("f4")),
        lambda: file.create_dataset(place, (4,), "f4", external=[("/dev/zero", 0, 16)]),
        lambda: file.create_group(place),
    )
    del file[place]
    makers[generator.integers(len(makers))]()


def _other_attribute(file: h5py.File, place: str, generator: np.random.Generator) -> None:
    item = file[place] if generator.random() < 0.5 else file
    if not len(item.attrs):
        return
    name = sorted(item.attrs)[generator.integers(len(item.attrs))]
    values = (np.nan, -1, 10**12, "", "{}", "[" * 5000, np.arange(3), b"\xff", '{"weights": 1}', np.float32(0))
    item.attrs[name] = values[generator.integers(len(values))]


def _rename(file: h5py.File, place: str, generator: np.random.Generator) -> None:
    names = ("..x", "a\\b", "keypoints", "é\n\x1b[2J", "C:x", ".x")
    file.move(place, f"{Path(place).parent}/{names[generator.integers(len(names))]}")


_HDF5_CHANGES = (_delete, _link, _other_values, _other_data, _other_attribute)
