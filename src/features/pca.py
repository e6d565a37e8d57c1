"""PCA of descriptors: fit, project, save, load, and the choice of the one that belongs to a network."""

import base64
import hashlib
import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional, Set, Tuple

import numpy as np

from ..arrays import read_arrays
from ..artifacts import PathLike, atomic_stream, require_file
from ..config import ExtractionConfig
from ..engines import export_texts
from ..errors import UserError, reading
from ..records import Provenance
from .delf_format import parse_datum
from .local_layer import is_how

logger = logging.getLogger(__name__)

PCA_FILE = "pca.npz"  # beside a checkpoint
EPSILON = 1e-12  # of the squared norm, as tf.math.l2_normalize
_FOLDER_FILES = ("mean", "pca_proj_mat", "pca_variances")  # .npy: model zoo; .datum: TF DELF
_ARRAYS = ("mean", "components", "variances")
_EXPECTED = f"an .npz made with the command learn_pca, or a folder with {', '.join(f'{n}.npy' for n in _FOLDER_FILES)}"
_LARGEST_FILE = 2**26  # bytes of an array of a folder; 2048 x 2048 in double precision are half of it
_ROUNDING = 1e-12  # more than the variance that float32 alone gives to equal vectors of unit norm
_LEAST_RATIO = 2  # of different descriptors to the dimensions fitted on them
_EXPORT_TEXT = "pca"  # name of the text in an exported network that holds its PCA


@dataclass(frozen=True, eq=False)
class Pca:
    """A projection of C-dimensional descriptors.

    Attributes:
        mean: [C] float32.
        components: [D, C] float32, unit rows by falling variance; D <= C.
        variances: [D] float32, of the fitted descriptors along each row.
        provenance: what it was fitted on.

    Raises:
        ValueError: shapes disagree, or an array holds no numbers, or one that is not finite.
    """

    mean: np.ndarray
    components: np.ndarray
    variances: np.ndarray
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        for name in _ARRAYS:
            if np.asarray(getattr(self, name)).dtype.kind not in "fiu":
                raise ValueError(f"{name} holds no numbers")
            with np.errstate(over="ignore"):
                object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float32))
            if not np.isfinite(getattr(self, name)).all():
                raise ValueError(f"{name} holds a number that is not finite")
        shapes = self.mean.shape, self.components.shape, self.variances.shape
        if self.components.ndim != 2 or shapes != (shapes[1][1:], shapes[1], shapes[1][:1]):
            raise ValueError("mean {}, components {}, variances {} are not [C], [D, C], [D]".format(*shapes))

    def require_principal(self) -> None:
        """ValueError unless the components are orthonormal and their variances fall, as those of every PCA."""
        products = self.components @ self.components.T
        if not np.allclose(products, np.eye(len(products)), rtol=0, atol=1e-3):
            raise ValueError("the rows of its components are not orthonormal")
        if not len(self.variances) or self.variances[-1] < 0 or self.variances[0] <= 0:
            raise ValueError("its variances are not above 0")
        if (np.diff(self.variances) > 1e-5 * self.variances[0]).any():
            raise ValueError("its variances do not fall")

    @property
    def identity(self) -> str:
        """SHA-256 of the numbers, in hex: equal for a file and its copy, whatever their names."""
        return hashlib.sha256(b"".join(getattr(self, name).tobytes() for name in _ARRAYS)).hexdigest()


def l2_normalise(vectors: np.ndarray) -> np.ndarray:
    """Rows of unit L2 norm (zero rows stay zero), float32 or float64 as given."""
    squares = np.square(vectors).sum(axis=1, keepdims=True)
    return vectors / np.sqrt(np.maximum(squares, EPSILON))


def apply_pca(vectors: np.ndarray, pca: Pca, dim: int, use_whitening: bool = False) -> np.ndarray:
    """First ``dim`` coordinates [N, dim] of the rows [N, C], divided by their standard deviations if whitened.

    Raises:
        UserError: the PCA has fewer than ``dim`` components, or belongs to descriptors of other dimensions.
    """
    if vectors.shape[1] != len(pca.mean):
        raise UserError(f"the PCA is for descriptors of {len(pca.mean)} numbers, these have {vectors.shape[1]}")
    if dim > len(pca.components):
        raise UserError(f"the PCA keeps {len(pca.components)} dimensions; `pca_dim` {dim} asks for more")
    projected = (vectors - pca.mean) @ pca.components[:dim].T
    return projected / np.sqrt(np.maximum(pca.variances[:dim], EPSILON)) if use_whitening else projected


def project(raw: np.ndarray, pca: Pca, dim: int, use_whitening: bool = False) -> np.ndarray:
    """Raw descriptors [N, C] -> [N, dim] float32 of unit norm: L2, PCA, L2 (reference TF DELF; errors of apply_pca)."""
    raw = np.asarray(raw, dtype=np.float32)
    return l2_normalise(apply_pca(l2_normalise(raw), pca, dim, use_whitening)).astype(np.float32)


