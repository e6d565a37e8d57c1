"""Templates of the pages: HTML files that need no network and no script."""

from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def percent(fraction: float) -> str:
    """A fraction in percent with two decimals; a dash for NaN."""
    return "\N{EN DASH}" if fraction != fraction else f"{fraction * 100:.2f}"


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters["percent"] = percent
    return environment


def render_page(template: str, **values: Any) -> str:
    """A page of the folder ``templates``; every value is escaped unless it is Markup."""
    return _environment().get_template(template).render(**values)
