"""Values of the recipe's keys and of options, as Python, YAML or the command line gives them: their type and range."""

import math
import re
import typing
from pathlib import Path
from typing import Any, Mapping

from .errors import UserError, printable

LARGEST_NUMBER = 2**31 - 1  # what OpenCV, NumPy's seeds and the engines take


def parse_bool(text: str) -> bool:
    """'true'/'yes'/'1' and 'false'/'no'/'0' in any case; ValueError otherwise."""
    values = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.lower() not in values:
        raise ValueError(f"{text!r} is neither true nor false")
    return values[text.lower()]


def coerce(value: Any, kind: Any) -> Any:
    """``value`` (of Python, YAML or the command line) as the key's type; ValueError when it is not one."""
    if typing.get_origin(kind) is typing.Union:  # Optional[float]
        if value is None or str(value).lower() == "none":
            return None
        kind = typing.get_args(kind)[0]
    if typing.get_origin(kind) is tuple:
        items = value.split(",") if isinstance(value, str) else value if isinstance(value, (list, tuple)) else [value]
        return tuple(coerce(item, float) for item in items)
    if kind is bool:
        return value if isinstance(value, bool) else parse_bool(str(value))
    if kind is str:
        if value is not None and not isinstance(value, (str, int, float, Path)):
            raise ValueError(f"{value!r} is not text")
        text = "" if value is None else str(value)
        if "\0" in text or re.search("[\ud800-\udc7f\udd00-\udfff]", text):  # others are bytes of a path
            raise ValueError(f"{value!r} holds a character that no path has")
        return text
    if isinstance(value, bool) or value is None:
        raise ValueError(f"{value!r} is not a number")
    try:
        number = float(value)
    except OverflowError as error:
        raise ValueError("the number is too large") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"{value!r} is not a number") from error
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is not a finite number")
    if kind is int and number != int(number):
        raise ValueError(f"{value!r} is not a whole number")
    return int(number) if kind is int else number


def checked(definition: Any, value: Any) -> Any:
    """The value of a key in its type; UserError where it cannot have it."""
    name, limits = definition.name, definition.metadata
    try:
        value = coerce(value, definition.type)
    except ValueError as error:
        raise UserError(f"`{name}`: {short(error)}") from error
    if limits["choices"] and value not in limits["choices"]:
        raise UserError(f"`{name}` is {short(repr(value))}; it must be one of {', '.join(limits['choices'])}")
    numbers = value if isinstance(value, tuple) else () if value is None or isinstance(value, str) else (value,)
    within = all(_is_within(number, limits) for number in numbers)
    if not within or value == ():
        words = {"above": "above", "least": "at least", "most": "at most", "but": "not"}
        shown = ",".join(f"{number:g}" if isinstance(number, float) else str(number) for number in numbers) or "empty"
        ranges = [f"{word} {limits[limit]}" for limit, word in words.items() if limits[limit] is not None]
        raise UserError(f"`{name}` is {short(shown)}; it must be {' and '.join(ranges)}")
    return value


def short(text: object) -> str:
    """``text`` for a message: printable, and no longer than 100 letters."""
    plain = printable(str(text))
    return plain if len(plain) <= 100 else f"{plain[:100]} ..."


def _is_within(number: float, limits: Mapping[str, Any]) -> bool:
    return (
        (limits["above"] is None or number > limits["above"])
        and (limits["least"] is None or number >= limits["least"])
        and number <= limits["most"]
        and number != limits["but"]
    )
