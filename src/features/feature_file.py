"""The feature file: hloc's HDF5 layout, one group a photo, provenance as an attribute; hloc's own files are read too.

hloc (github.com/cvg/Hierarchical-Localization) names a group after the photo, so 'folder/photo.jpg' is nested. A group
holds local features, a global descriptor, or both.
"""

import dataclasses
import json
import logging
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Iterator, List, Optional, Sequence, Tuple, Type

import h5py
import numpy as np

from ..artifacts import PathLike, digest, require_file
from ..errors import UserError, reading
from ..hdf5 import open_hdf5, plain_dataset, read_attribute, read_numbers
from ..records import GlobalDescriptor, LocalFeatures, Provenance
from .binary_codes import PACKED, Rotation, require_packed, unpack
from .feature_groups import (
    GLOBAL_DESCRIPTOR,
    KEYPOINTS,
    MOST_DIMENSIONS,
    PARTS,
    descriptors_of,
    group_names,
    has_part,
    size_of,
)

FORMAT_VERSION = 3
FOREIGN = "hloc"  # encoder of features whose file does not say what they were made with
_UNIT_TOLERANCE = 1e-3  # of a descriptor's norm; float16 rounds by less

logger = logging.getLogger(__name__)


def write_provenance(file: h5py.File, provenance: Provenance) -> None:
    """Store what the file is made with, and the version of its format."""
    file.attrs["provenance"] = np.bytes_(json.dumps(provenance.as_json(), sort_keys=True))
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
        group[GLOBAL_DESCRIPTOR] = global_descriptor.vector
    group["image_size"] = np.array(described.image_size, np.int64)
    group.attrs.update(attributes)


def is_off_unit(features: LocalFeatures) -> bool:
    """Whether a descriptor has another L2 norm than 1, which match_distance and the index expect."""
    return bool((np.abs(np.linalg.norm(features.descriptors, axis=1) - 1) > _UNIT_TOLERANCE).any())


