"""PCA of descriptors: fit, project, save, load."""

import hashlib
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterable, Tuple

import numpy as np

from src.errors import UserError
from src.files import PathLike, atomic_path

EPSILON = 1e-12  # of the squared norm, as tf.math.l2_normalize
_ZOO_FILES = ("mean.npy", "pca_proj_mat.npy", "pca_variances.npy")


@dataclass(frozen=True, eq=False)
class Pca:
    """A projection of C-dimensional descriptors.

    Attributes:
        mean: [C] float32.
        components: [D, C] float32, unit rows by falling variance; D <= C.
        variances: [D] float32, of the fitted descriptors along each row.
        provenance: what it was fitted on (JSON values).

    Raises:
        ValueError: shapes disagree or a number is not finite.
    """

    mean: np.ndarray
    components: np.ndarray
    variances: np.ndarray
    provenance: Dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("mean", "components", "variances"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float32))
            if not np.isfinite(getattr(self, name)).all():
                raise ValueError(f"{name} holds a number that is not finite")
        shapes = self.mean.shape, self.components.shape, self.variances.shape
        if self.components.ndim != 2 or shapes != (shapes[1][1:], shapes[1], shapes[1][:1]):
            raise ValueError("mean {}, components {}, variances {} are not [C], [D, C], [D]".format(*shapes))

    @property
    def identity(self) -> str:
        """SHA-256 of the numbers, in hex: equal for a file and its copy, whatever their names."""
        arrays = (self.mean, self.components, self.variances)
        return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def l2_normalise(vectors: np.ndarray) -> np.ndarray:
    """Rows of unit L2 norm (zero rows stay zero), float32 or float64 as given."""
    squares = np.square(vectors).sum(axis=1, keepdims=True)
    return vectors / np.sqrt(np.maximum(squares, EPSILON))


def apply_pca(vectors: np.ndarray, pca: Pca, dim: int, use_whitening: bool = False) -> np.ndarray:
    """First ``dim`` coordinates [N, dim] of the rows [N, C], divided by their standard deviations if whitened.

    Raises:
        UserError: the PCA has fewer than ``dim`` components, or belongs to descriptors of another length.
    """
    if vectors.shape[1] != len(pca.mean):
        raise UserError(f"the PCA is for descriptors of {len(pca.mean)} numbers, these have {vectors.shape[1]}")
    if dim > len(pca.components):
        raise UserError(f"the PCA keeps {len(pca.components)} dimensions; --pca_dim {dim} asks for more")
    projected = (vectors - pca.mean) @ pca.components[:dim].T
    return projected / np.sqrt(np.maximum(pca.variances[:dim], EPSILON)) if use_whitening else projected


def project(raw: np.ndarray, pca: Pca, dim: int, use_whitening: bool = False) -> np.ndarray:
    """Raw descriptors [N, C] -> [N, dim] float32 of unit norm: L2, PCA, L2 (reference TF DELF; errors of apply_pca)."""
    raw = np.asarray(raw, dtype=np.float32)
    return l2_normalise(apply_pca(l2_normalise(raw), pca, dim, use_whitening)).astype(np.float32)


def fit_pca(batches: Iterable[np.ndarray], dim: int, provenance: Dict[str, Any]) -> Pca:
    """Fit on descriptors that arrive in batches [N, C]; they are L2-normalised first, as ``project`` does.

    Sums run in double precision around the mean of the first batch, so memory is one batch and a C x C matrix. Each
    component's number of largest magnitude is positive, which makes the result unique.

    Raises:
        UserError: no more than ``dim`` descriptors, or ``dim`` above C.
    """
    count, origin, total, products = 0, None, None, None
    for batch in batches:
        if not len(batch):
            continue
        rows = l2_normalise(np.asarray(batch, dtype=np.float64))
        if origin is None:
            origin = rows.mean(axis=0)
            total, products = np.zeros_like(origin), np.zeros((len(origin), len(origin)))
        rows -= origin
        count, total, products = count + len(rows), total + rows.sum(axis=0), products + rows.T @ rows
    if count <= dim:
        raise UserError(f"{count} descriptors are too few for a PCA of {dim} dimensions: extract more photos")
    if dim > len(origin):
        raise UserError(f"--dim is {dim}; these descriptors have {len(origin)} numbers")
    shift = total / count
    values, vectors = np.linalg.eigh(products / count - np.outer(shift, shift))
    components = vectors[:, ::-1].T[:dim]
    largest = np.abs(components).argmax(axis=1)
    components = components * np.sign(components[np.arange(dim), largest])[:, None]
    return Pca(origin + shift, components, np.maximum(values[::-1][:dim], 0), provenance)


def save_pca(path: PathLike, pca: Pca) -> None:
    """Write ``mean``, ``components``, ``variances`` and ``provenance`` (JSON text) to an .npz file, atomically."""
    arrays = {"mean": pca.mean, "components": pca.components, "variances": pca.variances}
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        np.savez(stream, provenance=np.array(json.dumps(pca.provenance)), **arrays)


def load_pca(path: PathLike) -> Pca:
    """Load a file of ``save_pca``, or the model zoo's folder of mean.npy, pca_proj_mat.npy and pca_variances.npy.

    Raises:
        UserError: nothing there, or not a PCA.
    """
    try:
        return Pca(*(_load_zoo_folder(Path(path)) if Path(path).is_dir() else _load_npz(Path(path))))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        expected = "an .npz made with tools/learn_pca.py, or a folder with " + ", ".join(_ZOO_FILES)
        raise UserError(f"{path}: not a PCA ({error}); give {expected}") from error


def _load_npz(path: Path) -> Tuple[np.ndarray, np.ndarray, np.ndarray, Dict[str, Any]]:
    stored = np.load(path, allow_pickle=False)
    if isinstance(stored, np.ndarray):
        raise ValueError("it holds a single array")
    with stored:
        provenance = json.loads(str(stored["provenance"])) if "provenance" in stored else {}
        return stored["mean"], stored["components"], stored["variances"], provenance


def _load_zoo_folder(folder: Path) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    mean, components, variances = (np.load(folder / name, allow_pickle=False) for name in _ZOO_FILES)
    return mean.reshape(-1), components, variances.reshape(-1)[: len(components)]
