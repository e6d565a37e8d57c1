"""Whitening of global descriptors: project, save, load, and the check that one belongs to a network.

Unlike the PCA of local descriptors (pca.py) there is no L2 before it, its rows need not be orthonormal, and the power
of the variances is a setting of its own.
"""

import dataclasses
import hashlib
import json
import logging
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Dict, Optional

import numpy as np

from ..arrays import read_arrays
from ..artifacts import PathLike, atomic_stream, require_file
from ..errors import UserError, reading
from ..records import Provenance
from .heads import Linear, identity_of, numbers, unit

logger = logging.getLogger(__name__)

METHODS = ("pca", "learned", "given")
MOST_POWER = 4.0
OF_REGIONS = {"vectors": "regions"}  # setting of one fitted on the vectors of regions
_SCALES = ("global_scales", "scale_pooling")  # settings that change what descriptors look like
_LEAST_VARIANCE = 1e-14  # as HOW clips them
_FORMAT_VERSION = 1
_ARRAYS = ("mean", "components", "variances")
_FOLDER_FILES = ("pca_mean.npy", "pca_components.npy")  # of regional attention
_LARGEST_FILE = 2**28  # bytes of an array of a folder; 4096 x 4096 in double precision are half of it
_FIX = (
    "give an .npz of the command learn_whitening, or with mean, components, explained_variance (dirtorch), or with "
    f"m and P (cirtorch), or a folder with {' and '.join(_FOLDER_FILES)}"
)


@dataclass(frozen=True, eq=False)
class Whitening:
    """A projection of C-dimensional global descriptors: y = components (x - mean) / variances^power, then L2.

    Attributes:
        mean: [C] float32.
        components: [D, C] float32 by falling variance: rows of a PCA, or of a projection that whitens already.
        variances: [D] float32, at least 0.
        power: 0.5 whitens; 0 = rotation, or components that whiten already.
        method: one of ``METHODS``.
        provenance: what it was fitted on; without weights where that is not known.

    Raises:
        ValueError: shapes disagree, a number is not finite, or a variance or the power is out of range.
    """

    mean: np.ndarray
    components: np.ndarray
    variances: np.ndarray
    power: float = 0.5
    method: str = "pca"
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        object.__setattr__(self, "components", numbers(self.components, "components", (-1, -1)))
        for name, length in (("mean", self.components.shape[1]), ("variances", len(self.components))):
            object.__setattr__(self, name, numbers(getattr(self, name), name, (length,)))
        if (self.variances < 0).any():
            raise ValueError("a variance is below 0")
        if not self.components.any(axis=1).all():
            raise ValueError("a row of components holds zeros alone")
        if not 0 <= self.power <= MOST_POWER:
            raise ValueError(f"the power {self.power} is not from 0 to {MOST_POWER:g}")
        if self.method not in METHODS:
            raise ValueError(f"the method {self.method!r} is none of {', '.join(METHODS)}")
        object.__setattr__(self, "power", float(self.power))

    @classmethod
    def from_pca(
        cls,
        mean: np.ndarray,
        components: np.ndarray,
        variances: np.ndarray,
        power: float = 0.5,
        dim: int = 0,
        multiplier: float = 1.0,
        provenance: Optional[Provenance] = None,
    ) -> "Whitening":
        """Of a PCA's arrays, as dirtorch's checkpoints hold them: y = components[:dim] (x - mean) / (m variances^p).

        Args:
            mean: [C]; components: [D, C]; variances: [D].
            power: dirtorch's whitenp.
            dim: its whitenv, components kept; 0 = all.
            multiplier: its whitenm, m; it changes the norm of y alone, which the L2 behind undoes.
            provenance: what it was fitted on, if known.

        Raises:
            ValueError: as of the class; fewer than ``dim`` components; a multiplier that is not above 0.
        """
        if not multiplier > 0:
            raise ValueError(f"the multiplier {multiplier} is not above 0")
        rows = np.asarray(components) / multiplier if multiplier != 1 else components
        return cls(mean, rows, variances, power, "pca", provenance or Provenance()).cut(dim)

    @classmethod
    def from_projection(
        cls, mean: np.ndarray, projection: np.ndarray, provenance: Optional[Provenance] = None
    ) -> "Whitening":
        """Of a projection that whitens, as cirtorch's m [C] or [C, 1] and P [D, C]; ValueError as of the class."""
        rows = np.asarray(projection)
        mean = np.asarray(mean).reshape(-1)
        return cls(mean, rows, np.ones(len(rows) if rows.ndim else 0), 0.0, "given", provenance or Provenance())

    @cached_property
    def projection(self) -> np.ndarray:
        """[D, C] float32, ``components`` divided by the variances' power."""
        if not self.power:
            return self.components
        deviations = np.maximum(self.variances.astype(np.float64), _LEAST_VARIANCE) ** self.power
        return (self.components / deviations[:, None]).astype(np.float32)

    @property
    def identity(self) -> str:
        """SHA-256 of the numbers and the power, in hex: equal for a file and its copy, whatever their names."""
        arrays = identity_of(*(getattr(self, name) for name in _ARRAYS))
        return hashlib.sha256(f"{arrays} {self.power}".encode()).hexdigest()

    def cut(self, dim: int) -> "Whitening":
        """The same with its first ``dim`` components, 0 = all; ValueError when it has fewer."""
        if not 0 <= dim <= len(self.components):
            raise ValueError(f"it has {len(self.components)} components, {dim} are asked for")
        first = slice(dim or None)
        return dataclasses.replace(self, components=self.components[first], variances=self.variances[first])

    def project(self, vectors: np.ndarray) -> np.ndarray:
        """Descriptors [.., C] -> [.., D] float32, before the L2; UserError for descriptors of another length."""
        vectors = np.asarray(vectors, np.float32)
        if vectors.shape[-1] != len(self.mean):
            fact = f"the whitening is for descriptors of {len(self.mean)} numbers, these have {vectors.shape[-1]}"
            raise UserError(f"{fact}; fit one on descriptors as these are")
        return (vectors - self.mean) @ self.projection.T

    def apply(self, vectors: np.ndarray) -> np.ndarray:
        """Descriptors [.., C] -> [.., D] float32 of unit norm; errors as of ``project``."""
        return unit(self.project(vectors))

    def linear(self) -> Linear:
        """The same projection, without the L2, as a layer: for each region of a pooling, or a network's head."""
        projection = self.projection.astype(np.float64)
        return Linear(projection, -projection @ self.mean)


