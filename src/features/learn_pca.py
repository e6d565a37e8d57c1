"""Fit a PCA on raw descriptors: those of a feature file, or of photos as they are extracted."""

import dataclasses
import logging
from typing import Optional, Sequence

from tqdm import tqdm

from ..artifacts import PathLike, is_made
from ..config import ExtractionConfig, ModelConfig, RunConfig
from ..errors import UserError
from ..records import Photo, Provenance
from .encoder import Encoded, LoadNetwork, encode_photos, make_encoder
from .extraction import describe
from .feature_file import FeatureFile
from .pca import PcaFit, load_pca, save_pca

logger = logging.getLogger(__name__)


def learn_pca(features: PathLike, output: PathLike, dim: int, overwrite: bool = False) -> None:
    """Fit ``dim`` components on every descriptor of ``features`` and write them to ``output`` (.npz).

    A PCA of the same features and dimensions is kept.

    Raises:
        UserError: the features are projected already or too few, or another PCA stands at ``output``.
    """
    with FeatureFile(features, "features") as source:
        if source.provenance.encoder.get("pca"):
            raise UserError(f"{features}: its descriptors went through a PCA already; extract with `pca_path` ''")
        wanted = _with_dim(source.provenance, dim)
        if _is_fitted(output, wanted, overwrite):
            return
        fit = PcaFit()
        for name in tqdm(source.names, desc="fit", unit="photo", disable=None):
            fit.add(source.read(name).descriptors)
    _finish(fit, output, dim, wanted)


def learn_pca_from_photos(
    photos: Sequence[Photo],
    output: PathLike,
    dim: int,
    run: RunConfig,
    model: ModelConfig,
    extraction: ExtractionConfig,
    load_network: Optional[LoadNetwork] = None,
) -> None:
    """As ``learn_pca``, on the descriptors of ``photos``, which are extracted one by one and not kept.

    Args:
        photos: to learn from.
        output, dim: as of ``learn_pca``.
        run, model, extraction: sections of the recipe; a PCA in it is left aside.
        load_network: makes the network; None = that of the engines.

    Raises:
        UserError: also an unusable checkpoint.
    """
    encoder = make_encoder(run, model, extraction.replace(pca_path=""), load_network)
    if encoder.provenance.encoder.get("pca"):
        raise UserError(f"{model.checkpoint_path}: carries a PCA already; give the checkpoint it was exported from")
    wanted = _with_dim(describe(encoder, photos), dim)
    if _is_fitted(output, wanted, run.overwrite):
        return
    fit = PcaFit()
    with tqdm(total=len(photos), desc="fit", unit="photo", disable=None) as bar:

        def deliver(_: Photo, encoded: Encoded) -> None:
            fit.add(encoded.local.descriptors)
            bar.update()

        encode_photos(encoder.load(), photos, deliver, run.num_workers)
    _finish(fit, output, dim, wanted)


def _with_dim(provenance: Provenance, dim: int) -> Provenance:
    return dataclasses.replace(provenance, settings={**provenance.settings, "dim": dim}, notes={})


def _is_fitted(output: PathLike, wanted: Provenance, overwrite: bool) -> bool:
    return is_made(output, wanted, lambda path: load_pca(path).provenance, overwrite)


def _finish(fit: PcaFit, output: PathLike, dim: int, provenance: Provenance) -> None:
    notes = {"num_photos": fit.batches, "num_descriptors": fit.count}
    save_pca(output, fit.finish(dim, dataclasses.replace(provenance, notes=notes)))
    logger.info("%s: %d dimensions from %d descriptors of %d photos", output, dim, fit.count, fit.batches)
