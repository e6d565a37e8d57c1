"""Fit a PCA on the raw descriptors of a feature file."""

import logging
from pathlib import Path
from typing import Any, Dict

from tqdm import tqdm

from src.errors import UserError
from src.features.feature_file import FeatureFile
from src.features.pca import fit_pca, load_pca, save_pca
from src.files import PathLike

logger = logging.getLogger(__name__)


def learn_pca(features: PathLike, output: PathLike, dim: int, overwrite: bool = False) -> None:
    """Fit ``dim`` components on every descriptor of ``features`` and write them to ``output`` (.npz).

    A PCA of the same features and dimensions is kept.

    Raises:
        UserError: the features are projected already or too few, or another PCA stands at ``output``.
    """
    with FeatureFile(features, "--features") as source:
        if source.attributes["pca"]:
            raise UserError(f"{features}: its descriptors went through a PCA already; extract with --pca_path ''")
        provenance = {
            "checkpoint_sha256": source.attributes["checkpoint_sha256"],
            "config_hash": source.attributes["config_hash"],
            "photos": source.attributes["photos"],
            "num_photos": len(source),
            "num_descriptors": sum(source.shape(name)[0] for name in source.names),
            "dim": dim,
        }
        if _is_made(Path(output), provenance, overwrite):
            return
        names = tqdm(source.names, desc="fit", unit="photo")
        pca = fit_pca((source.read(name).descriptors for name in names), dim, provenance)
    save_pca(output, pca)
    logger.info("%s: %d dimensions from %d descriptors", output, dim, provenance["num_descriptors"])


def _is_made(output: Path, provenance: Dict[str, Any], overwrite: bool) -> bool:
    if overwrite or not output.exists():
        return False
    if load_pca(output).provenance != provenance:
        raise UserError(f"{output}: a PCA of other features or dimensions; give --overwrite to replace it")
    logger.info("%s: already made", output)
    return True
