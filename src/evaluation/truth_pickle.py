"""Pickles of plain values, read without the pickle module: nothing in one can be called or reach memory.

The module's own loader builds arrays of raw pointers, takes the memory that a file only claims to need, and crashes on
deep keys. Here its instructions, as ``pickletools`` lists them, make plain values alone, bounded by the file's size.
"""

import pickletools
import re
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, Callable, Dict, List, NoReturn, Optional, Tuple

import numpy as np

_CODES = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|[SU]\d{1,6})")
_MOST_DEEP = 20  # containers within each other; a ground truth has five
_ALWAYS_ALLOWED = 2_000_000  # values and bytes; beyond it a file may repeat what it holds _MOST_REPEATS times
_MOST_REPEATS = 10
_DICT_COST = 10  # an entry takes as much memory as so many numbers of a list
_KEYS = (str, bytes, int, float)
_LARGEST_KEY = 2**60  # larger numbers may all have one hash


class PickleFault(Exception):
    """Why a pickle is not read."""


def load_plain(data: bytes) -> Any:
    """The value of a pickle of any protocol.

    Returns:
        Lists (of lists, tuples, arrays in C order), sets of those members, dictionaries, texts (of texts, bytes and
        paths), numbers, booleans, None.

    Raises:
        PickleFault: anything else is in it, or far more than ``data`` can hold. ValueError, TypeError, IndexError,
            KeyError: ``data`` is damaged.
    """
    machine = _Machine(_ALWAYS_ALLOWED + _MOST_REPEATS * len(data))
    for opcode, argument, _ in pickletools.genops(data):
        machine.step(opcode.name, argument)
    return machine.plain(machine.pop())


class _Kind:
    """Stands for ``numpy.dtype``, whose byte order comes later; booleans, numbers and texts alone."""

    def __init__(self, code: Any, *_: Any) -> None:
        self._code, self._order = _text(code), ""
        if not _CODES.fullmatch(self._code):
            raise PickleFault(f"it holds an array of kind {self._code[:20]!r}, not of plain numbers or texts")

    def build(self, state: Any) -> None:
        order, *fields = state[1:5]
        if any(field is not None for field in fields):
            raise PickleFault("it holds an array of records, not of plain numbers or texts")
        self._order = _text(order)

    def dtype(self) -> np.dtype:
        return np.dtype(self._order + self._code.lstrip("<>|=") if self._order else self._code)


