"""Opens what people search: a photo index, or any index folder with the recipe that its features were made by."""

import dataclasses
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, NamedTuple, Optional, Sequence, Tuple

from ..artifacts import PathLike, require_folder
from ..config import Config, ExtractionConfig, GlobalConfig, keys_of
from ..errors import UserError
from ..features.encoder import Encoder, LoadNetwork, make_encoder
from ..features.kinds import BOTH, GLOBAL, LOCAL, part_of
from ..features.pca import pca_for
from ..matching.same_place import Calibration, conditions, find_calibration
from ..records import Provenance
from ..retrieval.index_folder import read_manifest, read_names, read_sources, searcher_of
from ..retrieval.index_search import open_index_search
from ..retrieval.photo_index import RECORD_FILE, load_photo_index
from ..retrieval.rerank import search_settings, steps_of
from .collection import Collection

_NETWORK = ("architecture", "weights_style", "precision", "engine")  # of an encoder, keys of ModelConfig too
# Of an index's provenance these are no values of the keys, but checksums, or what the person gives
_GIVEN = ("head", "pca_path", "force_pca", "whitening_path", "region_whitening_path", "whiten_dim", "half")
_NOTHING = "no verdict whether it is the same place: nothing is verified; `rerank` with ransac does"


class _Parts(NamedTuple):
    """What a collection is made of before its network is loaded.

    Attributes:
        folder: of the index.
        images_path: of its photos.
        checkpoint: of its network.
        encoder: not loaded.
        made: how the index was made, for the conditions of a calibration.
    """

    folder: Path
    images_path: Path
    checkpoint: Path
    encoder: Encoder
    made: Provenance


def searcher_in(folder: PathLike) -> Tuple[str, bool]:
    """What is searched in a folder, a choice of the key ``searcher``, and whether it is a photo index.

    Raises:
        UserError: neither a photo index nor an index folder.
    """
    folder = require_folder(folder, "index")
    if not (folder / RECORD_FILE).is_file():
        return searcher_of(read_manifest(folder)), False
    inner = load_photo_index(folder).index
    if not inner.is_dir():
        raise UserError(f"{folder}: half-made, no folder {inner.name} in it; run the command build_photo_index again")
    return searcher_of(read_manifest(inner)), True


@contextmanager
def open_collection(
    folder: PathLike,
    config: Config,
    images_path: PathLike = "",
    same_place: PathLike = "",
    load_network: Optional[LoadNetwork] = None,
) -> Iterator[Collection]:
    """A collection ready to be searched, with its network loaded; its threads end with the context.

    Args:
        folder: made by build_photo_index or by build_index.
        config: the recipe; how photos are extracted is the index's own, but for files and engine.
        images_path: folder of the photos; '' = where a photo index had them.
        same_place: calibration of the verdicts; '' = the one beside the checkpoint or in the folder, if it holds.
        load_network: makes the network; None = that of the engines.

    Raises:
        UserError: no such folder, a damaged index, photos or checkpoint gone or others.
    """
    (searcher, is_photo_index), folder = searcher_in(folder), Path(folder)
    parts = (_of_photo_index if is_photo_index else _of_index)(folder, config, images_path, load_network)
    folders = (parts.checkpoint.parent, folder)
    calibration, why = _find_calibration(parts.made, config, searcher, folders, same_place)
    names, encoder = read_names(parts.folder), parts.encoder.load()
    with open_index_search(parts.folder, config.retrieval, config.matching, config.run.seed) as search:
        name = folder.resolve().name
        yield Collection(name, names, parts.images_path, search, encoder, searcher, calibration, why)


def _find_calibration(
    made: Provenance, config: Config, searcher: str, folders: Sequence[Path], same_place: PathLike
) -> Tuple[Optional[Calibration], str]:
    if "ransac" not in steps_of(config.retrieval, searcher):
        return None, _NOTHING
    settings = search_settings(config.retrieval, config.matching, config.run.seed, searcher)
    return find_calibration(conditions(made, settings), folders, same_place)


def _of_photo_index(folder: Path, config: Config, images_path: PathLike, load_network: Optional[LoadNetwork]) -> _Parts:
    found = load_photo_index(folder)
    photos = require_folder(images_path or found.images_path, "images_path")
    recipe = found.recipe(config.run, config.model)
    checkpoint = Path(recipe[1].checkpoint_path)
    return _Parts(found.index, photos, checkpoint, make_encoder(*recipe, load_network), found.provenance)


def _of_index(folder: Path, config: Config, images_path: PathLike, load_network: Optional[LoadNetwork]) -> _Parts:
    manifest = read_manifest(folder)
    if not images_path:
        raise UserError(f"{folder}: an index does not know where its photos are; give `images_path`")
    if not config.model.checkpoint_path:
        raise UserError(f"{folder}: an index does not know its checkpoint; give `checkpoint_path`")
    photos, searcher = require_folder(images_path, "images_path"), searcher_of(manifest)
    kind, made = LOCAL, manifest.provenance
    if searcher == "global":
        steps = steps_of(config.retrieval, searcher)
        kind = BOTH if {"ransac", "learned"} & set(steps) else GLOBAL
        made = read_sources(folder).provenance if kind == BOTH else made
    encoder = _encoder_like(made, config, kind, load_network)
    for part in (LOCAL, GLOBAL) if kind == BOTH else (kind,):
        ours, theirs = part_of(encoder.provenance, part), part_of(made, part)
        if not ours.compatible_with(theirs):
            names = ", ".join(ours.differences(theirs, ("weights", "encoder")))
            fact = f"its photos were extracted otherwise ({names})"
            raise UserError(f"{folder}: {fact}; give the `checkpoint_path` and the files of PCA or whitening it has")
    return _Parts(folder, photos, Path(config.model.checkpoint_path), encoder, manifest.provenance)


def _encoder_like(made: Provenance, config: Config, kind: str, load_network: Optional[LoadNetwork]) -> Encoder:
    """The encoder of features ``made`` so, with the files of the recipe; see ``make_encoder``."""
    known: Dict[str, Any] = {**made.settings, **made.encoder}
    names = keys_of(ExtractionConfig, GlobalConfig, but=_GIVEN)
    taken = {name: known[name] for name in names if name in known and not _is_checksum(name, known[name])}
    network = {name: known[name] for name in _NETWORK if name in known}
    config = config.replace(**{**taken, **network})
    extraction = config.extraction
    if kind != GLOBAL and not extraction.pca_path and known.get("pca"):
        found = pca_for(extraction, config.model.checkpoint_path, made.weights)
        extraction = dataclasses.replace(extraction, pca_path=found or "")
    return make_encoder(config.run, config.model, extraction, load_network, kind, config.descriptor)


def _is_checksum(name: str, value: Any) -> bool:
    """Of the powers of GeM that the weights have for each channel."""
    return name == "gem_p" and isinstance(value, str)