class PcaFit:
    """Fits a PCA on descriptors that arrive in batches; they are L2-normalised first, as ``project`` does.

    Sums run in double precision around the mean of the first batch, so memory is one batch and a C x C matrix.

    Attributes:
        count: descriptors so far.
        batches: batches so far, empty ones included.
    """

    def __init__(self) -> None:
        self.count, self.batches = 0, 0
        self._different: Set[int] = set()
        self._origin = self._total = self._products = np.zeros(0)

    def add(self, descriptors: np.ndarray) -> None:
        """Take a batch [N, C]; N may be 0. UserError when C is another than before."""
        self.batches += 1
        if not len(descriptors):
            return
        rows = l2_normalise(np.asarray(descriptors, dtype=np.float64))
        if self.count and rows.shape[1] != len(self._origin):
            fact = f"descriptors of {rows.shape[1]} numbers beside others of {len(self._origin)}"
            raise UserError(f"{fact}; fit a PCA on those of one network")
        if not self.count:
            self._origin = rows.mean(axis=0)
            self._total, self._products = np.zeros_like(self._origin), np.zeros((rows.shape[1], rows.shape[1]))
        if len(self._different) < _LEAST_RATIO * rows.shape[1]:
            self._different.update(hash(row.tobytes()) for row in rows)
        rows -= self._origin
        self.count += len(rows)
        self._total += rows.sum(axis=0)
        self._products += rows.T @ rows

    def finish(self, dim: int, provenance: Provenance) -> Pca:
        """The first ``dim`` components. Each one's number of largest magnitude is positive, so the result is unique.

        Raises:
            UserError: fewer than twice ``dim`` different descriptors, ``dim`` above C, or descriptors that vary in
                fewer than ``dim`` directions.
        """
        fix = "extract more photos, or keep fewer dimensions (`pca_dim`)"
        if len(self._different) < _LEAST_RATIO * dim:
            numbers = f"{len(self._different)} of them differ, {_LEAST_RATIO * dim} must"
            raise UserError(f"{self.count} descriptors are too few for a PCA of {dim} dimensions ({numbers}): {fix}")
        if dim > len(self._origin):
            raise UserError(f"`pca_dim` is {dim}; these descriptors have {len(self._origin)} numbers")
        shift = self._total / self.count
        values, vectors = np.linalg.eigh(self._products / self.count - np.outer(shift, shift))
        rank = int((values > max(values[-1] * len(values) * np.finfo(float).eps, _ROUNDING)).sum())
        if rank < dim:
            raise UserError(f"the descriptors vary in {rank} directions only, too few for {dim} dimensions: {fix}")
        components = vectors[:, ::-1].T[:dim]
        largest = np.abs(components).argmax(axis=1)
        components = components * np.sign(components[np.arange(dim), largest])[:, None]
        return Pca(self._origin + shift, components, np.maximum(values[::-1][:dim], 0), provenance)


def save_pca(path: PathLike, pca: Pca) -> None:
    """Write ``mean``, ``components``, ``variances`` and ``provenance`` (JSON text) to an .npz file, atomically."""
    arrays = {name: getattr(pca, name) for name in _ARRAYS}
    with atomic_stream(path) as stream:
        np.savez(stream, provenance=np.array(json.dumps(pca.provenance.as_json())), **arrays)


def load_pca(path: PathLike) -> Pca:
    """Load a file of ``save_pca``, or a folder with mean, pca_proj_mat and pca_variances.

    In the folder they are .npy files as the model zoo has them, or .datum files as the reference.

    Raises:
        UserError: nothing there, or not a PCA, or a damaged one.
    """
    path, fix = Path(path), f"give {_EXPECTED}"
    is_folder = path.is_dir()
    with reading(path if is_folder else require_file(path, "pca_path"), fix):
        try:
            pca = Pca(*(_load_folder(path) if is_folder else _load_npz(path, fix)))
            pca.require_principal()
            return pca
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"{path}: not a PCA ({error}); {fix}") from error


def _load_npz(path: Path, fix: str) -> Tuple[np.ndarray, np.ndarray, np.ndarray, Provenance]:
    stored = read_arrays(path, fix)
    mean, components, variances = (stored[name] for name in _ARRAYS)
    provenance = json.loads(str(stored["provenance"])) if "provenance" in stored else {}
    return mean, components, variances, _provenance(provenance)


def _provenance(stored: Any) -> Provenance:
    """What a PCA file or an export tells of a PCA's origin; files of version 0.1 tell the checkpoint alone."""
    if isinstance(stored, dict) and "weights" not in stored:
        return Provenance(weights=str(stored.get("checkpoint_sha256", "")))
    return Provenance.from_json(stored)


