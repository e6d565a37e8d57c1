"""HDF5 files from outside, read as plain data: hard links, data sets of numbers that lie whole in the file itself.

The format can also point at other files (soft and external links, virtual data sets, external storage), which would be
read, or waited for, whatever they are; and a header may promise terabytes that the file does not hold.
"""

import math
from typing import Any, Optional, Tuple

import h5py
import numpy as np

from .artifacts import PathLike
from .errors import UserError, reading

GROUP, DATASET = h5py.h5g.GROUP, h5py.h5g.DATASET  # kinds of members


def open_hdf5(path: PathLike, what: str = "a whole HDF5 file", fix: str = "give another file") -> h5py.File:
    """Open a file for reading.

    Args:
        path: a regular file.
        what: what it should be, for the message about a file that is none.
        fix: what to do about one.

    Raises:
        UserError: it is no HDF5 file or cut short, may not be read, or the program that writes it has not closed it.
    """
    wait = "close it in the program that has it open, or wait for that program"
    with reading(path, fix):
        try:
            return h5py.File(path, "r")
        except BlockingIOError as error:
            raise UserError(f"{path}: another program has it open for writing; {wait}") from error
        except OSError as error:
            if "already open for write" in str(error):
                fact = "the program that writes it has it open still, or was killed"
                raise UserError(f"{path}: {fact}; {wait}, or make the file again") from error
            if error.errno:
                raise
            raise UserError(f"{path}: not {what}, or cut short; {fix}") from error


def member_of(group: h5py.Group, name: str) -> Tuple[Optional[int], Optional[Tuple[int, int]]]:
    """Kind of a member of a group (``GROUP``, ``DATASET``, another) and its place in the file; None when it has none.

    Raises:
        ValueError: the member is a soft or an external link.
    """
    key = name.encode()
    if not group.id.links.exists(key):
        return None, None
    found = h5py.h5g.get_objinfo(group.id, key, follow_link=False)
    if found.type not in (GROUP, DATASET, h5py.h5g.TYPE):
        raise ValueError(f"{name} is a link")
    return found.type, found.objno


def plain_dataset(group: h5py.Group, name: str) -> h5py.Dataset:
    """A data set of numbers that may be read whole; KeyError when the group has no such member.

    Raises:
        ValueError: a link, no data set, or as of ``require_plain``.
    """
    kind, _ = member_of(group, name)
    if kind is None:
        raise KeyError(name)
    if kind != DATASET:
        raise ValueError(f"{name} is no data set")
    try:
        dataset = h5py.Dataset(h5py.h5d.open(group.id, name.encode()))
    except KeyError as error:  # h5py's word for a damaged header too
        raise ValueError(f"{name}: {error.args[0]}") from error
    require_plain(dataset)
    return dataset


def require_plain(dataset: h5py.Dataset) -> None:
    """Judge a data set, reached by hard links, from its header alone.

    Raises:
        ValueError: its numbers lie in other files, are compressed, are no numbers, or are not all there.
    """
    plan, dtype, shape = dataset.id.get_create_plist(), dataset.dtype, dataset.shape
    layout = plan.get_layout()
    if layout == h5py.h5d.VIRTUAL or plan.get_external_count():
        raise ValueError(f"{dataset.name} lies in another file")
    if dtype.kind not in "fiu" or dtype.subdtype or shape is None:
        raise ValueError(f"{dataset.name} does not hold numbers")
    if plan.get_nfilters():  # some unpack to a thousand times of what is stored
        raise ValueError(f"{dataset.name} is compressed: write it without")
    if 0 not in shape:
        most = max(math.prod(shape), math.prod(plan.get_chunk()) if layout == h5py.h5d.CHUNKED else 0)
        stored = min(dataset.id.get_storage_size(), h5py.h5i.get_file_id(dataset.id).get_filesize())
        if most * dtype.itemsize > stored:
            raise ValueError(f"{dataset.name} has not the bytes of its shape {shape}")


def read_numbers(group: h5py.Group, name: str) -> np.ndarray:
    """The array of a data set; errors as of ``plain_dataset``."""
    return plain_dataset(group, name)[()]


def read_attribute(item: h5py.HLObject, name: str, default: Any = None) -> Any:
    """One number or text (bytes) among the attributes of an item, ``default`` where there is none.

    Raises:
        ValueError: an array, a text of variable length (the library looks for a damaged one for ever), or else.
    """
    if name not in item.attrs:
        return default
    found = item.attrs.get_id(name)
    if found.shape != () or found.dtype.kind not in "fiuSb":
        raise ValueError(f"the attribute {name} is neither a number nor a text of fixed length")
    return item.attrs[name]
