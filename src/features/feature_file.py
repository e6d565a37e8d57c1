"""The feature file: hloc's HDF5 layout, one group a photo, provenance as an attribute; several files as one set.

hloc (github.com/cvg/Hierarchical-Localization) names a group after the photo, so 'folder/photo.jpg' is nested. A group
holds local features, a global descriptor, or both.
"""

import dataclasses
import json
from pathlib import Path
from types import TracebackType
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple, Type

import h5py
import numpy as np
from tqdm import tqdm

from ..artifacts import PathLike, require_file
from ..errors import UserError
from ..names import bare_name
from ..records import GlobalDescriptor, LocalFeatures, Provenance

FORMAT_VERSION = 2
_FREE_SETTINGS = ("half",)  # of features that stand beside others: it changes last digits only
_LOCAL, _GLOBAL = "keypoints", "global_descriptor"  # a group with one of these data sets is a photo


def write_provenance(file: h5py.File, provenance: Provenance) -> None:
    """Store what the file is made with, and the version of its format."""
    file.attrs["provenance"] = json.dumps(provenance.as_json(), sort_keys=True)
    file.attrs["format_version"] = FORMAT_VERSION


def write_group(
    file: h5py.File,
    name: str,
    local: Optional[LocalFeatures],
    half: bool = False,
    global_descriptor: Optional[GlobalDescriptor] = None,
    **attributes: Any,
) -> None:
    """Add one photo.

    Local features are keypoints [N, 2], descriptors [D, N], scores [N], scales [N] float32, and the group's attribute
    resize_factor; a global descriptor is global_descriptor [D] float32; both have image_size [2] int64.

    Args:
        file: open for writing.
        name: of the photo.
        local: its local features, if any.
        half: descriptors and scores, nearly all of the file, as float16. Keypoints stay float32: from 2048 pixels on
            float16 rounds to 2 pixels and more, which geometric verification would feel.
        global_descriptor: of the photo, if any.
        attributes: of the group, numbers.

    Raises:
        ValueError: neither local features nor a global descriptor.
    """
    described = local if local is not None else global_descriptor
    if described is None:
        raise ValueError(f"{name} has neither local features nor a global descriptor")
    group = file.create_group(name)
    if local is not None:
        kind = np.float16 if half else np.float32
        group["keypoints"] = local.keypoints
        group["descriptors"] = local.descriptors.T.astype(kind)
        group["scores"] = np.minimum(local.scores, np.finfo(kind).max).astype(kind)
        group["scales"] = local.scales
        attributes["resize_factor"] = local.resize_factor
    if global_descriptor is not None:
        group[_GLOBAL] = global_descriptor.vector
    group["image_size"] = np.array(described.image_size, np.int64)
    group.attrs.update(attributes)


def group_names(file: h5py.File) -> List[str]:
    """Sorted names of the photos."""
    names: List[str] = []

    def visit(folder: h5py.Group, prefix: str) -> None:
        for key, item in folder.items():
            if isinstance(item, h5py.Group):
                if _LOCAL in item or _GLOBAL in item:
                    names.append(prefix + key)
                else:
                    visit(item, f"{prefix}{key}/")

    visit(file, "")
    return sorted(names)


class FeatureFile:
    """A finished feature file, open for reading; a context manager and an iterable of (name, LocalFeatures).

    Args:
        path: the file.
        name: of the argument that gave ``path``, for messages.

    Attributes:
        provenance: what it was made with.
        names: sorted names of the photos.

    Raises:
        UserError: no such file, or not a feature file of this project.
    """

    def __init__(self, path: PathLike, name: str = "feature file") -> None:
        self.path = require_file(path, name)
        self._file = _open(self.path)
        try:
            version = int(self._file.attrs["format_version"])
            if version == FORMAT_VERSION:
                self.provenance = Provenance.from_json(json.loads(self._file.attrs["provenance"]))
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
        """(number of local features, descriptor dimension) of a photo, without reading them."""
        group = self._group(name)
        if "descriptors" not in group:
            raise UserError(self._damaged(name, "it has no local features"))
        dimension, count = group["descriptors"].shape
        return count, dimension

    def read(self, name: str) -> LocalFeatures:
        """Local features of a photo; UserError when the file has no such photo or its group has none, or damaged."""
        group = self._group(name)
        try:
            return LocalFeatures(
                keypoints=group["keypoints"][:],
                scales=group["scales"][:],
                scores=group["scores"][:],
                descriptors=group["descriptors"][:].T,
                image_size=tuple(group["image_size"][:]),
                resize_factor=group.attrs.get("resize_factor", 1.0),
            )
        except (KeyError, ValueError, OSError) as error:
            raise UserError(self._damaged(name, error)) from error

    def read_global(self, name: str) -> GlobalDescriptor:
        """Global descriptor of a photo; errors as of ``read``."""
        group = self._group(name)
        try:
            return GlobalDescriptor(group[_GLOBAL][:], tuple(group["image_size"][:]))
        except (KeyError, ValueError, OSError) as error:
            raise UserError(self._damaged(name, error)) from error

    def _damaged(self, name: str, reason: object) -> str:
        return f"{self.path}: the features of {name} are damaged ({reason}); extract again"

    def _group(self, name: str) -> h5py.Group:
        if name not in self._known:
            raise UserError(f"{self.path}: no photo {name!r} among its {len(self)}; extract the features of that photo")
        return self._file[name]


