"""Image names as different files write them: with or without folder and extension."""

from typing import Dict, Iterable, List, Optional

from .errors import UserError

# Longer than the list of images.py: a ground truth may name files of formats that are not read here.
_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
DISTRACTORS = "distractors"


def bare_name(name: str) -> str:
    """``name`` with '/' between folders and without the extension of an image (other dots belong to the name)."""
    name = name.replace("\\", "/")
    return name[: name.rindex(".")] if name.lower().endswith(_SUFFIXES) else name


def is_distractor(name: str) -> bool:
    """Whether one of the folders of ``name`` is called 'distractors': no benchmark's photo, whatever its file name."""
    return f"/{DISTRACTORS}/" in "/" + name


class NameTable:
    """Finds a name in a list although one of the two carries a folder or an extension that the other lacks."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = [bare_name(name) for name in names]
        self._exact = {name: number for number, name in enumerate(self._names)}
        self._by_last_part: Dict[str, List[int]] = {}
        for number, name in enumerate(self._names):
            if "/" in name and not is_distractor(name):
                self._by_last_part.setdefault(name.rsplit("/", 1)[-1], []).append(number)

    def find(self, name: str) -> Optional[int]:
        """Position of ``name`` in the list, or None.

        The same path wins; otherwise one path must be the tail of the other: 'x' finds 'jpg/x', 'a/x' not 'b/x'. A
        photo of a folder 'distractors' is found by its whole path alone: 'x' does not find 'distractors/x'.

        Raises:
            UserError: several names fit, such as 'a/x' and 'b/x' for 'x'.
        """
        wanted = bare_name(name)
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
            raise UserError(
                f"{name}: fits both {self._names[fitting[0]]} and {self._names[fitting[1]]}; give every image its own "
                f"file name, name the folder in the ground truth, or put distractors into a folder {DISTRACTORS!r}"
            )
        return fitting[0] if fitting else None
