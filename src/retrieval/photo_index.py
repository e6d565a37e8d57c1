"""A photo index: PCA, features and index of a folder of one's own photos; made, kept up to date, and opened."""

import dataclasses
import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

from ..artifacts import PathLike, atomic_write_json, is_made, require_folder
from ..config import ExtractionConfig, ModelConfig, RunConfig
from ..engines import INITIAL_KEYS, weights_identity
from ..errors import UserError
from ..features.encoder import LoadNetwork, make_encoder
from ..features.extraction import extract_to_file, photos_of_folder
from ..features.feature_file import FeatureFile
from ..features.learn_pca import learn_pca_from_photos
from ..features.pca import PCA_FILE, carried_pca, load_pca, pca_for, save_pca
from ..images import load_image
from ..records import Photo, Provenance
from .build import add_to_index, build_index
from .index import INDEX_FOLDER

RECORD_FILE = "settings.json"
FORMAT_VERSION = 2
_PCA_PHOTOS = 300  # a PCA is fitted on; some 300,000 descriptors
_NETWORK = ("architecture", "weights_style", "precision")  # of the encoder, keys of ModelConfig too

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PhotoIndex:
    """A finished or half-made photo index.

    Attributes:
        folder: where it lies.
        provenance: weights and encoder, the latter with the PCA that was asked for, '' = chosen or fitted; all keys of
            extraction, and ``index_type``.
        images_path, checkpoint_path: where photos and checkpoint were last.
        left_out: photos that cannot be read.
        begun: photos that are being extracted.
        initial: ``seed`` and keys of ModelConfig that an untrained attention follows from, as ImageNet weights have it.
    """

    folder: Path
    provenance: Provenance
    images_path: Path
    checkpoint_path: Path
    left_out: List[str] = dataclasses.field(default_factory=list)
    begun: List[str] = dataclasses.field(default_factory=list)
    initial: Dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def index(self) -> Path:
        """The index folder."""
        return self.folder / INDEX_FOLDER

    @property
    def pca_path(self) -> Path:
        """The PCA, which is this photo index's own."""
        return self.folder / PCA_FILE

    def feature_files(self) -> List[Path]:
        """The finished ones, oldest first."""
        return sorted(self.folder.glob("features-*.h5"))

    def save(self) -> None:
        """Write all but the folder into it."""
        record = {
            "format_version": FORMAT_VERSION,
            "provenance": self.provenance.as_json(),
            "images_path": str(self.images_path),
            "checkpoint_path": str(self.checkpoint_path),
            "left_out": self.left_out,
            "begun": self.begun,
            "initial": self.initial,
        }
        atomic_write_json(self.folder / RECORD_FILE, record)

    def recipe(self, run: RunConfig, model: ModelConfig) -> Tuple[RunConfig, ModelConfig, ExtractionConfig]:
        """How photos and queries are extracted: the two with this index's network, and its settings and PCA.

        ``checkpoint_path`` of ``model`` says where the checkpoint is now, '' = where it was last.

        Raises:
            UserError: the checkpoint is gone or another one.
        """
        path = model.checkpoint_path or str(self.checkpoint_path)
        if not Path(path).is_file():
            raise UserError(f"{path}: gone, the checkpoint of {self.folder}; give `checkpoint_path` where it is now")
        encoder, settings = self.provenance.encoder, dict(self.provenance.settings)
        initial = dict(self.initial)
        run = run.replace(seed=initial.pop("seed", run.seed))
        model = model.replace(checkpoint_path=path, **{name: encoder[name] for name in _NETWORK}, **initial)
        if weights_identity(run, model) != self.provenance.weights:
            raise UserError(f"{path}: not the checkpoint that {self.folder} was made with; give that one")
        del settings["index_type"]
        return run, model, ExtractionConfig(**settings, pca_path=self.pca_path)


