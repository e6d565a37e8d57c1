"""What stands for the things that a pickle names: arrays of plain numbers and texts, containers, paths; no more."""

import re
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, Callable, Dict, List, Mapping, NoReturn, Optional

import numpy as np

_CODES = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|[SU]\d{1,6})")
_KEYS = (str, bytes, int, float)
DICT_COST = 10  # an entry takes as much memory as so many numbers of a list
_LARGEST_KEY = 2**60  # larger numbers may all have one hash


class PickleFault(Exception):
    """Why a pickle is not read."""


class Value:
    """Stands for an object that a pickle makes.

    Attributes:
        cost: values or bytes that it takes, beyond those the pickle spells out.
    """

    cost = 1

    def build(self, state: Any) -> None:
        """Take the state that the pickle gives the object after it is made; PickleFault where it takes none."""
        refuse(self)


class Kind(Value):
    """Stands for ``numpy.dtype``, whose byte order comes later; booleans, numbers and texts alone."""

    def __init__(self, code: Any, *_: Any) -> None:
        self._code, self._order = as_text(code), ""
        if not _CODES.fullmatch(self._code):
            raise PickleFault(f"it holds an array of kind {self._code[:20]!r}, not of plain numbers or texts")

    def build(self, state: Any) -> None:
        """Take the byte order of a dtype's ``state``; PickleFault where it describes records."""
        order, *fields = state[1:5]
        if any(field is not None for field in fields):
            raise PickleFault("it holds an array of records, not of plain numbers or texts")
        self._order = as_text(order)

    def dtype(self) -> np.dtype:
        """NumPy's."""
        return np.dtype(self._order + self._code.lstrip("<>|=") if self._order else self._code)


class Array(Value):
    """Stands for ``numpy.ndarray``, whose content comes later."""

    values: Optional[np.ndarray] = None

    @property
    def cost(self) -> int:
        """Values, wide texts for several."""
        return 0 if self.values is None else max(self.values.size, self.values.nbytes // 8)

    def build(self, state: Any) -> None:
        """Take shape, kind and bytes of an array's ``state``."""
        shape, kind, by_columns, data = state[-4:]
        self.fill(data, kind, shape, "F" if by_columns else "C")

    def fill(self, data: Any, kind: Any, shape: Any, order: str = "C") -> "Array":
        """Take ``data`` as the values; ValueError where ``shape`` needs others, PickleFault where they are objects."""
        if not isinstance(kind, Kind) or not isinstance(data, (bytes, bytearray, str)):
            raise PickleFault("it holds an array of objects, not of plain numbers or texts")
        raw = data.encode("latin-1") if isinstance(data, str) else data  # Python 2's bytes
        values = np.frombuffer(raw, kind.dtype()) if raw else np.empty(0, kind.dtype())
        self.values = values.reshape(shape, order=order)
        return self


class Members(Value):
    """Members of a set, none of them hashed."""

    def __init__(self, members: List[Any]) -> None:
        self.members = members

    @property
    def cost(self) -> int:
        """Members."""
        return len(self.members)


class Named:
    """What a pickle may name, and what calling it makes."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make = make


def as_text(value: Any) -> str:
    """A text, which Python 2 wrote as bytes; PickleFault for anything else."""
    if not isinstance(value, (bytes, bytearray)):
        return value if isinstance(value, str) else refuse(value)
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def refuse(value: Any = None, *_: Any) -> NoReturn:
    """PickleFault about what ``value`` is used for."""
    raise PickleFault(f"it makes something of a {type(value).__name__} that plain data do not need")


def _bytes(value: Any = b"", *_: Any) -> bytes:
    """Of text, as protocols up to 2 write them; a count would make as many zeros."""
    if isinstance(value, str):
        return value.encode("latin-1")
    return bytes(value) if isinstance(value, (bytes, bytearray)) else refuse(value)


def _list(items: Any = (), *_: Any) -> List[Any]:
    return list(items) if isinstance(items, (list, tuple)) else refuse(items)


def _dict(items: Any = ()) -> Dict[Any, Any]:
    pairs = items.items() if isinstance(items, dict) else _list(items)
    return {as_key(key): value for key, value in pairs}


def as_key(value: Any) -> Any:
    """``value`` if it may be hashed: a tuple would be to its depths, which can take all time or the stack."""
    fits = isinstance(value, _KEYS) and not (isinstance(value, int) and abs(value) > _LARGEST_KEY)
    return value if fits else refuse(value)


def _path(kind: type) -> Callable[..., str]:
    return lambda *parts: kind(*map(as_text, parts)).as_posix()


_BUILTINS: Dict[str, Callable[..., Any]] = {
    **{name: refuse for name in ("int", "float", "str", "bool")},  # named by a defaultdict, never called
    **{name: (lambda items=(): Members(_list(items))) for name in ("set", "frozenset")},
    **{"list": _list, "tuple": _list, "dict": _dict, "bytes": _bytes, "bytearray": _bytes},
}
_PATHS = {
    **{name: _path(PurePosixPath) for name in ("Path", "PosixPath", "PurePath", "PurePosixPath")},
    **{name: _path(PureWindowsPath) for name in ("WindowsPath", "PureWindowsPath")},
}
_ARRAYS: Dict[str, Callable[..., Any]] = {
    "_reconstruct": lambda *_: Array(),
    "scalar": lambda kind, data: Array().fill(data, kind, (1,)).values.item(),
    "_frombuffer": lambda data, kind, shape, order: Array().fill(data, kind, shape, as_text(order)),
}
Names = Mapping[str, Mapping[str, Callable[..., Any]]]  # what stands for module.name, by module and name
PLAIN_NAMES: Names = {
    "numpy": {"dtype": Kind, "ndarray": refuse},
    # NumPy 2 renamed the folder, so files of either version must load under either
    **{f"numpy.{core}.{part}": _ARRAYS for core in ("core", "_core") for part in ("multiarray", "numeric")},
    **{module: _BUILTINS for module in ("builtins", "__builtin__")},
    "collections": {"OrderedDict": _dict, "Counter": _dict, "defaultdict": lambda *_: {}, "deque": _list},
    **{module: _PATHS for module in ("pathlib", "pathlib._local")},
    "_codecs": {"encode": _bytes},
}


def find_named(module: Any, name: Any, names: Names) -> Named:
    """What stands for ``module.name``; PickleFault where nothing does."""
    found = names.get(as_text(module), {}).get(as_text(name))
    if found is None:
        raise PickleFault(f"it asks for {as_text(module)[:60]}.{as_text(name)[:60]}, which plain data do not need")
    return Named(found)
