"""The feature files an index was made from: where their photos' own features are read, unshortened."""

import json
import os
import threading
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from ..artifacts import PathLike, atomic_write_json
from ..errors import UserError
from ..features.feature_file import FeatureFile
from ..records import LocalFeatures

SOURCES_FILE = "sources.json"


def describe_sources(paths: Sequence[PathLike], index_folder: PathLike) -> List[Dict[str, Any]]:
    """What ``FeatureSources`` finds the files by: absolute path, path from the index folder, size in bytes."""
    return [
        {
            "path": os.path.abspath(path),
            "from_index": os.path.relpath(path, index_folder),
            "bytes": os.path.getsize(path),
        }
        for path in paths
    ]


def save_sources(folder: Path, sources: Sequence[Dict[str, Any]]) -> None:
    """Write ``describe_sources`` of an index into its folder."""
    atomic_write_json(folder / SOURCES_FILE, list(sources))


def load_sources(folder: Path) -> List[Dict[str, Any]]:
    """What ``save_sources`` wrote.

    Raises:
        OSError, ValueError: no such file, or not JSON.
    """
    return json.loads((folder / SOURCES_FILE).read_text(encoding="utf-8"))


class FeatureSources:
    """Reads photos out of an index's feature files, which are opened when first needed; several threads may read.

    A file is looked for relative to the index folder first, so that both can be moved together, and must have the size
    it had when it was indexed.
    """

    def __init__(self, index_folder: PathLike, sources: Sequence[Dict[str, Any]]) -> None:
        self._folder, self._sources = Path(index_folder), sources
        self._lock = threading.Lock()
        self._files: Optional[List[FeatureFile]] = None

    def read(self, name: str) -> LocalFeatures:
        """Features of a photo.

        Raises:
            UserError: a feature file is gone or another one, or lacks the photo.
        """
        with self._lock:
            if self._files is None:
                self._files = [FeatureFile(self._find(source)) for source in self._sources]
        for file in self._files:
            if name in file:
                return file.read(name)
        raise UserError(f"{self._folder}: its feature files have no photo {name}; make the index again")

    def _find(self, source: Dict[str, Any]) -> Path:
        places = [Path(os.path.normpath(self._folder / source["from_index"])), Path(source["path"])]
        found = [place for place in places if place.is_file()]
        for place in found:
            if place.stat().st_size == source["bytes"]:
                return place
        fact = "has changed since" if found else "is gone, from which"
        raise UserError(
            f"{(found or places[-1:])[0]}: {fact} the index {self._folder} was made; bring the feature file back, or "
            "use only what the index holds (`correspondences` index)"
        )
