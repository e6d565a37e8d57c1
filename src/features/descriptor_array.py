"""Global descriptors as one array [N, D] (.npy) and a text with the photo of each row, as dirtorch's users know them.

An array says nothing of what it was made with. So it is made from a feature file beside it, which does, and which makes
extraction go on after a kill and follow photos that change.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..artifacts import PathLike, atomic_stream, atomic_write_text, require_place
from ..errors import UserError, printable
from .feature_file import FeatureFile
from .kinds import GLOBAL

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ArrayFiles:
    """Where the three files lie: NAME.npy, NAME.names.txt, NAME.h5."""

    array: Path
    names: Path
    features: Path


def array_files(output: PathLike, kind: str) -> ArrayFiles:
    """The files of an ``output`` that ends in .npy; UserError unless ``kind`` is "global", or they cannot be made."""
    path = Path(output)
    if kind != GLOBAL:
        raise UserError(f"{path}: an array holds global descriptors alone; give `features` global, or a name in .h5")
    files = ArrayFiles(path, path.with_suffix(".names.txt"), path.with_suffix(".h5"))
    require_place(files.array)
    require_place(files.names)
    return files


def write_array(files: ArrayFiles) -> None:
    """Write array and names from the finished feature file, each atomically; rows follow the sorted names.

    Raises:
        UserError: a photo has no global descriptor, or a name that is no single line.
    """
    with FeatureFile(files.features) as source:
        broken = next((name for name in source.names if name.splitlines() != [name]), None)
        if broken is not None:
            raise UserError(f"{files.names}: {printable(broken)} is no single line; rename the photo")
        vectors, names = source.global_descriptors(source.names), source.names
    with atomic_stream(files.array) as stream:
        np.save(stream, vectors)
    atomic_write_text(files.names, "".join(f"{name}\n" for name in names))
    logger.info("%s: %d descriptors of %d numbers, their photos in %s", files.array, *vectors.shape, files.names)
