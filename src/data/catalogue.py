"""A list of labelled photos, packed so that millions of them fit: 20 bytes a photo instead of 200."""

import logging
import os
from array import array
from dataclasses import dataclass
from typing import Callable, Dict, Iterable, Iterator, List, Sequence, Tuple, Union

import numpy as np

from ..errors import UserError

logger = logging.getLogger(__name__)

ClassName = Union[int, str]
CHUNK = 1 << 16
LONGEST_NAME = 1024  # bytes; one long name widens the place of every other


class Names(Sequence[str]):
    """Read-only texts, kept as one array of bytes (``os.fsencode``, so that no name of a file is lost)."""

    def __init__(self, packed: np.ndarray) -> None:
        """``packed``: [N] of fixed width, dtype S."""
        self.packed = packed

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, index: int) -> str:
        return os.fsdecode(self.packed[index])

    def __iter__(self) -> Iterator[str]:
        return map(os.fsdecode, self.packed)


@dataclass(frozen=True)
class Catalogue:
    """The photos of a list, in its order.

    Attributes:
        file_ids: name of each photo in the data set.
        labels: class of each photo, [N] int32, 0..num_classes-1.
        class_names: landmark id or name of each class, rising.
        locate: (root, file_id) -> path of the photo; ``os.path.join`` for photos that are named by their path.
    """

    file_ids: Names
    labels: np.ndarray
    class_names: List[ClassName]
    locate: Callable[[str, str], str]

    @property
    def num_classes(self) -> int:
        return len(self.class_names)


def _pack(listings: Iterable[Tuple[ClassName, str]], source: str) -> Tuple[np.ndarray, np.ndarray, List[ClassName]]:
    """Names [N], number of the class of each [N], and the classes in the order they came in."""
    numbers: Dict[ClassName, int] = {}
    classes = array("i")
    chunks: List[np.ndarray] = []
    pending: List[bytes] = []
    for name, file_id in listings:
        classes.append(numbers.setdefault(name, len(numbers)))
        pending.append(os.fsencode(file_id))
        if len(pending[-1]) > LONGEST_NAME:
            fact = f"a name is {len(pending[-1])} bytes long; names have {LONGEST_NAME} at most"
            raise UserError(f"{source}: {fact}: {file_id[:60]} ...")
        if len(pending) == CHUNK:
            chunks.append(np.array(pending))
            pending.clear()
    if pending:
        chunks.append(np.array(pending))
    packed = np.concatenate(chunks) if chunks else np.empty(0, "S1")
    return packed, np.array(classes, np.int32), list(numbers)


def make_catalogue(
    listings: Iterable[Tuple[ClassName, str]], locate: Callable[[str, str], str], source: str
) -> Catalogue:
    """Number the classes by rising name and pack the photos.

    A photo listed more than once keeps its first place and its last class, as in the reference TF DELF (where a later
    row of a dictionary wins), and is reported.

    Args:
        listings: (class, name of the photo), in the order of the list; classes all numbers, or all texts.
        locate: where a photo is, see ``Catalogue``.
        source: the list, for messages.

    Raises:
        UserError: no photo, or a name past LONGEST_NAME.
    """
    packed, classes, names = _pack(listings, source)
    if not len(packed):
        raise UserError(f"{source}: lists no image")
    first = np.unique(packed, return_index=True)[1]
    if len(first) < len(packed):
        last = len(packed) - 1 - np.unique(packed[::-1], return_index=True)[1]
        relisted = len(packed) - len(first)
        logger.warning("%s: %d listings name a photo once more; the last one of a photo counts", source, relisted)
        classes[first] = classes[last]
        first.sort()
        packed, classes = packed[first], classes[first]
    rising = sorted(np.unique(classes).tolist(), key=names.__getitem__)
    label_of = np.zeros(len(names), np.int32)
    label_of[rising] = np.arange(len(rising))
    return Catalogue(Names(packed), label_of[classes], [names[number] for number in rising], locate)
