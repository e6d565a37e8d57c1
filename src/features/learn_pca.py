"""Fit a PCA on raw descriptors: those of a feature file, or of photos as they are extracted."""

import logging
from pathlib import Path
from typing import Any, Callable, Dict, Sequence

from tqdm import tqdm

from ..artifacts import PathLike
from ..config import Config
from ..engines.identity import embedded_pca, weights_sha256
from ..errors import UserError
from ..records import LocalFeatures
from .delf_extractor import DelfExtractor, load_delf
from .extract_to_file import describe
from .extractor import Network
from .feature_file import FeatureFile
from .pca import PcaFit, load_pca, save_pca
from .photos import Photo
from .resolve import resolve

logger = logging.getLogger(__name__)


def learn_pca(features: PathLike, output: PathLike, dim: int, overwrite: bool = False) -> None:
    """Fit ``dim`` components on every descriptor of ``features`` and write them to ``output`` (.npz).

    A PCA of the same features and dimensions is kept.

    Raises:
        UserError: the features are projected already or too few, or another PCA stands at ``output``.
    """
    with FeatureFile(features, "features") as source:
        if source.attributes["pca"]:
            raise UserError(f"{features}: its descriptors went through a PCA already; extract with `pca_path` ''")
        origin = _origin(source.attributes)
        if _is_made(Path(output), {**origin, "dim": dim}, overwrite):
            return
        fit = PcaFit()
        for name in tqdm(source.names, desc="fit", unit="photo", disable=None):
            fit.add(source.read(name).descriptors)
    _finish(fit, Path(output), {**origin, "dim": dim})


def learn_pca_from_photos(
    photos: Sequence[Photo],
    output: PathLike,
    dim: int,
    config: Config,
    load_network: Callable[[Config, int], Network] = load_delf,
) -> None:
    """As ``learn_pca``, on the descriptors of ``photos``, which are extracted one by one and not kept.

    Raises:
        UserError: also an unusable checkpoint.
    """
    checkpoint_sha256 = weights_sha256(config.checkpoint_path)
    if embedded_pca(config.checkpoint_path) is not None:
        raise UserError(f"{config.checkpoint_path}: carries a PCA already; give the checkpoint it was exported from")
    config = resolve(config.replace(pca_path=""), checkpoint_sha256)
    origin = _origin(describe(config, checkpoint_sha256, None, photos))
    if _is_made(Path(output), {**origin, "dim": dim}, config.overwrite):
        return
    fit = PcaFit()
    with tqdm(total=len(photos), desc="fit", unit="photo", disable=None) as bar:

        def deliver(_: Photo, features: LocalFeatures) -> None:
            fit.add(features.descriptors)
            bar.update()

        DelfExtractor.from_config(config, load_network).extract_photos(photos, deliver, config.num_workers)
    _finish(fit, Path(output), {**origin, "dim": dim})


def _origin(attributes: Dict[str, Any]) -> Dict[str, Any]:
    """What a PCA's provenance keeps of the attributes of a feature file."""
    return {name: attributes[name] for name in ("checkpoint_sha256", "config_hash", "photos")}


def _finish(fit: PcaFit, output: Path, wanted: Dict[str, Any]) -> None:
    provenance = {**wanted, "num_photos": fit.batches, "num_descriptors": fit.count}
    save_pca(output, fit.finish(wanted["dim"], provenance))
    logger.info("%s: %d dimensions from %d descriptors of %d photos", output, wanted["dim"], fit.count, fit.batches)


def _is_made(output: Path, wanted: Dict[str, Any], overwrite: bool) -> bool:
    if overwrite or not output.exists():
        return False
    provenance = load_pca(output).provenance
    if {name: provenance.get(name) for name in wanted} != wanted:
        raise UserError(f"{output}: a PCA of other features or dimensions; give `overwrite` to replace it")
    logger.info("%s: already made", output)
    return True
