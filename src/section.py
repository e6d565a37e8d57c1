"""What the sections of the recipe are made of: keys with their help, choices and range, checked on construction."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Dict, Optional, Sequence, TypeVar

from .values import LARGEST_NUMBER, checked

_Self = TypeVar("_Self", bound="Section")


def key(
    default: Any,
    help_text: str,
    choices: Optional[Sequence[str]] = None,
    above: Optional[float] = None,
    least: Optional[float] = None,
    most: Optional[float] = None,
    but: Optional[float] = None,
) -> Any:
    """A key of the recipe: its default, its help, and the values it may take.

    Args:
        default: value of a recipe that does not name the key.
        help_text: what it is, with its unit.
        choices: the only values, for a text.
        above, least, most: bounds of a number, or of each number of a list; ``above`` itself is refused. Where no
            ``most`` is given it is 2**31 - 1.
        but: a number within the bounds that is refused.
    """
    most = LARGEST_NUMBER if most is None else most
    limits = {"above": above, "least": least, "most": most, "but": but}
    return field(default=default, metadata={"help": help_text, "choices": choices, **limits})


@dataclass(frozen=True)
class Section:
    """Some keys; the base of the sections below.

    Raises:
        UserError: a value of another type, or outside its choices or range.
    """

    def __post_init__(self) -> None:
        for definition in dataclasses.fields(self):
            object.__setattr__(self, definition.name, checked(definition, getattr(self, definition.name)))

    def values(self) -> Dict[str, Any]:
        """The keys with their values as JSON has them."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in dataclasses.asdict(self).items()}

    def replace(self: _Self, **values: Any) -> _Self:
        """The same section with other values of some keys."""
        return dataclasses.replace(self, **values)
