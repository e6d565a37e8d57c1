"""HDF5 files that survive a full disk."""

from types import TracebackType
from typing import Optional, Type

import h5py

from ..artifacts import PathLike
from ..output_file import OutputFile


class Hdf5Output:
    """An HDF5 file being written; a context manager that closes it.

    Args:
        path: the file.
        compact: in a newer layout, of HDF5 1.10, that takes less room for many small groups.

    Attributes:
        file: what to write to; call ``check`` now and then.
        check: raises OSError when something could not be written, such as for a full disk.
    """

    def __init__(self, path: PathLike, compact: bool = False) -> None:
        self._stream = OutputFile(path)
        self.check = self._stream.check
        self.file = h5py.File(self._stream, "w", libver="latest" if compact else None)

    def abandon(self) -> None:
        """Close the file without a look at what became of it."""
        self.file.close()
        self._stream.close()

    def close(self) -> None:
        """Close the file. Raises OSError as ``check``."""
        self.abandon()
        self.check()

    def __enter__(self) -> "Hdf5Output":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close() if error is None else self.abandon()
