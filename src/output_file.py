"""Output streams for libraries that cannot cope with a full disk."""

import errno
import io
import os
from typing import Any, Optional


class OutputFile(io.FileIO):
    """A new file that keeps its first error and from then on only claims to write; ``check`` raises it.

    HDF5 ends the process (SIGSEGV) when a write of its own fails, and ``zipfile`` leaves a traceback behind.
    """

    def __init__(self, path: Any) -> None:
        super().__init__(path, "w+")
        self._error: Optional[OSError] = None

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while left and self._error is None:
                left = left[super().write(left) :]
        except OSError as error:
            self._error = error
        return size

    def truncate(self, size: Optional[int] = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self._error = self._error or error
            return size or 0

    def check(self) -> None:
        """OSError when something could not be written, such as for a full disk."""
        if self._error is not None:
            number = self._error.errno or errno.EIO
            raise OSError(number, os.strerror(number), str(self.name))