def load_photo_index(folder: PathLike) -> PhotoIndex:
    """Open a photo index; UserError when the folder is none."""
    path = require_folder(folder, "index") / RECORD_FILE
    if not path.is_file():
        fact = f"not a photo index: no {path.name} in it"
        raise UserError(f"{folder}: {fact}; make one with the command build_photo_index")
    try:
        record: Dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if record["format_version"] != FORMAT_VERSION:
            reason = f"format {record['format_version']}, this program reads {FORMAT_VERSION}"
            raise UserError(f"{folder}: {reason}; make it again with the command build_photo_index, `overwrite`")
        return PhotoIndex(
            Path(folder),
            Provenance.from_json(record["provenance"]),
            Path(record["images_path"]),
            Path(record["checkpoint_path"]),
            record["left_out"],
            record["begun"],
            record.get("initial", {}),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        fact = f"not a photo index: its {path.name} is damaged"
        raise UserError(f"{folder}: {fact}; make it again with the command build_photo_index, `overwrite`") from error


def build_photo_index(
    images_path: PathLike,
    output: PathLike,
    run: RunConfig,
    model: ModelConfig,
    extraction: ExtractionConfig,
    index_type: str = "",
    devices: Sequence[int] = (0,),
    load_network: Optional[LoadNetwork] = None,
) -> PhotoIndex:
    """Make the photo index of a folder, go on with a half-made one, or add the photos that are new.

    Photos that could not be read are not tried again. Photos that left the folder stay in the index.

    Args:
        images_path: folder of photos, searched with its sub-folders.
        output: folder to make.
        run, model, extraction: sections of the recipe.
        index_type: faiss factory string; '' = chosen by size.
        devices: device ids, one extraction worker each.
        load_network: makes the network of a worker; None = that of the engines.

    Raises:
        UserError: no photo, an unusable checkpoint or PCA, or something else stands at ``output``.
    """
    photos = photos_of_folder(images_path)
    steps = _Steps(run.replace(overwrite=False), model, extraction, devices, load_network)
    wanted = PhotoIndex(
        Path(output),
        steps.describe(index_type),
        Path(images_path).absolute(),
        Path(model.checkpoint_path).absolute(),
        initial={"seed": run.seed, **{name: getattr(model, name) for name in INITIAL_KEYS}},
    )
    made = _open(wanted, run.overwrite)
    steps.provide_pca(made, photos)
    made = steps.extract_new(made, photos)
    if made.index.exists():
        add_to_index(made.feature_files(), made.index)
    else:
        build_index(made.feature_files(), made.index, index_type, run.seed)
    return made


@dataclass(frozen=True)
class _Steps:
    """The steps of ``build_photo_index``, with what they have in common."""

    run: RunConfig
    model: ModelConfig
    extraction: ExtractionConfig
    devices: Sequence[int]
    load_network: Optional[LoadNetwork]

    def describe(self, index_type: str) -> Provenance:
        """All that features and index depend on. The score threshold is settled, for queries taken elsewhere."""
        encoder = make_encoder(self.run, self.model, self.extraction, self.load_network).provenance
        settings = {**self.extraction.values(), "index_type": index_type}
        del settings["pca_path"]  # it is copied
        settings["score_threshold"] = encoder.settings["score_threshold"] or 0.0
        meaning = {name: value for name, value in encoder.encoder.items() if name not in settings}
        return Provenance(encoder.weights, {"pca": "", **meaning}, settings)

    def provide_pca(self, made: PhotoIndex, photos: Sequence[Photo]) -> None:
        """The PCA of ``pca_for``, else one fitted on the photos; it is copied into the folder."""
        if made.pca_path.exists():
            return
        dim, path = self.extraction.pca_dim, self.model.checkpoint_path
        found = pca_for(self.extraction, path, made.provenance.weights)
        if found is not None:
            save_pca(made.pca_path, load_pca(found) if found else carried_pca(path))
            return
        sample = photos_of_folder(made.images_path, _PCA_PHOTOS, self.run.seed)
        logger.info("fitting a PCA on %d of the %d photos", len(sample), len(photos))
        sections = (self.run, self.model, self.extraction)
        learn_pca_from_photos(sample, made.pca_path, dim, *sections, self.load_network)

    def extract_new(self, made: PhotoIndex, photos: Sequence[Photo]) -> PhotoIndex:
        """Extract the photos that are in no feature file yet into one of their own; returns what is saved then.

        Those that an interrupted run had begun with come first, by themselves, so that what it finished is used.
        """
        known = _known_photos(made, photos)
        new = [photo for photo in photos if photo.name not in known]
        begun = set(made.begun)
        batches = [photo for photo in new if photo.name in begun], [photo for photo in new if photo.name not in begun]
        made.save()  # where photos and checkpoint are now
        for batch in filter(None, batches):
            made = dataclasses.replace(made, begun=[photo.name for photo in batch])
            made.save()
            extracted = self._extract(made, batch)
            failed = [photo.name for photo in batch if photo.name not in extracted]
            made = dataclasses.replace(made, left_out=made.left_out + failed, begun=[])
            made.save()
        if not new:
            logger.info("%s: no new photos", made.folder)
        return made

    def _extract(self, made: PhotoIndex, photos: Sequence[Photo]) -> Set[str]:
        """Extract photos into the next feature file; names of those that have features."""
        number = len(made.feature_files()) + 1
        if number > 1 and not any(map(_can_be_read, photos)):  # there is nothing to make a file of
            return set()
        output = made.folder / f"features-{number:04d}.h5"
        sections = made.recipe(self.run, self.model)
        extract_to_file(photos, output, *sections, devices=self.devices, load_network=self.load_network)
        return _names_in(output)


def _open(wanted: PhotoIndex, overwrite: bool) -> PhotoIndex:
    """The photo index at its folder with the paths of ``wanted``, or ``wanted`` itself, begun anew."""
    folder = wanted.folder

    def read(_: Path) -> Provenance:
        if not (folder / RECORD_FILE).exists():
            raise UserError(f"{folder}: stands there and is no photo index; give another `output`")
        return Provenance() if overwrite else load_photo_index(folder).provenance

    if is_made(folder, wanted.provenance, read, overwrite, folder=True):
        old = load_photo_index(folder)
        return dataclasses.replace(wanted, left_out=old.left_out, begun=old.begun)
    for path in folder.glob("features-*.h5.parts"):
        shutil.rmtree(path)
    for path in [*folder.glob("features-*.h5"), wanted.pca_path]:
        path.unlink(missing_ok=True)
    shutil.rmtree(wanted.index, ignore_errors=True)
    wanted.save()
    return wanted


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


def _known_photos(made: PhotoIndex, photos: Sequence[Photo]) -> Set[str]:
    """Names of the photos that are extracted, or were left out.

    Raises:
        UserError: not one of the extracted ones is among ``photos``.
    """
    known = set().union(*map(_names_in, made.feature_files()))
    gone = known.difference(photo.name for photo in photos)
    if gone and len(gone) == len(known):
        raise UserError(f"{made.images_path}: not the photos of {made.folder}; give another `output`")
    if gone:
        logger.warning("%d photos are no longer in %s and stay in the index", len(gone), made.images_path)
    return known.union(made.left_out)
