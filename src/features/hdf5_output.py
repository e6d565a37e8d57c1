"""HDF5 files that survive a full disk: the library ends the process (SIGSEGV) when a write of its own fails."""

import errno
import io
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Optional, Type

import h5py

from ..artifacts import PathLike


class _QuietFile(io.FileIO):
    """A new file that keeps its first error and from then on only claims to write."""

    error: Optional[OSError] = None

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        try:
            while left and self.error is None:
                left = left[super().write(left) :]
        except OSError as error:
            self.error = error
        return len(data)

    def truncate(self, size: Optional[int] = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0


class Hdf5Output:
    """An HDF5 file being written; a context manager that closes it.

    Attributes:
        file: what to write to; call ``check`` now and then.
    """

    def __init__(self, path: PathLike) -> None:
        self._path = Path(path)
        self._bytes = _QuietFile(path, "w+")
        self.file = h5py.File(self._bytes, "w")

    def check(self) -> None:
        """OSError when something could not be written, such as for a full disk."""
        if self._bytes.error is not None:
            number = self._bytes.error.errno or errno.EIO
            raise OSError(number, os.strerror(number), str(self._path))

    def abandon(self) -> None:
        """Close the file without a look at what is in it."""
        self.file.close()
        self._bytes.close()

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
