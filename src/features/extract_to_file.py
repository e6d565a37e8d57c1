"""From photos to a finished feature file: skip, resume, extract, merge, report."""

import logging
from typing import Any, Callable, Dict, Optional, Sequence

from src.config import Config, digest, section_values
from src.errors import UserError
from src.features import feature_parts
from src.features.extractor import RAW_DIMENSION, Network
from src.features.feature_file import FeatureFile
from src.features.pca import Pca, load_pca
from src.features.photos import Photo, photos_digest
from src.features.workers import Failures, Job, extract_photos
from src.files import PathLike, require_file, sha256_of

logger = logging.getLogger(__name__)

_SHOWN_FAILURES = 20


def load_delf(config: Config, device_id: int) -> Network:
    """The network of ``config.checkpoint_path``; imports MindSpore."""
    from src.model.inference import load_network

    return load_network(config, device_id)


def extract_to_file(
    photos: Sequence[Photo],
    protocol: str,
    output: PathLike,
    config: Config,
    devices: Sequence[int] = (0,),
    load_network: Callable[[Config, int], Network] = load_delf,
) -> None:
    """Extract ``photos`` into the feature file ``output``; a finished one is kept, a killed run goes on.

    Args:
        photos: what to extract.
        protocol: that chose the photos' boxes, '' = none; recorded.
        output: feature file.
        config: recipe; its run, model and extraction sections are used.
        devices: device ids, one worker each.
        load_network: makes the network of a worker; a module's function when there are several.

    Raises:
        UserError: unusable checkpoint or PCA, a file of other settings at ``output``, no readable photo.
    """
    checkpoint_sha256 = sha256_of(require_file(config.checkpoint_path, "--checkpoint_path"))
    pca = load_fitting_pca(config, checkpoint_sha256) if config.pca_path else None
    attributes = describe(config, checkpoint_sha256, pca, photos, protocol)
    if feature_parts.is_made(output, attributes, config.overwrite):
        with FeatureFile(output) as made:
            logger.info("%s: already made, %d of %d photos", output, len(made), len(photos))
        return
    folder = feature_parts.open_parts(output, attributes, config.overwrite)
    finished = feature_parts.finished_photos(folder)
    missing = [photo for photo in photos if photo.name not in finished]
    if len(missing) < len(photos):
        logger.info("%d of %d photos were finished by an earlier run", len(photos) - len(missing), len(photos))
    failures = extract_photos(missing, Job(config, pca, folder, load_network), devices) if missing else {}
    if len(failures) == len(photos):
        raise UserError(f"none of the {len(photos)} photos can be read; the first: {next(iter(failures.values()))}")
    feature_parts.merge_parts(folder, [photo.name for photo in photos], output, attributes)
    _report(failures)
    logger.info("%s: %d photos", output, len(photos) - len(failures))


def load_fitting_pca(config: Config, checkpoint_sha256: str) -> Pca:
    """The PCA of ``config.pca_path``; UserError when it is too small or was fitted on another checkpoint."""
    pca = load_pca(config.pca_path)
    if len(pca.mean) != RAW_DIMENSION:
        raise UserError(f"{config.pca_path}: a PCA of {len(pca.mean)} numbers; the network has {RAW_DIMENSION}")
    if config.pca_dim > len(pca.components):
        raise UserError(f"{config.pca_path}: keeps {len(pca.components)} dimensions, --pca_dim is {config.pca_dim}")
    origin = pca.provenance.get("checkpoint_sha256")
    if origin is None:
        logger.warning(
            "%s: does not say which checkpoint it was fitted on; a foreign PCA spoils matching", config.pca_path
        )
    elif origin != checkpoint_sha256:
        raise UserError(
            f"{config.pca_path}: fitted on checkpoint {origin[:12]}..., not on this one "
            f"({checkpoint_sha256[:12]}...); fit one with tools/learn_pca.py"
        )
    return pca


def describe(
    config: Config, checkpoint_sha256: str, pca: Optional[Pca], photos: Sequence[Photo], protocol: str
) -> Dict[str, Any]:
    """Attributes of the feature file: everything that its numbers depend on."""
    settings = section_values(config, "extraction")
    for name in ("pca_path",) if pca else ("pca_path", "pca_dim", "use_whitening"):
        del settings[name]
    settings["image_scales"] = list(config.image_scales)
    settings.update(checkpoint_sha256=checkpoint_sha256, pca=pca.identity if pca else "", protocol=protocol)
    return {**settings, "config_hash": digest(settings), "photos": photos_digest(photos)}


def _report(failures: Failures) -> None:
    for reason in list(failures.values())[:_SHOWN_FAILURES]:
        logger.warning("left out: %s", reason)
    if failures:
        logger.warning("%d photos could not be read and were left out", len(failures))