def _load_folder(folder: Path) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    suffix = ".datum" if (folder / f"{_FOLDER_FILES[0]}.datum").exists() else ".npy"
    mean, components, variances = (_load_array(folder / f"{name}{suffix}") for name in _FOLDER_FILES)
    return mean.reshape(-1), components, variances.reshape(-1)[: len(components)]


def _load_array(path: Path) -> np.ndarray:
    if require_file(path, "pca_path").stat().st_size > _LARGEST_FILE:
        raise ValueError(f"{path.name} is larger than any")
    if path.suffix == ".datum":
        return parse_datum(path.read_bytes())
    return np.load(path, mmap_mode="r", allow_pickle=False)  # mapped: nothing is allocated for a shape that lies


def pca_as_text(pca: Pca) -> str:
    """The text that carries a PCA in an exported network, under the name "pca"."""
    arrays = {name: base64.b64encode(getattr(pca, name).astype("<f4").tobytes()).decode() for name in _ARRAYS}
    return json.dumps({**arrays, "provenance": pca.provenance.as_json()})


def pca_from_text(text: str) -> Pca:
    """The PCA of ``pca_as_text``; ValueError when the text is none."""
    try:
        stored = json.loads(text)
        mean, components, variances = (np.frombuffer(base64.b64decode(stored[name]), "<f4") for name in _ARRAYS)
        components = components.reshape(len(variances), len(mean))
        pca = Pca(mean, components, variances, _provenance(stored["provenance"]))
        pca.require_principal()
        return pca
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"no PCA ({error})") from error


def carried_pca(checkpoint_path: PathLike) -> Optional[Pca]:
    """The PCA that an exported network carries; None when it carries none, or is a checkpoint.

    Raises:
        UserError: no such file, or a damaged export.
    """
    text = export_texts(checkpoint_path).get(_EXPORT_TEXT)
    try:
        return None if text is None else pca_from_text(text)
    except ValueError as error:
        raise UserError(f"{checkpoint_path}: its PCA is damaged ({error}); export it again") from error


def pca_for(extraction: ExtractionConfig, checkpoint_path: PathLike, weights: str) -> Optional[str]:
    """Which PCA a command uses where it may choose: the ``pca_path`` for its extraction.

    It is the one given; else '' where the network's export carries one, which extraction finds, or where the weights
    are HOW's, which whiten; else ``pca.npz`` beside the checkpoint, if it was fitted on this checkpoint.

    Args:
        extraction: its pca_path is used.
        checkpoint_path: the network's file.
        weights: SHA-256 of its weights, hex.

    Returns:
        None where there is no such PCA.

    Raises:
        UserError: no such network, a damaged export, or a file beside the checkpoint that is no PCA.
    """
    if extraction.pca_path or carried_pca(checkpoint_path) is not None or is_how(str(checkpoint_path)):
        return extraction.pca_path
    beside = Path(checkpoint_path).parent / PCA_FILE
    if not beside.is_file():
        return None
    if load_pca(beside).provenance.weights != weights:
        logger.info("%s: left aside, as it was not fitted on this checkpoint", beside)
        return None
    logger.info("%s: this PCA is used", beside)
    return str(beside)


def fitting_pca(extraction: ExtractionConfig, checkpoint_path: PathLike, weights: str, dimension: int) -> Optional[Pca]:
    """The PCA for a network's descriptors: that of ``extraction``, else the one that its export carries, else None.

    Args:
        extraction: its keys pca_path, pca_dim and force_pca are used.
        checkpoint_path: the network's file.
        weights: SHA-256 of its weights, hex.
        dimension: of its raw descriptors.

    Raises:
        UserError: not a PCA, too small for ``pca_dim``, or fitted on another network and not forced.
    """
    path = extraction.pca_path or checkpoint_path
    pca = load_pca(path) if extraction.pca_path else carried_pca(path)
    if pca is None:
        return None
    if len(pca.mean) != dimension:
        raise UserError(f"{path}: a PCA of {len(pca.mean)} numbers; the network has {dimension}")
    if extraction.pca_dim > len(pca.components):
        fact = f"keeps {len(pca.components)} dimensions, `pca_dim` is {extraction.pca_dim}"
        raise UserError(f"{path}: {fact}; give `pca_dim` {len(pca.components)}, or another PCA")
    require_same_weights(pca, path, weights, extraction.force_pca)
    return pca


def require_same_weights(pca: Pca, path: PathLike, weights: str, force: bool) -> None:
    """UserError when ``pca`` was fitted on another network, a warning when that is forced or not known."""
    origin = pca.provenance.weights
    if origin == weights:
        return
    if not origin:
        logger.warning("%s: does not say which checkpoint it was fitted on; a foreign PCA spoils matching", path)
        return
    fact = f"{path}: fitted on checkpoint {origin[:12]}..., not on this one ({weights[:12]}...)"
    if not force:
        raise UserError(f"{fact}; fit one with the command learn_pca, or give `force_pca`")
    logger.warning("%s; used all the same, as `force_pca` asks", fact)
