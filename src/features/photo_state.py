"""What a feature file remembers of each photo's file, by which a later run knows what has changed since."""

import hashlib
import json
import os
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import h5py
import numpy as np

from ..artifacts import PathLike, digest, sha256_of
from ..errors import UserError, reading
from ..hdf5 import open_hdf5, read_attribute
from ..photo_file import refuse_pipe
from ..records import Photo, Provenance
from .feature_groups import group_names

SOURCE = "source"  # attribute of a photo's group
_TOLD_APART = 2**24  # bytes at the beginning of a file


def stamp_of(photo: Photo) -> Optional[Tuple[int, int]]:
    """(size, time of the last change in ns) of the photo's file; None when it cannot be asked for."""
    try:
        found = os.stat(photo.path)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def state_of(photo: Photo, stamp: Optional[Tuple[int, int]]) -> bytes:
    """JSON of the photo's box and of its file's size, time and SHA-256.

    Args:
        photo: that was just read.
        stamp: ``stamp_of`` it before; when it has changed since, what was read is unknown and '{}' is returned.
    """
    content = sha256_of(photo.path)
    if stamp is None or stamp != stamp_of(photo):
        return np.bytes_(b"{}")
    state = {"box": _box_of(photo), "size": stamp[0], "mtime_ns": stamp[1], "sha256": content}
    return np.bytes_(json.dumps(state, sort_keys=True))


def is_current(recorded: Optional[bytes], photo: Photo) -> bool:
    """Whether what ``state_of`` gave holds still: the same box, and the same size and time or the same content."""
    try:
        state: Dict[str, Any] = json.loads(recorded or b"{}")
        stamp = stamp_of(photo)
        if stamp is None or stamp[0] != state.get("size") or _box_of(photo) != state.get("box"):
            return False
        refuse_pipe(photo.path)
        return stamp[1] == state.get("mtime_ns") or sha256_of(photo.path) == state.get("sha256")
    except (OSError, ValueError, AttributeError, RecursionError, UserError):  # gone, or no such record
        return False


def still_there(names: Sequence[str], photos: Sequence[Photo]) -> List[str]:
    """Those of ``names`` that are files of the folder in which ``photos`` lie under their names."""
    roots = {photo.path[: -len(photo.name)] for photo in photos if photo.path.endswith("/" + photo.name)}
    return [name for name in names if any(os.path.exists(root + name) for root in roots)]


def _box_of(photo: Photo) -> Optional[List[float]]:
    return None if photo.box is None else [float(side) for side in photo.box]


def current_names(file: h5py.File, photos: Mapping[str, Photo]) -> List[str]:
    """Those of ``photos``, by their names, whose features in ``file`` are of what they are now."""
    there = [name for name in group_names(file) if name in photos]
    return [name for name in there if is_current(read_attribute(file[name], SOURCE), photos[name])]


def digest_of_failed(photos: Sequence[Photo]) -> str:
    """Changes with the content of photos that could not be used: one that is whole now is worth another try."""
    return digest({"failed": [(photo.name, _box_of(photo), _begin_of(photo)) for photo in photos]})


def _begin_of(photo: Photo) -> Tuple[int, str]:
    """Size and SHA-256 of the first bytes: a file that is no photo may be of any size."""
    try:
        refuse_pipe(photo.path)
        with open(photo.path, "rb") as stream:
            return os.stat(photo.path).st_size, hashlib.sha256(stream.read(_TOLD_APART)).hexdigest()
    except (OSError, UserError):
        return -1, ""


@dataclass(frozen=True)
class Comparison:
    """A finished feature file beside the photos that are wanted now.

    Attributes:
        kept: names of the photos that are as they were.
        new, changed: how many others are not in it, or are in it as they were once.
        gone: names of the photos in it that are not wanted.
        retried: whether one of the new ones may be usable: not all have failed before as they are now.
        shared: whether it holds any of the photos.
    """

    kept: List[str]
    new: int
    changed: int
    gone: List[str]
    retried: bool
    shared: bool

    @property
    def is_made(self) -> bool:
        """Whether nothing is left to do."""
        return not (self.changed or self.gone or self.retried)


def compare(path: PathLike, made: Provenance, photos: Sequence[Photo]) -> Comparison:
    """Compare a finished feature file, of provenance ``made``, with the photos; UserError when it is damaged."""
    wanted = {photo.name: photo for photo in photos}
    with open_hdf5(path) as file, reading(path, "give `overwrite`"):
        names, kept = set(group_names(file)), current_names(file, wanted)
    new = [photo for photo in photos if photo.name not in names]
    retried = bool(new) and made.notes.get("failed") != digest_of_failed(new)
    changed = len(names.intersection(wanted)) - len(kept)
    return Comparison(kept, len(new), changed, sorted(names.difference(wanted)), retried, not names.isdisjoint(wanted))