def save_whitening(path: PathLike, whitening: Whitening) -> None:
    """Write an .npz file atomically: ``mean``, ``components``, ``variances``, and ``header``, JSON with a checksum."""
    header = {
        "format_version": _FORMAT_VERSION,
        "power": whitening.power,
        "method": whitening.method,
        "provenance": whitening.provenance.as_json(),
    }
    arrays = {name: getattr(whitening, name) for name in _ARRAYS}
    header["checksum"] = _checksum(header, arrays)
    with atomic_stream(path) as stream:
        np.savez(stream, header=np.array(json.dumps(header)), **arrays)


def load_whitening(path: PathLike, name: str = "whitening_path") -> Whitening:
    """A whitening of ``save_whitening``, or one of dirtorch's, cirtorch's or regional attention's numbers.

    Args:
        path: an .npz file: ours; ``mean``, ``components`` and ``explained_variance`` or ``variances`` (names may end in
            an underscore, as scikit-learn's do; the power is 0.5); ``m`` and ``P``. Or a folder with pca_mean.npy,
            which is the mean's negative, and pca_components.npy, divided by the deviations.
        name: of the argument that gave ``path``, for messages.

    Raises:
        UserError: nothing there, no whitening, or a damaged one.
    """
    path = Path(path)
    is_folder = path.is_dir()
    with reading(path if is_folder else require_file(path, name), _FIX):
        try:
            if is_folder:
                negative_mean, projection = (_load_array(path / file) for file in _FOLDER_FILES)
                return Whitening.from_projection(-negative_mean.reshape(-1), projection)
            stored = read_arrays(path, _FIX)
            return _own(path, stored) if "header" in stored else _foreign(stored)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(f"{path}: not a whitening ({error}); {_FIX}") from error


