"""The groups of a feature file: which of them are photos, and the data sets of a photo."""

from typing import List, Tuple

import h5py

from ..hdf5 import DATASET, GROUP, member_of, plain_dataset, read_attribute, read_numbers
from ..names import require_inside
from .binary_codes import PACKED

KEYPOINTS, GLOBAL_DESCRIPTOR = "keypoints", "global_descriptor"
PARTS = (KEYPOINTS, "descriptors", "scores", "scales", PACKED, GLOBAL_DESCRIPTOR, "image_size")
MOST_DIMENSIONS = 2**16  # of a descriptor
_PHOTO = (KEYPOINTS, PACKED, GLOBAL_DESCRIPTOR)  # a group with one of these data sets is a photo


def group_names(file: h5py.File) -> List[str]:
    """Sorted names of the photos. What is neither a photo nor a folder of some is no photo lost without a word.

    Raises:
        UserError: a name that leaves the folder it is put into.
        ValueError: a link, a group of no photos or at two places, a data set that belongs to no photo.
    """
    names: List[str] = []
    waiting = [("", h5py.Group(h5py.h5g.open(file.id, b"/")))]
    seen = {member_of(file, ".")[1]}  # else a group within itself would go on for ever
    while waiting:
        name, group = waiting.pop()
        is_photo = bool(name) and DATASET in (member_of(group, part)[0] for part in _PHOTO)
        if is_photo:
            names.append(require_inside(name, file.filename))
        inside = [key for key in group if not (is_photo and key in PARTS)]
        if name and not is_photo and not inside:
            raise ValueError(f"nothing in the group {name}")
        for key in inside:
            if isinstance(key, bytes):
                raise ValueError(f"the name {key!r} in {name or 'it'} is not UTF-8")
            kind, place = member_of(group, key)
            if is_photo and kind == DATASET:  # another program's
                continue
            if kind != GROUP:
                raise ValueError(f"{name or 'it'} holds {key}, but no data set keypoints: no photo")
            if is_photo or place in seen:
                raise ValueError(f"the group {key} in {name or 'it'} lies in a photo or at two places")
            seen.add(place)
            child = h5py.Group(h5py.h5g.open(group.id, key.encode()))
            waiting.append((f"{name}/{key}" if name else key, child))
    return sorted(names)


def descriptors_of(group: h5py.Group) -> h5py.Dataset:
    """The descriptors [D, N] of a photo, unread; errors as of ``plain_dataset``."""
    found = plain_dataset(group, "descriptors")
    if found.ndim != 2 or found.shape[0] > MOST_DIMENSIONS:
        raise ValueError(f"descriptors are {found.shape}, not [D, N]")
    return found


def size_of(group: h5py.Group) -> Tuple[int, int]:
    """(width, height) of a photo; attributes where its features are packed."""
    if PACKED in group and not has_part(group, "image_size"):
        return tuple(int(read_attribute(group, side, 0)) for side in ("width", "height"))
    return tuple(read_numbers(group, "image_size"))


def has_part(group: h5py.Group, part: str) -> bool:
    """Whether a photo has a data set; ValueError for a link."""
    return member_of(group, part)[0] is not None
