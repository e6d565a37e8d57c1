"""Make the collection of a folder of one's own photos, or bring it up to date."""

import logging
import os
import shutil
from pathlib import Path
from typing import Any, Callable, Dict, Sequence, Set

from ..artifacts import PathLike
from ..config import Config, section_values
from ..engines.identity import embedded_pca, weights_sha256
from ..errors import UserError
from ..features.delf_extractor import load_delf
from ..features.extract_to_file import extract_to_file
from ..features.extractor import Network
from ..features.feature_file import FeatureFile
from ..features.learn_pca import learn_pca_from_photos
from ..features.pca import load_pca, save_pca
from ..features.photos import Photo, photos_of_folder
from ..features.score_threshold import saved_threshold
from ..images import load_image
from .build import add_to_index, build_index
from .collection import (
    FORMAT_VERSION,
    INDEX_FOLDER,
    PCA_FILE,
    SETTINGS_FILE,
    Collection,
    load_collection,
)

_PCA_PHOTOS = 300  # a PCA is fitted on; some 300,000 descriptors

logger = logging.getLogger(__name__)


def build_collection(
    images_path: PathLike,
    output: PathLike,
    config: Config,
    devices: Sequence[int] = (0,),
    load_network: Callable[[Config, int], Network] = load_delf,
) -> Collection:
    """Make the collection of a folder of photos, go on with a half-made one, or add the photos that are new.

    Photos that could not be read are not tried again. Photos that left the folder stay in the index.

    Args:
        images_path: folder of photos, searched with its sub-folders.
        output: folder to make.
        config: recipe; its run, model and extraction sections and ``index_type`` are used.
        devices: device ids, one extraction worker each.
        load_network: makes the network of a worker.

    Raises:
        UserError: no photo, an unusable checkpoint or PCA, or something else stands at ``output``.
    """
    photos = photos_of_folder(images_path)
    collection = _open(Path(output), _describe(images_path, config), config.overwrite)
    _provide_pca(collection, photos, config, load_network)
    _extract_new(collection, photos, collection.extraction(config), devices, load_network)
    collection.save()  # where photos and checkpoint are now
    if collection.index.exists():
        add_to_index(collection.feature_files(), collection.index)
    else:
        build_index(collection.feature_files(), collection.index, config.index_type, config.seed)
    return collection


def _describe(images_path: PathLike, config: Config) -> Dict[str, Any]:
    """What is recorded: where photos and checkpoint are, and all that features and index depend on."""
    checkpoint_sha256 = weights_sha256(config.checkpoint_path)
    extraction = {**section_values(config, "extraction"), "precision": config.precision}
    del extraction["pca_path"]  # the one is copied, the other a matter of the machine
    extraction["image_scales"] = list(config.image_scales)
    if config.score_threshold is None:  # settled now: queries are to be extracted alike wherever the checkpoint is
        extraction["score_threshold"] = saved_threshold(config.checkpoint_path, checkpoint_sha256) or 0.0
    return {
        "format_version": FORMAT_VERSION,
        "images_path": os.path.abspath(images_path),
        "checkpoint_path": os.path.abspath(config.checkpoint_path),
        "checkpoint_sha256": checkpoint_sha256,
        "pca": load_pca(config.pca_path).identity if config.pca_path else "",  # '' = chosen or fitted
        "extraction": extraction,
        "index_type": config.index_type,
        "left_out": [],  # photos that cannot be read
        "begun": [],  # photos that are being extracted
    }


def _open(folder: Path, settings: Dict[str, Any], overwrite: bool) -> Collection:
    """The collection at ``folder``, made if there is none; paths in ``settings`` replace older ones."""
    made = (folder / SETTINGS_FILE).exists()
    if not made and folder.exists() and (folder.is_file() or any(folder.iterdir())):
        raise UserError(f"{folder}: stands there and is no photo index; give another `output`")
    if made and not overwrite:
        old = load_collection(folder).settings
        _require_same(folder, old, settings)
        return Collection(folder, {**settings, "left_out": old["left_out"], "begun": old["begun"]})
    for path in folder.glob("features-*.h5.parts"):
        shutil.rmtree(path)
    for path in [*folder.glob("features-*.h5"), folder / PCA_FILE]:
        path.unlink(missing_ok=True)
    shutil.rmtree(folder / INDEX_FOLDER, ignore_errors=True)
    collection = Collection(folder, settings)
    collection.save()
    return collection