def _own(path: Path, stored: Dict[str, np.ndarray]) -> Whitening:
    header = json.loads(str(stored["header"]))
    if header["format_version"] != _FORMAT_VERSION:
        found = f"format {header['format_version']}, this program reads {_FORMAT_VERSION}"
        raise UserError(f"{path}: {found}; fit it again")
    arrays = {name: stored[name] for name in _ARRAYS}
    if header.pop("checksum") != _checksum(header, arrays):
        raise UserError(f"{path}: damaged (its checksum differs); fit it again")
    provenance = Provenance.from_json(header["provenance"])
    return Whitening(**arrays, power=header["power"], method=header["method"], provenance=provenance)


def _foreign(stored: Dict[str, np.ndarray]) -> Whitening:
    """One of another project, or a PCA of the command learn_pca."""
    arrays = {name.rstrip("_"): array for name, array in stored.items()}
    if {"m", "P"} <= set(arrays):
        return Whitening.from_projection(arrays["m"], arrays["P"])
    variances = arrays.get("explained_variance", arrays.get("variances"))
    if variances is None or not {"mean", "components"} <= set(arrays):
        raise ValueError(f"it holds {', '.join(sorted(stored)[:10]) or 'nothing'}")
    provenance = Provenance.from_json(json.loads(str(arrays["provenance"]))) if "provenance" in arrays else None
    return Whitening.from_pca(arrays["mean"], arrays["components"], variances, provenance=provenance)


def _load_array(path: Path) -> np.ndarray:
    if require_file(path, "whitening_path").stat().st_size > _LARGEST_FILE:
        raise ValueError(f"{path.name} is larger than any")
    return np.load(path, mmap_mode="r", allow_pickle=False)  # mapped: nothing is allocated for a shape that lies


def _checksum(header: Dict[str, Any], arrays: Dict[str, np.ndarray]) -> str:
    told = json.dumps(header, sort_keys=True)
    return hashlib.sha256(f"{told} {identity_of(*(arrays[name] for name in _ARRAYS))}".encode()).hexdigest()


def fitting_whitening(
    path: PathLike, dim: int, source: Provenance, dimension: int, force: bool = False, of_regions: bool = False
) -> Whitening:
    """The whitening at ``path`` for descriptors that are made as ``source`` says.

    Args:
        path: as of ``load_whitening``.
        dim: components used; 0 = all.
        source: weights and encoder of the descriptors, before any whitening.
        dimension: their length.
        force: take one that was fitted on other weights.
        of_regions: whether they are vectors of regions.

    Raises:
        UserError: no whitening, one for descriptors of another length, with fewer than ``dim`` components, fitted on
            regions instead of photos or the other way round, or on another network and not forced.
    """
    name = "region_whitening_path" if of_regions else "whitening_path"
    whitening = load_whitening(path, name)
    fitted_on_regions = whitening.provenance.settings.get("vectors") == OF_REGIONS["vectors"]
    if fitted_on_regions != of_regions and whitening.provenance.weights:
        fact = "regions" if fitted_on_regions else "whole photos"
        raise UserError(f"{path}: fitted on the vectors of {fact}; give another `{name}`")
    if len(whitening.mean) != dimension:
        raise UserError(f"{path}: for descriptors of {len(whitening.mean)} numbers; these have {dimension}")
    if dim > len(whitening.components):
        fact = f"has {len(whitening.components)} components, `whiten_dim` is {dim}"
        raise UserError(f"{path}: {fact}; give `whiten_dim` {len(whitening.components)}, or another whitening")
    require_same_source(whitening, path, source, force)
    return whitening.cut(dim)


def require_same_source(whitening: Whitening, path: PathLike, source: Provenance, force: bool = False) -> None:
    """UserError for a whitening of other weights, not forced; a warning where the rest differs or is not told."""
    fitted = whitening.provenance
    if not fitted.weights and not fitted.encoder:
        logger.warning("%s: does not say which network it was fitted on; a foreign whitening spoils the search", path)
        return
    if fitted.weights != source.weights:
        fact = f"{path}: fitted on weights {fitted.weights[:12]}..., not on these ({source.weights[:12]}...)"
        if not force:
            raise UserError(f"{fact}; fit one with the command learn_whitening")
        logger.warning("%s; used all the same", fact)
        return
    different = fitted.differences(source, ("encoder",))
    different += [name for name in _SCALES if fitted.settings.get(name) != source.settings.get(name)]
    if different:
        fact = f"{path}: fitted on descriptors made otherwise ({', '.join(different)})"
        logger.warning("%s; one fitted on such as these may do better", fact)
