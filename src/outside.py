"""Files from outside: what kind one is, and those that are read at once."""

from pathlib import Path

from .artifacts import PathLike, require_file
from .errors import UserError

LARGEST = 2**30  # bytes; a ground truth of a million photos has 2**25


def read_bounded(path: PathLike, name: str) -> bytes:
    """The bytes of a file; ``name`` is what gave it, as of ``require_file``.

    Raises:
        UserError: no file, or one past ``LARGEST`` bytes, which would take the memory of the machine.
    """
    size = require_file(path, name).stat().st_size
    if size > LARGEST:
        raise UserError(f"{path}: {size} bytes are too many; give the file that is meant, of {LARGEST} at most")
    return Path(path).read_bytes()


def is_hdf5(path: PathLike) -> bool:
    """Whether a file's first bytes are those of HDF5, as Keras's weights have them and no checkpoint."""
    with open(path, "rb") as stream:
        return stream.read(8) == b"\x89HDF\r\n\x1a\n"
