"""A photo index: PCA, features and index of a folder of one's own photos; made, kept up to date, and opened."""

import dataclasses
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Optional, Sequence, Tuple

from ..artifacts import PathLike, atomic_write_bytes, is_made, require_folder, restore_folder, sha256_of
from ..config import ExtractionConfig, ModelConfig, RunConfig
from ..engines import INITIAL_KEYS, weights_identity
from ..errors import UserError, reading
from ..features.encoder import LoadNetwork, make_encoder
from ..features.extraction import extract_to_file, photos_of_folder
from ..features.learn_pca import learn_pca_from_photos
from ..features.pca import PCA_FILE, carried_pca, load_pca, pca_for, save_pca
from ..matching.same_place import FILES, load_calibration
from ..names import bare_name
from ..records import Photo, Provenance
from ..sealed import read_sealed, write_sealed
from .build import build_index
from .index_folder import INDEX_FOLDER, require_whole

RECORD_FILE, FEATURES_FILE = "settings.json", "features.h5"
FORMAT_VERSION = 3
_AGAIN = "make it again with the command build_photo_index, `overwrite`"
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
        initial: ``seed`` and keys of ModelConfig that an untrained attention follows from, as ImageNet weights have it.
    """

    folder: Path
    provenance: Provenance
    images_path: Path
    checkpoint_path: Path
    initial: Dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def index(self) -> Path:
        """The index folder."""
        return self.folder / INDEX_FOLDER

    @property
    def pca_path(self) -> Path:
        """The PCA, which is this photo index's own."""
        return self.folder / PCA_FILE

    @property
    def features(self) -> Path:
        """The feature file of the photos."""
        return self.folder / FEATURES_FILE

    def save(self) -> None:
        """Write all but the folder into it."""
        record = {
            "provenance": self.provenance.as_json(),
            "images_path": str(self.images_path),
            "checkpoint_path": str(self.checkpoint_path),
            "initial": self.initial,
        }
        write_sealed(self.folder / RECORD_FILE, FORMAT_VERSION, record)

    def recipe(self, run: RunConfig, model: ModelConfig) -> Tuple[RunConfig, ModelConfig, ExtractionConfig]:
        """How photos and queries are extracted: the two with this index's network, and its settings and PCA.

        ``checkpoint_path`` of ``model`` says where the checkpoint is now, '' = where it was last.

        Raises:
            UserError: the checkpoint is gone or another one, or the PCA is gone or damaged.
        """
        path = model.checkpoint_path or str(self.checkpoint_path)
        if not Path(path).is_file():
            raise UserError(f"{path}: gone, the checkpoint of {self.folder}; give `checkpoint_path` where it is now")
        with reading(self.folder / RECORD_FILE, _AGAIN):
            encoder, settings, initial = self.provenance.encoder, dict(self.provenance.settings), dict(self.initial)
            del settings["index_type"]
            extraction = ExtractionConfig(**settings, pca_path=self.pca_path)
            run = run.replace(seed=initial.pop("seed", run.seed))
            model = model.replace(checkpoint_path=path, **{name: encoder[name] for name in _NETWORK}, **initial)
        if weights_identity(run, model) != self.provenance.weights:
            raise UserError(f"{path}: not the checkpoint that {self.folder} was made with; give that one")
        try:
            load_pca(self.pca_path)
        except UserError as error:  # whose advice is for a PCA that someone has chosen
            raise UserError(f"{self.pca_path}: missing or damaged; {_AGAIN}") from error
        return run, model, extraction


def load_photo_index(folder: PathLike) -> PhotoIndex:
    """Open a photo index; UserError when the folder is none."""
    path = require_folder(folder, "index") / RECORD_FILE
    if not path.is_file():
        fact = f"not a photo index: no {path.name} in it"
        raise UserError(f"{folder}: {fact}; make one with the command build_photo_index")
    record = read_sealed(path, FORMAT_VERSION, _AGAIN)
    with reading(path, _AGAIN):
        return PhotoIndex(
            Path(folder),
            Provenance.from_json(record["provenance"]),
            Path(record["images_path"]),
            Path(record["checkpoint_path"]),
            record["initial"],
        )


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
    """Make the photo index of a folder, go on with a half-made one, or bring one up to date.

    Photos that are new or have changed are extracted, those that could not be read are tried again, those that left
    the folder leave the index: it is what it would be if it were made anew.

    Args:
        images_path: folder of photos, searched with its sub-folders.
        output: folder to make.
        run, model, extraction: sections of the recipe.
        index_type: faiss factory string; '' = chosen by size.
        devices: device ids, one extraction worker each.
        load_network: makes the network of a worker; None = that of the engines.

    Raises:
        UserError: no photo, two that differ by extension only, an unusable checkpoint or PCA, or something else stands
            at ``output``.
    """
    photos = photos_of_folder(images_path)
    _require_own_names(photos, images_path)
    steps = _Steps(run.replace(overwrite=False), model, extraction, load_network)
    wanted = PhotoIndex(
        Path(output),
        steps.describe(index_type),
        Path(images_path).absolute(),
        Path(model.checkpoint_path).absolute(),
        initial={"seed": run.seed, **{name: getattr(model, name) for name in INITIAL_KEYS}},
    )
    steps.require_pca(wanted, run.overwrite)
    made = _begin(wanted, run.overwrite)
    steps.provide_pca(made, photos)
    _copy_calibrations(made)
    sections = made.recipe(steps.run, model)
    extract_to_file(photos, made.features, *sections, devices=devices, load_network=load_network)
    made.save()  # where photos and checkpoint are now
    if not _is_indexed(made):
        build_index(made.features, made.index, index_type, run.seed, overwrite=True)
    return made