def _require_same(folder: Path, old: Dict[str, Any], new: Dict[str, Any]) -> None:
    names = [name for name in ("checkpoint_sha256", "pca", "index_type") if old[name] != new[name]]
    names += [name for name, value in new["extraction"].items() if old["extraction"].get(name) != value]
    if names:
        reason = ", ".join(names)
        raise UserError(f"{folder}: made with other settings ({reason}); give the same options, or `overwrite`")


def _provide_pca(
    collection: Collection, photos: Sequence[Photo], config: Config, load_network: Callable[[Config, int], Network]
) -> None:
    """The PCA given, else that of the checkpoint, else one fitted on the photos; it then belongs to the collection."""
    output, sha256 = collection.folder / PCA_FILE, collection.settings["checkpoint_sha256"]
    if output.exists():
        return
    beside = Path(config.checkpoint_path).parent / PCA_FILE
    pca = load_pca(config.pca_path) if config.pca_path else embedded_pca(config.checkpoint_path)
    if pca is None and beside.exists() and load_pca(beside).provenance.get("checkpoint_sha256") == sha256:
        pca = load_pca(beside)
        logger.info("%s: this PCA is used", beside)
    if pca is not None:
        save_pca(output, pca)
        return
    sample = photos_of_folder(collection.images_path, _PCA_PHOTOS, config.seed)
    logger.info("fitting a PCA on %d of the %d photos", len(sample), len(photos))
    learn_pca_from_photos(sample, output, config.pca_dim, config, load_network)


def _extract_new(
    collection: Collection,
    photos: Sequence[Photo],
    config: Config,
    devices: Sequence[int],
    load_network: Callable[[Config, int], Network],
) -> None:
    """Extract the photos that are in no feature file yet into one of their own.

    Those that an interrupted run had begun with come first, by themselves, so that what it finished is used.
    """
    settings, config = collection.settings, config.replace(overwrite=False)
    known = _known_photos(collection, photos)
    new = [photo for photo in photos if photo.name not in known]
    begun = set(settings.get("begun", ()))
    batches = [photo for photo in new if photo.name in begun], [photo for photo in new if photo.name not in begun]
    for batch in filter(None, batches):
        settings["begun"] = [photo.name for photo in batch]
        collection.save()
        number = len(collection.feature_files()) + 1
        made: Set[str] = set()
        if number == 1 or any(map(_can_be_read, batch)):  # else there is nothing to make a file of
            output = collection.folder / f"features-{number:04d}.h5"
            extract_to_file(batch, "", output, config, devices, load_network)
            made = _names_in(output)
        settings["left_out"] += [photo.name for photo in batch if photo.name not in made]
        settings["begun"] = []
        collection.save()
    if not new:
        logger.info("%s: no new photos", collection.folder)


def _can_be_read(photo: Photo) -> bool:
    try:
        load_image(photo.path)
    except UserError as error:
        logger.warning("left out: %s", error)
        return False
    return True


def _names_in(features: Path) -> Set[str]:
    with FeatureFile(features) as made:
        return set(made.names)


def _known_photos(collection: Collection, photos: Sequence[Photo]) -> Set[str]:
    """Names of the photos that are extracted, or were left out.

    Raises:
        UserError: not one of the extracted ones is among ``photos``.
    """
    known = set().union(*map(_names_in, collection.feature_files()))
    gone = known.difference(photo.name for photo in photos)
    if gone and len(gone) == len(known):
        raise UserError(f"{collection.images_path}: not the photos of {collection.folder}; give another `output`")
    if gone:
        logger.warning("%d photos are no longer in %s and stay in the index", len(gone), collection.images_path)
    return known.union(collection.settings["left_out"])