class FeatureFile:
    """A finished feature file, open for reading; a context manager and an iterable of (name, LocalFeatures).

    Args:
        path: the file.
        name: of the argument that gave ``path``, for messages.

    Attributes:
        provenance: what it was made with.
        names: sorted names of the photos.
        rotation: of the codes that its descriptors are; None where they are numbers.

    Raises:
        UserError: no such file, no feature file, a damaged one, or one that another program writes.
    """

    def __init__(self, path: PathLike, name: str = "feature file") -> None:
        self.path = require_file(path, name)
        self._file = open_hdf5(self.path, "a finished feature file", "make one with the command extract_features")
        try:
            with reading(self.path, "extract the photos again"):
                self.provenance, self.names = self._read_head()
                binary = self.provenance.encoder.get("binary")
                self.rotation = Rotation.read(self._file, binary["rotation"]) if binary else None
        except BaseException:
            self.close()
            raise
        self._known = frozenset(self.names)
        self._is_foreign = self.provenance.encoder.get("name") == FOREIGN
        self._has_warned = not self._is_foreign

    def _read_head(self) -> Tuple[Provenance, List[str]]:
        text, version = (read_attribute(self._file, name) for name in ("provenance", "format_version"))
        if text is None and version is None:
            return self._read_foreign_head()
        if version is None or version != FORMAT_VERSION:
            fix = "extract the photos again"
            raise UserError(f"{self.path}: format {version}, this program reads {FORMAT_VERSION}; {fix}")
        if not isinstance(text, bytes):
            raise ValueError("no provenance")
        return Provenance.from_json(json.loads(text)), group_names(self._file)

    def _read_foreign_head(self) -> Tuple[Provenance, List[str]]:
        try:
            names = group_names(self._file)
        except (ValueError, RuntimeError) as error:
            raise UserError(_not_one(self.path, str(error))) from error
        if not names:
            raise UserError(_not_one(self.path, "no photo in it"))
        sources = {"photos": digest({"names": names}), "shard": ""}
        return Provenance(encoder={"name": FOREIGN}, sources=sources), names

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
        with self._reading(name):
            group = self._group(name, self._local)
            if self.rotation is not None:
                shape = plain_dataset(group, PACKED).shape
                require_packed(shape, self.rotation)
                return shape[0], self.rotation.dimension
            dimension, count = descriptors_of(group).shape
            return count, dimension

    def read(self, name: str) -> LocalFeatures:
        """Local features of a photo; UserError when the file has no such photo or its group has none, or damaged."""
        with self._reading(name):
            group = self._group(name, self._local)
            if self.rotation is not None:
                factor = read_attribute(group, "resize_factor", 1.0)
                return unpack(read_numbers(group, PACKED), self.rotation, size_of(group), factor)
            descriptors = descriptors_of(group)[()].T
            every = np.ones(len(descriptors), np.float32)
            needs_scores = not self._is_foreign or has_part(group, "scores")
            features = LocalFeatures(
                keypoints=read_numbers(group, KEYPOINTS),
                scales=read_numbers(group, "scales") if has_part(group, "scales") else every,
                scores=read_numbers(group, "scores") if needs_scores else every,
                descriptors=descriptors,
                image_size=size_of(group),
                resize_factor=read_attribute(group, "resize_factor", 1.0),
            )
        return self._best_first(features) if self._is_foreign else features

    def read_descriptors(self, name: str) -> np.ndarray:
        """[N, D] float32, a photo's descriptors as of ``read``, and no more where they can be read alone."""
        if self._is_foreign or self.rotation is not None:
            return self.read(name).descriptors
        with self._reading(name):
            descriptors = np.asarray(descriptors_of(self._group(name, KEYPOINTS))[()].T, np.float32)
            if not np.isfinite(descriptors).all():
                raise ValueError("descriptors holds a number that is not finite")
            return descriptors

    def read_global(self, name: str) -> GlobalDescriptor:
        """Global descriptor of a photo; errors as of ``read``."""
        with self._reading(name):
            group = self._group(name, GLOBAL_DESCRIPTOR)
            return GlobalDescriptor(read_numbers(group, GLOBAL_DESCRIPTOR), size_of(group))

    def global_descriptors(self, names: Sequence[str]) -> np.ndarray:
        """Global descriptors [N, D] float32 of some photos; UserError as of ``read``, or when their lengths differ."""
        vectors = [self.read_global(name).vector for name in names]
        other = next((name for name, vector in zip(names, vectors) if len(vector) != len(vectors[0])), None)
        if other is not None:
            raise UserError(f"{self.path}: the global descriptor of {other} has another length; extract again")
        return np.stack(vectors) if vectors else np.zeros((0, 0), np.float32)

    def has_local(self, name: str) -> bool:
        """Whether a photo of the file has local features."""
        with self._reading(name):
            return has_part(self._group(name), self._local)

    def has_global(self, name: str) -> bool:
        """Whether a photo of the file has a global descriptor."""
        with self._reading(name):
            return has_part(self._group(name), GLOBAL_DESCRIPTOR)

    def global_dimension(self, name: str) -> int:
        """Length of a photo's global descriptor, without reading it."""
        with self._reading(name):
            shape = plain_dataset(self._group(name, GLOBAL_DESCRIPTOR), GLOBAL_DESCRIPTOR).shape
            if len(shape) != 1 or shape[0] > MOST_DIMENSIONS:
                raise ValueError(f"{GLOBAL_DESCRIPTOR} is {shape}, not [D]")
            return shape[0]

    def copy(self, name: str, target: h5py.File, new_name: str = "") -> None:
        """Add a photo to another file as it is stored here, by another name if one is given; errors as of ``read``."""
        with self._reading(name):
            group = self._group(name)
            for part, read in ((self._local, self.read), (GLOBAL_DESCRIPTOR, self.read_global)):
                if has_part(group, part):
                    read(name)  # what is damaged is told now, not when the other file is read
            made = target.create_group(new_name or name)
            for part in (part for part in PARTS if has_part(group, part)):
                made[part] = read_numbers(group, part)
            made.attrs.update({key: read_attribute(group, key) for key in group.attrs})
        if self.rotation is not None and "code_bits" not in target.attrs:
            self.rotation.write(target)

    @property
    def _local(self) -> str:
        """The data set by which a photo has local features."""
        return KEYPOINTS if self.rotation is None else PACKED

    def _best_first(self, features: LocalFeatures) -> LocalFeatures:
        """Features of another program, which may have any order and any norm, in this project's order."""
        if not self._has_warned and is_off_unit(features):
            self._has_warned = True
            logger.warning("%s: descriptors whose norm is not 1; match_distance expects that", self.path)
        order = np.argsort(-features.scores, kind="stable")
        parts = {name: getattr(features, name)[order] for name in ("keypoints", "scales", "scores", "descriptors")}
        return dataclasses.replace(features, **parts)

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        with reading(f"{self.path}: the features of {name}", "extract again"):
            yield

    def _group(self, name: str, part: str = "") -> h5py.Group:
        """The group of a photo; UserError for a name that is none, or when it lacks the data set ``part``."""
        if name not in self._known:
            raise UserError(f"{self.path}: no photo {name!r} among its {len(self)}; extract the features of that photo")
        group = self._file[name]
        if part and not has_part(group, part):
            lacks = "global descriptor" if part == GLOBAL_DESCRIPTOR else "local features"
            raise UserError(f"{self.path}: {name} has no {lacks} in it; extract them")
        return group


def provenance_of(path: PathLike) -> Provenance:
    """What a feature file was made with; UserError when it is none."""
    with FeatureFile(path, "output") as made:
        return made.provenance


def _not_one(path: PathLike, reason: str) -> str:
    return f"{path}: not a finished feature file ({reason}); make one with the command extract_features"
