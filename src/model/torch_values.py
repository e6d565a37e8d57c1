"""What stands for the things that PyTorch's files name: storages, tensors, and objects of plain values; no more.

PyTorch keeps numbers in storages, flat arrays outside the pickle, and in the pickle where each tensor lies in one.
"""

import math
from typing import Any, Callable, Dict, Optional

import numpy as np

from ..arrays import from_bfloat16
from ..pickle_reader import Machine
from ..pickle_values import DICT_COST, PLAIN_NAMES, Array, Named, Names, PickleFault, Value, as_text, refuse

_BFLOAT16 = "bfloat16"
_MOST_SIDES = 32  # of an array of NumPy
_CODES = {
    "DoubleStorage": "f8", "FloatStorage": "f4", "HalfStorage": "f2", "BFloat16Storage": _BFLOAT16, "LongStorage": "i8",
    "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1", "ByteStorage": "u1", "BoolStorage": "b1",
}  # fmt: skip


class Storage:
    """A flat array of a file, whose content comes later.

    Args:
        code: its kind, of ``_CODES``.
        length: its numbers.
    """

    def __init__(self, code: str, length: int) -> None:
        self._dtype = np.dtype("u2" if code == _BFLOAT16 else code)
        self.code, self.length = code, length
        self._values: Optional[np.ndarray] = None
        self._read, self._order = lambda: b"", "<"

    @property
    def size(self) -> int:
        """Bytes."""
        return self.length * self._dtype.itemsize

    def place(self, read: Callable[[], bytes], order: str = "<") -> None:
        """Say how its bytes are read when they are needed, and their order, "<" or ">"."""
        self._read, self._order = read, order

    @property
    def values(self) -> np.ndarray:
        """[length], read once; ValueError where the file holds another number of bytes."""
        if self._values is None:
            content = self._read()
            if len(content) != self.size:
                raise ValueError(f"a storage of {self.length} numbers has {len(content)} bytes")
            stored = np.frombuffer(content, self._dtype.newbyteorder(self._order))
            native = from_bfloat16(stored) if self.code == _BFLOAT16 else stored.astype(self._dtype, copy=False)
            self._values = native
        return self._values


class Part:
    """Numbers of a storage from ``start``, ``length`` of them."""

    def __init__(self, storage: Storage, start: int, length: int) -> None:
        if min(start, length) < 0 or start + length > storage.length:
            raise ValueError(f"a view reaches past the {storage.length} numbers of its storage")
        self.storage, self.start, self.length = storage, start, length


class Tensor(Value):
    """A tensor of PyTorch: ``shape`` and ``strides`` count numbers of a part of a storage, from ``offset`` on.

    Raises:
        ValueError: it reaches past its storage, or repeats numbers of it without end.
    """

    def __init__(self, part: Any, offset: Any, shape: Any, strides: Any) -> None:
        if not isinstance(part, Part):
            refuse(part)
        shape, strides = tuple(shape), tuple(strides)
        counts = (offset, *shape, *strides)
        if len(counts) > 1 + 2 * _MOST_SIDES or not all(type(number) is int and number >= 0 for number in counts):
            raise ValueError("the shape or the strides of a tensor are no counts")
        self.cost = math.prod(shape)
        reach = sum((side - 1) * stride for side, stride in zip(shape, strides)) if self.cost else -1
        if len(shape) != len(strides) or self.cost > part.length or offset + reach >= part.length + (not self.cost):
            raise ValueError(f"a tensor of shape {list(shape)} does not fit its storage of {part.length} numbers")
        self._part, self._offset, self._shape, self._strides = part, offset, shape, strides

    def array(self) -> np.ndarray:
        """Its numbers, in C order; they may share memory with those of other tensors."""
        values = self._part.storage.values[self._part.start + self._offset :]
        steps = tuple(stride * values.itemsize for stride in self._strides)
        strided = np.lib.stride_tricks.as_strided(values, self._shape, steps, writeable=False)
        return np.ascontiguousarray(strided).reshape(self._shape)  # the first makes single numbers rows


class Attributes(Value):
    """Stands for an object of a known class: its attributes, which come later."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.values: Dict[Any, Any] = {}

    @property
    def cost(self) -> int:
        """As of a dictionary."""
        return DICT_COST * len(self.values)

    def build(self, state: Any) -> None:
        """Take the attributes, a dictionary."""
        self.values = state if isinstance(state, dict) else refuse(state)


class _StorageKind:
    """Stands for a class of storages; nothing is made of it but by a storage's place."""

    def __init__(self, code: str) -> None:
        self.code = code

    __call__ = staticmethod(refuse)


def _tensor(part: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
    return Tensor(part, offset, shape, strides)


def _first(value: Any, *_: Any) -> Any:
    return value


_ATTRIBUTES = {
    "argparse": ("Namespace",),
    **{f"sklearn.decomposition{part}": ("PCA",) for part in ("", ".pca", "._pca")},  # dirtorch's whitenings
    **{f"{folder}utils.watcher": ("AverageMeter", "Watch") for folder in ("", "dirtorch.")},  # its training statistics
}
NAMES: Names = {
    **PLAIN_NAMES,
    **{module: {name: Attributes for name in names} for module, names in _ATTRIBUTES.items()},
    "torch": {
        **{name: _StorageKind(code) for name, code in _CODES.items()},
        "Size": lambda sides=(): sides if isinstance(sides, (list, tuple)) else refuse(sides),
        "device": lambda *parts: as_text(parts[0]),
    },
    "torch._utils": {
        "_rebuild_tensor": _tensor,
        "_rebuild_tensor_v2": _tensor,
        "_rebuild_parameter": _first,
        "_rebuild_parameter_with_state": _first,
    },
}


class TorchMachine(Machine):
    """Runs a pickle of PyTorch's.

    Attributes:
        storages: those that it has named so far, by their keys.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size, NAMES)
        self.storages: Dict[str, Storage] = {}
        self._others.update(BINPERSID=self._refer, NEWOBJ=self._new)

    def _refer(self) -> None:
        """Put the storage on the stack that a tuple describes."""
        (described,) = self._take(1)
        if not isinstance(described, tuple) or len(described) not in (5, 6) or as_text(described[0]) != "storage":
            raise PickleFault("it refers to something that is no storage")
        _, kind, key, _, length, *view = described
        if not isinstance(kind, Named) or not isinstance(kind.make, _StorageKind):
            refuse(kind)
        if type(length) is not int or length < 0:
            raise ValueError("the length of a storage is no count")
        storage = self.storages.setdefault(as_text(key), Storage(kind.make.code, length))
        if (storage.code, storage.length) != (kind.make.code, length):
            raise ValueError("a storage is described in two ways")
        _, start, size = view[0] if view and view[0] is not None else ("", 0, length)
        self._stack.append(Part(storage, start, size))

    def _new(self) -> None:
        named, _ = self._take(2)
        self._stack.append(Attributes() if isinstance(named, Named) and named.make is Attributes else refuse(named))

    def _build(self) -> None:
        if isinstance(self._stack[-2], dict):  # an OrderedDict's attributes: versions of layers
            self._take(1)
        else:
            super()._build()

    def _leaf(self, value: Any, depth: int) -> Any:
        if isinstance(value, Tensor):
            return value.array()
        if isinstance(value, Array) and value.values is not None:
            return value.values
        return self.plain(value.values, depth + 1) if isinstance(value, Attributes) else refuse(value)