def provenance_of(path: PathLike) -> Provenance:
    """What a feature file was made with; UserError when it is none."""
    with FeatureFile(path, "output") as made:
        return made.provenance


def _open(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise UserError(_not_one(path)) from error


def _not_one(path: Path) -> str:
    return f"{path}: not a finished feature file; make one with the command extract_features"


def shared_settings(features: Provenance) -> Dict[str, Any]:
    """The settings that features must share to stand beside each other."""
    return {name: value for name, value in features.settings.items() if name not in _FREE_SETTINGS}


def require_alike(ours: Provenance, theirs: Provenance, path: PathLike, other: PathLike) -> None:
    """UserError when features of ``path`` cannot stand beside those of ``other``; photos and shards may differ.

    Distances between descriptors of two networks or PCAs mean nothing; other settings would favour some photos.
    """
    ours, theirs = (dataclasses.replace(each, settings=shared_settings(each)) for each in (ours, theirs))
    different = ", ".join(ours.differences(theirs, ("weights", "encoder", "settings")))
    if different:
        raise UserError(f"{path}: extracted with other settings than {other} ({different}); extract with the same ones")


class FeatureSet:
    """Open feature files as one set of photos, in the order of their names without extension; a context manager.

    Attributes:
        provenance: of the first file; the others share its weights, encoder and settings.
        names: names of the N photos.
        counts: [N] int64, features of each.
        dimension: of the descriptors.

    Raises:
        UserError: unusable files, files of different settings, or two photos whose names differ by extension at most.
    """

    def __init__(self, paths: Sequence[PathLike]) -> None:
        self.paths = [Path(path) for path in paths]
        self._files: List[FeatureFile] = []
        try:
            for path in self.paths:
                self._files.append(FeatureFile(path, "features"))
                require_alike(self.provenance, self._files[-1].provenance, path, self.paths[0])
            self._file_of = self._order_photos()
            self.names = list(self._file_of)
            self.counts, self.dimension = self._measure()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "FeatureSet":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def provenance(self) -> Provenance:
        return self._files[0].provenance

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()

    def chunks(self, num_rows: int) -> Iterator[Tuple[List[str], List[LocalFeatures]]]:
        """All photos, so many at a time that they have ``num_rows`` features or more together."""
        names: List[str] = []
        items: List[LocalFeatures] = []
        rows = 0
        for name in tqdm(self.names, desc="index", unit="photo", disable=None):
            names.append(name)
            items.append(self._file_of[name].read(name))
            rows += len(items[-1])
            if rows >= num_rows:
                yield names, items
                names, items, rows = [], [], 0
        if names:
            yield names, items

    def sample(self, num_rows: int, seed: int) -> np.ndarray:
        """About ``num_rows`` descriptors [R, D] float32, drawn at random from photos drawn at random.

        No photo is read whose rows are not needed, but the sample is spread over four times as many photos as would do.
        """
        generator = np.random.default_rng(seed)
        order = generator.permutation(len(self.counts))
        order = order[: np.searchsorted(np.cumsum(self.counts[order]), 4 * num_rows) + 1]
        share = min(1.0, num_rows / max(1, self.counts[order].sum()))
        rows = []
        for number in order:
            name = self.names[number]
            descriptors = self._file_of[name].read(name).descriptors
            chosen = generator.permutation(len(descriptors))[: int(np.ceil(share * len(descriptors)))]
            rows.append(descriptors[np.sort(chosen)].reshape(-1, self.dimension))
        return np.concatenate(rows)

    def _order_photos(self) -> Dict[str, FeatureFile]:
        """The photos in the order of their names without extension, so that numbers order as names do."""
        photos: Dict[str, Tuple[str, FeatureFile]] = {}
        for file in self._files:
            for name in file.names:
                other, owner = photos.setdefault(bare_name(name), (name, file))
                if owner is not file:
                    raise UserError(f"{file.path}: {name} is in {owner.path} too; leave one of them out")
                if other != name:
                    reason = f"{other} and {name} differ only by extension"
                    raise UserError(f"{file.path}: {reason}; rename one and extract again")
        if not photos:
            raise UserError(f"{self.paths[0]}: holds no photos; run the command extract_features on a folder of photos")
        return dict(photos[short] for short in sorted(photos))

    def _measure(self) -> Tuple[np.ndarray, int]:
        shapes = np.array([file.shape(name) for name, file in self._file_of.items()], np.int64)
        dimensions = np.unique(shapes[shapes[:, 0] > 0, 1])
        if len(dimensions) > 1:
            found = dimensions.tolist()
            raise UserError(f"{self.paths[0]}: descriptors of {found} dimensions among its photos; extract again")
        return shapes[:, 0], int(dimensions[0]) if len(dimensions) else max(1, int(shapes[:, 1].max()))
