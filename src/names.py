"""Image names as different files write them: with or without folder and extension."""

import os
import re
import unicodedata
from pathlib import Path
from typing import Dict, Iterable, List, Optional

from .errors import UserError, printable

# Of the formats that are read: JPEG, PNG, WebP, TIFF, BMP, GIF, PPM, HEIC. The one list: names of photos end so.
PHOTO_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm",
    ".heic", ".heif",
)  # fmt: skip
DISTRACTORS = "distractors"


def bare_name(name: str) -> str:
    """``name`` with '/' between folders and without the extension of an image (other dots belong to the name)."""
    name = name.replace("\\", "/")
    return name[: name.rindex(".")] if name.lower().endswith(PHOTO_SUFFIXES) else name


def require_inside(name: str, source: object) -> str:
    """``name`` as a file from outside gives it, if it stays within whatever folder it is put into.

    Raises:
        UserError: it is empty, absolute, holds a part '', '.' or '..', a backslash, a drive or a zero byte.
    """
    parts = name.split("/")
    if not {"", ".", ".."}.isdisjoint(parts) or "\\" in name or "\0" in name or re.match("[A-Za-z]:", name):
        fix = "a photo's name is its path within a folder, such as a/b.jpg: rename it"
        raise UserError(f"{source}: unusable name '{printable(name)}'; {fix}")
    return name


def in_either_form(path: Path) -> Path:
    """``path``, or the same in Unicode's composed or decomposed form where only that is there: disks differ in it."""
    forms = (Path(unicodedata.normalize(form, str(path))) for form in ("NFC", "NFD"))
    there = os.path.exists  # which raises nothing about a name that no file can have
    return path if there(path) else next((other for other in forms if there(other)), path)


def is_distractor(name: str) -> bool:
    """Whether one of the folders of ``name`` is called 'distractors': no benchmark's photo, whatever its file name."""
    return f"/{DISTRACTORS}/" in "/" + name


class NameTable:
    """Finds a name in a list although one of the two carries a folder or an extension that the other lacks."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = [bare_name(name) for name in names]
        self._exact = {name: number for number, name in enumerate(self._names)}
        self._composed: Optional[NameTable] = None
        self._by_last_part: Dict[str, List[int]] = {}
        for number, name in enumerate(self._names):
            if "/" in name and not is_distractor(name):
                self._by_last_part.setdefault(name.rsplit("/", 1)[-1], []).append(number)

    def find(self, name: str) -> Optional[int]:
        """Position of ``name`` in the list, or None.

        The same path wins; otherwise one path must be the tail of the other: 'x' finds 'jpg/x', 'a/x' not 'b/x'. A
        photo of a folder 'distractors' is found by its whole path alone: 'x' does not find 'distractors/x'. A name
        that is not there as it is written is sought in Unicode's composed form (NFC), as file systems differ in it.

        Raises:
            UserError: several names fit, such as 'a/x' and 'b/x' for 'x'.
        """
        wanted = bare_name(name)
        found = self._find(wanted)
        if found is None and not wanted.isascii():
            if self._composed is None:
                self._composed = NameTable(unicodedata.normalize("NFC", each) for each in self._names)
            found = self._composed._find(unicodedata.normalize("NFC", wanted))
        return found

    def _find(self, wanted: str) -> Optional[int]:
        if wanted in self._exact:
            return self._exact[wanted]
        last, tail = wanted.rsplit("/", 1)[-1], "/" + wanted
        fitting = [
            number
            for number in self._by_last_part.get(last, ())
            if self._names[number].endswith(tail) or tail.endswith("/" + self._names[number])
        ]
        if last in self._exact and not is_distractor(wanted):
            fitting.append(self._exact[last])
        if len(fitting) > 1:
            first, second = (self._names[number] for number in fitting[:2])
            raise UserError(
                f"{wanted}: fits both {first} and {second}; give every image its own file name, name the "
                f"folder in the ground truth, or put distractors into a folder {DISTRACTORS!r}"
            )
        return fitting[0] if fitting else None
