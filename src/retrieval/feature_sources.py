"""Where the photos of an index have their own features, unshortened: the feature files it was made from."""

import os
import threading
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import numpy as np

from ..artifacts import PathLike
from ..errors import UserError
from ..features.feature_file import FeatureFile
from ..records import LocalFeatures, Provenance


class FeatureSources:
    """The feature files an index was made from, where its photos' own features are read, unshortened.

    They are opened when first needed; several threads may read. A file is looked for relative to the index folder
    first, so that both can be moved together, and must have the size it had when it was indexed.

    Args:
        index_folder: of the index.
        files: what ``describe`` says of each file.
    """

    def __init__(self, index_folder: PathLike, files: Sequence[Dict[str, Any]] = ()) -> None:
        self._folder, self.files = Path(index_folder), list(files)
        self._lock = threading.Lock()
        self._open: Optional[List[FeatureFile]] = None

    @staticmethod
    def describe(paths: Sequence[PathLike], index_folder: PathLike) -> List[Dict[str, Any]]:
        """What the files are found by: absolute path, path from the index folder, size in bytes."""
        return [
            {
                "path": os.path.abspath(path),
                "from_index": os.path.relpath(path, index_folder),
                "bytes": os.path.getsize(path),
            }
            for path in paths
        ]

    def read(self, name: str) -> LocalFeatures:
        """Features of a photo.

        Raises:
            UserError: a feature file is gone or another one, or lacks the photo.
        """
        return self._file_of(name).read(name)

    def read_descriptors(self, name: str) -> np.ndarray:
        """[n, D] float32, descriptors of a photo; errors as of ``read``."""
        return self._file_of(name).read_descriptors(name)

    def read_globals(self, names: Sequence[str]) -> np.ndarray:
        """Global descriptors [N, D] float32 of photos; errors as of ``read``."""
        return np.stack([self._file_of(name).read_global(name).vector for name in names])

    def has_global(self) -> bool:
        """Whether the files have global descriptors, as their first photos tell; errors as of ``read``."""
        return all(file.has_global(file.names[0]) for file in self._opened() if file.names)

    @property
    def provenance(self) -> Provenance:
        """Of the first file; errors as of ``read``."""
        return self._opened()[0].provenance

    def paths(self) -> List[Path]:
        """Where the files are now; errors as of ``read``."""
        return [self._find(file) for file in self.files]

    def _file_of(self, name: str) -> FeatureFile:
        for file in self._opened():
            if name in file:
                return file
        raise UserError(f"{self._folder}: its feature files have no photo {name}; make the index again")

    def _opened(self) -> List[FeatureFile]:
        with self._lock:
            if self._open is None:
                self._open = [FeatureFile(self._find(file)) for file in self.files]
        return self._open

    def _find(self, file: Dict[str, Any]) -> Path:
        places = [Path(os.path.normpath(self._folder / file["from_index"])), Path(file["path"])]
        found = [place for place in places if place.is_file()]
        for place in found:
            if place.stat().st_size == file["bytes"]:
                return place
        fact = "has changed since" if found else "is gone, from which"
        raise UserError(
            f"{(found or places[-1:])[0]}: {fact} the index {self._folder} was made; bring the feature file back, or "
            "use only what the index holds (`correspondences` index)"
        )