class _Array:
    """Stands for ``numpy.ndarray``, whose content comes later."""

    values: Optional[np.ndarray] = None

    @property
    def cost(self) -> int:
        """Values, wide texts for several."""
        return 0 if self.values is None else max(self.values.size, self.values.nbytes // 8)

    def build(self, state: Any) -> None:
        shape, kind, by_columns, data = state[-4:]
        self.fill(data, kind, shape, "F" if by_columns else "C")

    def fill(self, data: Any, kind: Any, shape: Any, order: str = "C") -> "_Array":
        if not isinstance(kind, _Kind) or not isinstance(data, (bytes, bytearray, str)):
            raise PickleFault("it holds an array of objects, not of plain numbers or texts")
        raw = data.encode("latin-1") if isinstance(data, str) else data  # Python 2's bytes
        values = np.frombuffer(raw, kind.dtype()) if raw else np.empty(0, kind.dtype())
        self.values = values.reshape(shape, order=order)
        return self


class _Set:
    """Members that need not be hashed."""

    def __init__(self, members: List[Any]) -> None:
        self.members = members


class _Named:
    """What a pickle may name, and what calling it makes."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make = make


def _text(value: Any) -> str:
    """Python 2 wrote texts as bytes."""
    if not isinstance(value, (bytes, bytearray)):
        return value if isinstance(value, str) else _refuse(value)
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _refuse(value: Any = None, *_: Any) -> NoReturn:
    raise PickleFault(f"it makes something of a {type(value).__name__} that no ground truth needs")


def _bytes(value: Any = b"", *_: Any) -> bytes:
    """Of text, as protocols up to 2 write them; a count would make as many zeros."""
    if isinstance(value, str):
        return value.encode("latin-1")
    return bytes(value) if isinstance(value, (bytes, bytearray)) else _refuse(value)


def _list(items: Any = (), *_: Any) -> List[Any]:
    return list(items) if isinstance(items, (list, tuple)) else _refuse(items)


def _dict(items: Any = ()) -> Dict[Any, Any]:
    pairs = items.items() if isinstance(items, dict) else _list(items)
    return {_key(key): value for key, value in pairs}


def _key(value: Any) -> Any:
    """A tuple would be hashed to its depths, which can take all time or the stack."""
    fits = isinstance(value, _KEYS) and not (isinstance(value, int) and abs(value) > _LARGEST_KEY)
    return value if fits else _refuse(value)


def _path(kind: type) -> Callable[..., str]:
    return lambda *parts: kind(*map(_text, parts)).as_posix()


_BUILTINS: Dict[str, Callable[..., Any]] = {
    **{name: _refuse for name in ("int", "float", "str", "bool")},  # named by a defaultdict, never called
    **{name: (lambda items=(): _Set(_list(items))) for name in ("set", "frozenset")},
    **{"list": _list, "tuple": _list, "dict": _dict, "bytes": _bytes, "bytearray": _bytes},
}
_PATHS = {
    **{name: _path(PurePosixPath) for name in ("Path", "PosixPath", "PurePath", "PurePosixPath")},
    **{name: _path(PureWindowsPath) for name in ("WindowsPath", "PureWindowsPath")},
}
_ARRAYS: Dict[str, Callable[..., Any]] = {
    "_reconstruct": lambda *_: _Array(),
    "scalar": lambda kind, data: _Array().fill(data, kind, (1,)).values.item(),
    "_frombuffer": lambda data, kind, shape, order: _Array().fill(data, kind, shape, _text(order)),
}
_NAMES = {
    "numpy": {"dtype": _Kind, "ndarray": _refuse},
    # NumPy 2 renamed the folder, so files of either version must load under either
    **{f"numpy.{core}.{part}": _ARRAYS for core in ("core", "_core") for part in ("multiarray", "numeric")},
    **{module: _BUILTINS for module in ("builtins", "__builtin__")},
    "collections": {"OrderedDict": _dict, "Counter": _dict, "defaultdict": lambda *_: {}, "deque": _list},
    **{module: _PATHS for module in ("pathlib", "pathlib._local")},
    "_codecs": {"encode": _bytes},
}


def _find(module: Any, name: Any) -> _Named:
    found = _NAMES.get(_text(module), {}).get(_text(name))
    if found is None:
        raise PickleFault(f"it asks for {_text(module)[:60]}.{_text(name)[:60]}, which no ground truth needs")
    return _Named(found)


def _append(target: Any, items: List[Any]) -> None:
    target.extend(items) if isinstance(target, list) else _refuse(target)


def _set_items(target: Any, items: List[Any]) -> Any:
    if not isinstance(target, dict) or len(items) % 2:
        _refuse(target)
    target.update((_key(key), value) for key, value in zip(items[::2], items[1::2]))
    return target


def _add_members(target: Any, items: List[Any]) -> None:
    target.members.extend(items) if isinstance(target, _Set) else _refuse(target)


# Instructions by what they do; numbers count the values taken from the stack, None = those since the mark
_PUSHED = (
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "UNICODE", "SHORT_BINUNICODE",
    "BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8",
)  # fmt: skip
_PUSHED_BYTES = ("STRING", "BINSTRING", "SHORT_BINSTRING")
_MEMOIZED = ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE")
_RECALLED = ("GET", "BINGET", "LONG_BINGET")
_MADE_OF: Dict[str, Tuple[Optional[int], Callable[[List[Any]], Any]]] = {
    "NONE": (0, lambda _: None),
    "NEWTRUE": (0, lambda _: True),
    "NEWFALSE": (0, lambda _: False),
    "EMPTY_LIST": (0, list),
    "EMPTY_TUPLE": (0, tuple),
    "EMPTY_DICT": (0, dict),
    "EMPTY_SET": (0, _Set),
    "LIST": (None, list),
    "DICT": (None, lambda items: _set_items({}, items)),
    "FROZENSET": (None, _Set),
    "TUPLE": (None, tuple),
    **{f"TUPLE{count}": (count, tuple) for count in (1, 2, 3)},
    "STACK_GLOBAL": (2, lambda names: _find(*names)),
}
_ADDED: Dict[str, Tuple[Optional[int], Callable[[Any, List[Any]], Any]]] = {
    "APPEND": (1, _append),
    "APPENDS": (None, _append),
    "SETITEM": (2, _set_items),
    "SETITEMS": (None, _set_items),
    "ADDITEMS": (None, _add_members),
}
_WITHOUT_EFFECT = ("PROTO", "FRAME", "STOP")


def _cost(made: Any) -> int:
    """Values or bytes that a call has copied, at most."""
    if isinstance(made, _Array):
        return made.cost
    if isinstance(made, dict):
        return len(made) * _DICT_COST
    made = made.members if isinstance(made, _Set) else made
    return len(made) if isinstance(made, (str, bytes, list)) else 1


class _Machine:
    """The stack machine whose program a pickle is."""

    def __init__(self, allowed: int) -> None:
        """``allowed``: values and bytes that may be made beyond those the program spells out."""
        self._stack: List[Any] = []
        self._marks: List[int] = []
        self._memo: Dict[int, Any] = {}
        self._left = allowed
        self._others: Dict[str, Callable[[], Any]] = {
            "MARK": lambda: self._marks.append(len(self._stack)),
            "REDUCE": self._reduce,
            "BUILD": self._build,
            "POP": self._discard,
            "POP_MARK": lambda: self._take(None),
            "DUP": lambda: self._stack.append(self._stack[-1]),
        }

    def step(self, name: str, argument: Any) -> None:
        """Do one instruction, by its name in ``pickletools``."""
        if name in _PUSHED:
            self._stack.append(argument)
        elif name in _MEMOIZED:
            self._memo[len(self._memo) if argument is None else argument] = self._stack[-1]
        elif name in _RECALLED:
            self._stack.append(self._memo[argument])
        elif name in _MADE_OF:
            count, make = _MADE_OF[name]
            self._stack.append(make(self._take(count)))
        elif name in _ADDED:
            count, add = _ADDED[name]
            items = self._take(count)
            add(self._stack[-1], items)
        elif name in _PUSHED_BYTES:
            self._stack.append(argument.encode("latin-1"))
        elif name in self._others:
            self._others[name]()
        elif name == "GLOBAL":
            self._stack.append(_find(*argument.split(" ", 1)))
        elif name not in _WITHOUT_EFFECT:
            raise PickleFault(f"it holds the instruction {name}, which no ground truth needs")

    def pop(self) -> Any:
        """The topmost value; IndexError where there is none."""
        return self._stack.pop()

    def plain(self, value: Any, depth: int = 0) -> Any:
        """What ``load_plain`` returns of one value."""
        self._spend(1)
        if depth > _MOST_DEEP:
            raise PickleFault("its containers are nested too deep")
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if isinstance(value, (str, bytes, bytearray)):
            self._spend(len(value))
            return _text(value)
        if isinstance(value, (list, tuple)):
            return [self.plain(each, depth + 1) for each in value]
        if isinstance(value, dict):
            return {self.plain(key): self.plain(each, depth + 1) for key, each in value.items()}
        if isinstance(value, _Set):
            return {self.plain(_key(each)) for each in value.members}
        if isinstance(value, _Array) and value.values is not None:
            self._spend(value.cost)
            flat = value.values.reshape(-1).tolist()
            return [_text(each) for each in flat] if value.values.dtype.kind == "S" else flat
        return _refuse(value)

    def _take(self, count: Optional[int]) -> List[Any]:
        """The topmost ``count`` values, or those since the mark, taken off the stack."""
        start = self._marks.pop() if count is None else len(self._stack) - count
        if start < 0:
            raise IndexError("a value is missing")
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _reduce(self) -> None:
        named, arguments = self._take(2)
        if not isinstance(named, _Named) or not isinstance(arguments, tuple):
            _refuse(named)
        self._stack.append(named.make(*arguments))
        self._spend(_cost(self._stack[-1]))

    def _build(self) -> None:
        target, state = self._take(2)
        target.build(state) if isinstance(target, (_Kind, _Array)) else _refuse(target)
        self._stack.append(target)
        self._spend(_cost(target))

    def _discard(self) -> None:
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self.pop()

    def _spend(self, amount: int) -> None:
        self._left -= amount
        if self._left < 0:
            raise PickleFault("it makes far more of its values than it holds")