@dataclass(frozen=True)
class _Steps:
    """The steps of ``build_photo_index``, with what they have in common."""

    run: RunConfig
    model: ModelConfig
    extraction: ExtractionConfig
    load_network: Optional[LoadNetwork]

    def describe(self, index_type: str) -> Provenance:
        """All that features and index depend on. The score threshold is settled, for queries taken elsewhere."""
        encoder = make_encoder(self.run, self.model, self.extraction, self.load_network).provenance
        settings = {**self.extraction.values(), "index_type": index_type}
        del settings["pca_path"]  # it is copied
        settings["score_threshold"] = encoder.settings["score_threshold"] or 0.0
        meaning = {name: value for name, value in encoder.encoder.items() if name not in settings}
        return Provenance(encoder.weights, {"pca": "", **meaning}, settings)

    def require_pca(self, wanted: PhotoIndex, overwrite: bool) -> None:
        """UserError, before anything is written, when the PCA that will be copied cannot be used."""
        if overwrite or not wanted.pca_path.exists():
            found = pca_for(self.extraction, self.model.checkpoint_path, wanted.provenance.weights)
            if found:
                make_encoder(self.run, self.model, self.extraction.replace(pca_path=found), self.load_network)

    def provide_pca(self, made: PhotoIndex, photos: Sequence[Photo]) -> None:
        """The PCA of ``pca_for``, else one fitted on the photos; it is copied into the folder."""
        if made.pca_path.exists():
            return
        dim, path = self.extraction.pca_dim, self.model.checkpoint_path
        found = pca_for(self.extraction, path, made.provenance.weights)
        pca = load_pca(found) if found else carried_pca(path)
        if pca is not None:
            save_pca(made.pca_path, pca)
            return
        sample = photos_of_folder(made.images_path, _PCA_PHOTOS, self.run.seed)
        logger.info("fitting a PCA on %d of the %d photos", len(sample), len(photos))
        sections = (self.run, self.model, self.extraction)
        learn_pca_from_photos(sample, made.pca_path, dim, *sections, self.load_network)


def _begin(wanted: PhotoIndex, overwrite: bool) -> PhotoIndex:
    """``wanted`` at its folder, where it stands or is begun now; UserError when something else stands there."""
    folder = wanted.folder

    def read(_: Path) -> Provenance:
        if not (folder / RECORD_FILE).exists():
            raise UserError(f"{folder}: stands there and is no photo index; give another `output`")
        return Provenance() if overwrite else load_photo_index(folder).provenance

    if not is_made(folder, wanted.provenance, read, overwrite, folder=True):
        for path in [*folder.glob("features*.h5*"), wanted.pca_path, wanted.index]:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        wanted.save()
    return wanted


def _copy_calibrations(made: PhotoIndex) -> None:
    """What says from how many inliers on it is the same place, where it stands beside the checkpoint and is its own."""
    for name in FILES.values():
        path = made.checkpoint_path.parent / name
        if path.exists() and load_calibration(path).provenance.weights == made.provenance.weights:
            atomic_write_bytes(made.folder / name, path.read_bytes())
            logger.info("%s: answers whether it is the same place by that", path)


def _require_own_names(photos: Sequence[Photo], images_path: PathLike) -> None:
    """UserError when two photos differ by extension only: the index knows them without."""
    known: Dict[str, str] = {}
    for photo in photos:
        other = known.setdefault(bare_name(photo.name), photo.name)
        if other != photo.name:
            raise UserError(f"{images_path}: {other} and {photo.name} differ only by extension; rename one")


def _is_indexed(made: PhotoIndex) -> bool:
    """Whether the index is whole and of the feature file as it is now; a damaged one is deleted."""
    index = restore_folder(made.index)
    if not index.exists():
        return False
    try:
        sources = require_whole(index, "made again").provenance.sources
    except UserError as error:
        logger.warning("%s", error)
        shutil.rmtree(index)
        return False
    return sources == {"features": [sha256_of(made.features)]}
