"""Outputs that carry no provenance, pages and drawings: what may stand in their place."""

import os
from typing import Iterable

from .artifacts import PathLike, require_place
from .errors import UserError

_PAGE, _PICTURES = (b"<!doctype html",), (b"\x89png\r\n\x1a\n", b"\xff\xd8\xff")  # PNG, JPEG; in lower case


def require_page_place(path: PathLike, name: str = "output") -> None:
    """UserError, as of ``require_place``, also when what stands at ``path`` is no page."""
    require_place(path, name)
    _require_beginning(path, name, _PAGE, "page")


def require_picture_place(path: PathLike, name: str = "output_image", photos: Iterable[PathLike] = ()) -> None:
    """UserError, as of ``require_place``, also when what stands at ``path`` is no picture, or one of ``photos``."""
    require_place(path, name)
    _require_beginning(path, name, _PICTURES, "picture")
    if any(os.path.exists(photo) and os.path.exists(path) and os.path.samefile(photo, path) for photo in photos):
        raise UserError(f"{path}: is one of the photos, which the drawing would replace; give another `{name}`")


def _require_beginning(path: PathLike, name: str, beginnings: Iterable[bytes], kind: str) -> None:
    if os.path.isfile(path):
        with open(path, "rb") as stream:
            begin = stream.read(16).lower()
        if begin and not begin.startswith(tuple(beginnings)):
            raise UserError(f"{path}: stands there and is no {kind}; give another `{name}`")
