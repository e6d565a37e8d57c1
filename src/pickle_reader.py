"""Pickles of plain values, read without the pickle module: nothing in one can be called or reach memory.

The module's own loader builds arrays of raw pointers, takes the memory that a file only claims to need, and crashes on
deep keys. Here its instructions, as ``pickletools`` lists them, make plain values alone, bounded by the file's size.
A reader of files with further objects derives its own ``Machine``.
"""

import pickletools
from typing import IO, Any, Callable, Dict, List, Optional, Tuple, Union

from .pickle_values import (
    DICT_COST,
    PLAIN_NAMES,
    Array,
    Members,
    Named,
    Names,
    PickleFault,
    Value,
    as_key,
    as_text,
    find_named,
    refuse,
)

_MOST_DEEP = 20  # containers within each other; a ground truth has five
_ALWAYS_ALLOWED = 2_000_000  # values and bytes; beyond it a file may repeat what it holds _MOST_REPEATS times
_MOST_REPEATS = 10


def load_plain(data: bytes) -> Any:
    """The value of a pickle of any protocol.

    Returns:
        Lists (of lists, tuples, arrays in C order), sets of those members, dictionaries, texts (of texts, bytes and
        paths), numbers, booleans, None.

    Raises:
        PickleFault: anything else is in it, or far more than ``data`` can hold. ValueError, TypeError, IndexError,
            KeyError: ``data`` is damaged.
    """
    machine = Machine(len(data))
    return machine.plain(machine.run(data))


def _append(target: Any, items: List[Any]) -> None:
    target.extend(items) if isinstance(target, list) else refuse(target)


def _set_items(target: Any, items: List[Any]) -> Any:
    if not isinstance(target, dict) or len(items) % 2:
        refuse(target)
    target.update((as_key(key), value) for key, value in zip(items[::2], items[1::2]))
    return target


def _add_members(target: Any, items: List[Any]) -> None:
    target.members.extend(items) if isinstance(target, Members) else refuse(target)


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
    "EMPTY_SET": (0, Members),
    "LIST": (None, list),
    "DICT": (None, lambda items: _set_items({}, items)),
    "FROZENSET": (None, Members),
    "TUPLE": (None, tuple),
    **{f"TUPLE{count}": (count, tuple) for count in (1, 2, 3)},
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
    if isinstance(made, Value):
        return made.cost
    if isinstance(made, dict):
        return len(made) * DICT_COST
    return len(made) if isinstance(made, (str, bytes, list)) else 1


class Machine:
    """The stack machine whose program a pickle is.

    Args:
        size: bytes of the file; they bound the values and bytes that may be made beyond those the program spells out.
        names: what it may name.
    """

    def __init__(self, size: int, names: Names = PLAIN_NAMES) -> None:
        self._names = names
        self._stack: List[Any] = []
        self._marks: List[int] = []
        self._memo: Dict[int, Any] = {}
        self._left = _ALWAYS_ALLOWED + _MOST_REPEATS * size
        self._others: Dict[str, Callable[[], Any]] = {
            "MARK": lambda: self._marks.append(len(self._stack)),
            "STACK_GLOBAL": lambda: self._stack.append(find_named(*self._take(2), self._names)),
            "REDUCE": self._reduce,
            "BUILD": self._build,
            "POP": self._discard,
            "POP_MARK": lambda: self._take(None),
            "DUP": lambda: self._stack.append(self._stack[-1]),
        }

    def run(self, program: Union[bytes, IO[bytes]]) -> Any:
        """The value that a pickle makes, as it stands on the stack; a stream is left after the pickle's last byte."""
        for opcode, argument, _ in pickletools.genops(program):
            self._step(opcode.name, argument)
        return self._stack.pop()

    def _step(self, name: str, argument: Any) -> None:
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
            self._stack.append(find_named(*argument.split(" ", 1), self._names))
        elif name not in _WITHOUT_EFFECT:
            raise PickleFault(f"it holds the instruction {name}, which plain data do not need")

    def plain(self, value: Any, depth: int = 0) -> Any:
        """What ``load_plain`` returns of one value."""
        self._spend(1)
        if depth > _MOST_DEEP:
            raise PickleFault("its containers are nested too deep")
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if isinstance(value, (str, bytes, bytearray)):
            self._spend(len(value))
            return as_text(value)
        if isinstance(value, (list, tuple)):
            return [self.plain(each, depth + 1) for each in value]
        if isinstance(value, dict):
            return {self.plain(key): self.plain(each, depth + 1) for key, each in value.items()}
        if isinstance(value, Members):
            return {self.plain(as_key(each)) for each in value.members}
        self._spend(_cost(value))
        return self._leaf(value, depth)

    def _leaf(self, value: Any, depth: int) -> Any:
        """What ``plain`` returns of an object that is no container, ``depth`` containers deep."""
        if isinstance(value, Array) and value.values is not None:
            flat = value.values.reshape(-1).tolist()
            return [as_text(each) for each in flat] if value.values.dtype.kind == "S" else flat
        return refuse(value)

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
        if not isinstance(named, Named) or not isinstance(arguments, tuple):
            refuse(named)
        self._stack.append(named.make(*arguments))
        self._spend(_cost(self._stack[-1]))

    def _build(self) -> None:
        target, state = self._take(2)
        target.build(state) if isinstance(target, Value) else refuse(target)
        self._stack.append(target)
        self._spend(_cost(target))

    def _discard(self) -> None:
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self._stack.pop()

    def _spend(self, amount: int) -> None:
        self._left -= amount
        if self._left < 0:
            raise PickleFault("it makes far more of its values than it holds")
