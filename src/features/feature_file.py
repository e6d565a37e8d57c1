"""The feature file: hloc's HDF5 layout, one group a photo, settings as attributes of the file.

hloc (github.com/cvg/Hierarchical-Localization) names a group after the photo, so 'folder/photo.jpg' is nested.
"""

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Dict, Iterator, List, Optional, Tuple, Type

import h5py
import numpy as np

from ..artifacts import PathLike, require_file
from ..errors import UserError
from ..records import LocalFeatures

FORMAT_VERSION = 1


def write_attributes(file: h5py.File, attributes: Dict[str, Any]) -> None:
    """Store JSON values as attributes of the file, each as JSON text."""
    for name, value in attributes.items():
        file.attrs[name] = json.dumps(value, sort_keys=True)


def write_group(file: h5py.File, name: str, features: LocalFeatures, half: bool = False, **attributes: Any) -> None:
    """Add one photo: keypoints [N, 2], descriptors [D, N], scores [N], scales [N] float32, image_size [2] int64.

    Args:
        file: open for writing.
        name: of the photo.
        features: of the photo.
        half: descriptors and scores, nearly all of the file, as float16. Keypoints stay float32: from 2048 pixels on
            float16 rounds to 2 pixels and more, which geometric verification would feel.
        attributes: of the group, numbers.
    """
    kind = np.float16 if half else np.float32
    group = file.create_group(name)
    group["keypoints"] = features.keypoints
    group["descriptors"] = features.descriptors.T.astype(kind)
    group["scores"] = np.minimum(features.scores, np.finfo(kind).max).astype(kind)
    group["scales"] = features.scales
    group["image_size"] = np.array(features.image_size, np.int64)
    group.attrs.update(attributes)


def group_names(file: h5py.File) -> List[str]:
    """Sorted names of the photos."""
    names: List[str] = []

    def visit(folder: h5py.Group, prefix: str) -> None:
        for key, item in folder.items():
            if isinstance(item, h5py.Group):
                if "keypoints" in item:
                    names.append(prefix + key)
                else:
                    visit(item, f"{prefix}{key}/")

    visit(file, "")
    return sorted(names)


class FeatureFile:
    """A finished feature file, open for reading; a context manager and an iterable of (name, LocalFeatures).

    Attributes:
        attributes: the settings it was made with.
        names: sorted names of the photos.

    Raises:
        UserError: no such file, or not a feature file of this project.
    """

    def __init__(self, path: PathLike, option: str = "feature file") -> None:
        self.path = require_file(path, option)
        self._file = _open(self.path)
        try:
            self.attributes: Dict[str, Any] = {name: json.loads(text) for name, text in self._file.attrs.items()}
            version = self.attributes["format_version"]
            self.names = group_names(self._file)
        except (KeyError, TypeError, ValueError, RuntimeError, OSError) as error:
            self.close()
            raise UserError(_not_one(self.path)) from error
        if version != FORMAT_VERSION:
            self.close()
            raise UserError(f"{path}: format {version}, this program reads {FORMAT_VERSION}; extract the photos again")
        self._known = frozenset(self.names)

    def __enter__(self) -> "FeatureFile":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def __len__(self) -> int:
        """Number of photos."""
        return len(self.names)

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def __iter__(self) -> Iterator[Tuple[str, LocalFeatures]]:
        return ((name, self.read(name)) for name in self.names)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def shape(self, name: str) -> Tuple[int, int]:
        """(number of features, descriptor dimension) of a photo, without reading them."""
        dimension, count = self._group(name)["descriptors"].shape
        return count, dimension

    def read(self, name: str) -> LocalFeatures:
        """Features of a photo; UserError when the file has no such photo or its group is damaged."""
        group = self._group(name)
        try:
            return LocalFeatures(
                keypoints=group["keypoints"][:],
                scales=group["scales"][:],
                scores=group["scores"][:],
                descriptors=group["descriptors"][:].T,
                image_size=tuple(group["image_size"][:]),
            )
        except (KeyError, ValueError, OSError) as error:
            raise UserError(f"{self.path}: the features of {name} are damaged ({error}); extract again") from error

    def _group(self, name: str) -> h5py.Group:
        if name not in self._known:
            raise UserError(f"{self.path}: no photo {name!r} among its {len(self)}; extract the features of that photo")
        return self._file[name]


def _open(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise UserError(_not_one(path)) from error


def _not_one(path: Path) -> str:
    return f"{path}: not a finished feature file; make one with eval/extract_features.py"
