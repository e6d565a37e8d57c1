"""Image names as different files write them: with or without folder and extension."""

from typing import Dict, List, Optional, Sequence

from src.errors import UserError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")


def bare_name(name: str) -> str:
    """``name`` with '/' between folders and without the extension of an image (other dots belong to the name)."""
    name = name.replace("\\", "/")
    for suffix in IMAGE_SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


class NameTable:
    """Finds a name in a list although one of the two carries a folder or an extension that the other lacks."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = [bare_name(name) for name in names]
        self._exact = {name: number for number, name in enumerate(self._names)}
        self._by_last_part: Dict[str, List[int]] = {}
        for number, name in enumerate(self._names):
            self._by_last_part.setdefault(name.rsplit("/", 1)[-1], []).append(number)

    def find(self, name: str) -> Optional[int]:
        """Position of ``name`` in the list, or None.

        The same path wins; otherwise one path must be the tail of the other: 'x' finds 'jpg/x', 'a/x' not 'b/x'.

        Raises:
            UserError: several names fit, such as 'a/x' and 'b/x' for 'x'.
        """
        wanted = bare_name(name)
        if wanted in self._exact:
            return self._exact[wanted]
        tail = "/" + wanted
        fitting = [
            number
            for number in self._by_last_part.get(wanted.rsplit("/", 1)[-1], ())
            if ("/" + self._names[number]).endswith(tail) or tail.endswith("/" + self._names[number])
        ]
        if len(fitting) > 1:
            raise UserError(
                f"{name}: fits both {self._names[fitting[0]]} and {self._names[fitting[1]]}; "
                "give every image its own file name, or name the folder in the ground truth"
            )
        return fitting[0] if fitting else None
