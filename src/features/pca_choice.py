"""Which PCA an extraction uses: the one asked for, if it belongs to the network."""

import logging
from typing import Optional

from ..artifacts import PathLike
from ..config import Config
from ..engines.identity import embedded_pca
from ..errors import UserError
from .extractor import RAW_DIMENSION
from .pca import Pca, load_pca

logger = logging.getLogger(__name__)


def fitting_pca(config: Config, checkpoint_sha256: str) -> Optional[Pca]:
    """The PCA for features of the checkpoint with this SHA-256 (hex): ``config.pca_path``, or the one that an export
    carries; None without either.

    Raises:
        UserError: not a PCA, too small for ``config.pca_dim``, or fitted on another checkpoint and not forced.
    """
    path = config.pca_path or config.checkpoint_path
    pca = load_pca(path) if config.pca_path else embedded_pca(path)
    if pca is None:
        return None
    if len(pca.mean) != RAW_DIMENSION:
        raise UserError(f"{path}: a PCA of {len(pca.mean)} numbers; the network has {RAW_DIMENSION}")
    if config.pca_dim > len(pca.components):
        raise UserError(f"{path}: keeps {len(pca.components)} dimensions, `pca_dim` is {config.pca_dim}")
    require_same_checkpoint(pca, path, checkpoint_sha256, config.force_pca)
    return pca


def require_same_checkpoint(pca: Pca, path: PathLike, checkpoint_sha256: str, force: bool) -> None:
    """UserError when ``pca`` was fitted on another checkpoint, a warning when that is forced or not known."""
    origin = pca.provenance.get("checkpoint_sha256")
    if origin == checkpoint_sha256:
        return
    if not origin:
        logger.warning("%s: does not say which checkpoint it was fitted on; a foreign PCA spoils matching", path)
        return
    fact = f"{path}: fitted on checkpoint {origin[:12]}..., not on this one ({checkpoint_sha256[:12]}...)"
    if not force:
        raise UserError(f"{fact}; fit one with tools/learn_pca.py, or give `force_pca`")
    logger.warning("%s; used all the same, as `force_pca` asks", fact)
