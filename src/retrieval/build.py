"""Build an index folder from feature files, or add photos to one."""

import dataclasses
import logging
from pathlib import Path
from typing import Dict, Iterator, List, Sequence, Tuple, Union

import numpy as np
from tqdm import tqdm

from ..artifacts import PathLike, build_folder_for, is_made, require_file, restore_folder, sha256_of
from ..errors import UserError
from ..features.feature_file import FeatureFile
from ..names import bare_name
from ..records import LocalFeatures, Provenance
from .index import (
    KEYPOINTS_FILE,
    MANIFEST_FILE,
    DescriptorIndex,
    FeatureSources,
    load_index,
    read_manifest,
    save_index,
)
from .index_types import choose_index_type, make_index, training_rows
from .verbs import Searcher
from .votes import VoteSearcher

_ADD_BYTES = 2**26  # of descriptors added at a time
_FREE_SETTINGS = ("half",)  # of features that stand beside others: it changes last digits only

FeaturePaths = Union[PathLike, Sequence[PathLike]]

logger = logging.getLogger(__name__)


def build_index(
    features: FeaturePaths, output: PathLike, index_type: str = "", seed: int = 0, overwrite: bool = False
) -> Path:
    """Index every descriptor of one or several feature files.

    The folder is made beside ``output`` and renamed when whole; an index of the same features and settings is kept.
    Memory holds the faiss index, a chunk of descriptors and, before, the training sample.

    Args:
        features: feature files of the index photos, all of the same settings.
        output: index folder.
        index_type: faiss factory string; '' = chosen by ``choose_index_type``.
        seed: of the training sample of an index that needs one.
        overwrite: replace an index of other features or settings.

    Returns:
        ``output``.

    Raises:
        UserError: unusable features or ``index_type``, or another index stands at ``output``.
    """
    output = restore_folder(output)
    with FeatureSet(_as_list(features)) as photos:
        wanted = describe_index(photos, index_type, seed)
        if is_made(output, wanted, lambda folder: _read_made(folder, overwrite), overwrite):
            return output
        with build_folder_for(output) as folder:
            index = new_index(photos, wanted)
            index.sources = FeatureSources(output, FeatureSources.describe(photos.paths, output))
            fill_index(folder, index, photos)
    logger.info("%s: made", output)
    return output


def add_to_index(features: FeaturePaths, output: PathLike) -> Path:
    """Add the photos of further feature files to an index; its own training and photo numbers stay.

    A kill leaves the index as it was. Files that were added before are passed over.

    Raises:
        UserError: no index at ``output``, features of other settings, or a photo that the index has already.
    """
    output = restore_folder(output)
    manifest = read_manifest(output)
    old = manifest.provenance
    known, added = old.sources["features"], old.sources.get("added", [])
    checksums = {path: sha256_of(require_file(path, "features")) for path in _as_list(features)}
    checksums = {path: sha256 for path, sha256 in checksums.items() if sha256 not in [*known, *added]}
    if not checksums:
        logger.info("%s: holds these photos already", output)
        return output
    with FeatureSet(list(checksums)) as photos:
        _require_fitting(photos, old, manifest.dimension, output)
        with build_folder_for(output) as folder:
            index = load_index(output)
            there = set(index.names)
            double = next((name for name in photos.names if bare_name(name) in there), None)
            if double is not None:
                raise UserError(f"{output}: has a photo {double} already; leave it out of {photos.paths[0]}")
            files = index.sources.files + FeatureSources.describe(photos.paths, output)
            index.sources = FeatureSources(output, files)
            sources = {"features": known, "added": [*added, *checksums.values()]}
            index.provenance = dataclasses.replace(old, sources=sources)
            fill_index(folder, index, photos)
    logger.info("%s: %d photos added", output, len(photos.names))
    return output


def describe_index(photos: "FeatureSet", index_type: str, seed: int) -> Provenance:
    """How the index of some photos is made; ``index_type`` and ``seed`` as for ``build_index``."""
    index_type = index_type or choose_index_type(int(photos.counts.sum()), photos.dimension)
    return Provenance(
        photos.provenance.weights,
        photos.provenance.encoder,
        {**_settings_of(photos.provenance), "index_type": index_type, "seed": seed},
        {"features": [sha256_of(path) for path in photos.paths]},
        photos.provenance.notes,
    )


def new_index(photos: "FeatureSet", provenance: Provenance) -> DescriptorIndex:
    """An empty index, trained if its type needs it on descriptors drawn at random from ``photos``."""
    index_type = provenance.settings["index_type"]
    index = DescriptorIndex(make_index(index_type, photos.dimension), provenance=provenance)
    rows = training_rows(index.faiss_index)
    if rows:
        sample = photos.sample(rows, provenance.settings["seed"])
        logger.info("training %s on %d descriptors", index_type, len(sample))
        VoteSearcher(index).fit(sample)
    return index


def fill_index(folder: Path, index: DescriptorIndex, photos: "FeatureSet") -> None:
    """Add ``photos`` behind those of ``index`` and write it to ``folder``; only their keypoints pass through memory."""
    end = len(index.image_ids)
    rows = (end + int(photos.counts.sum()), 2)
    keypoints = np.lib.format.open_memmap(folder / KEYPOINTS_FILE, mode="w+", dtype=np.float32, shape=rows)
    keypoints[:end] = index.keypoints[:end]
    index.keypoints = keypoints
    searcher: Searcher = VoteSearcher(index)
    for names, items in photos.chunks(max(1, _ADD_BYTES // (4 * photos.dimension))):
        searcher.add(names, items)
    save_index(folder, index)


def _as_list(features: FeaturePaths) -> List[PathLike]:
    return [features] if isinstance(features, (str, Path)) else list(features)


def _read_made(folder: Path, overwrite: bool) -> Provenance:
    """How the index at ``folder`` was made; one that cannot be read may be replaced, what is no index may not."""
    if not (folder / MANIFEST_FILE).exists():
        raise UserError(f"{folder}: stands there and is no index; give another `output`")
    return Provenance() if overwrite else read_manifest(folder).provenance


def _settings_of(features: Provenance) -> Dict[str, object]:
    return {name: value for name, value in features.settings.items() if name not in _FREE_SETTINGS}


def _require_fitting(photos: "FeatureSet", index: Provenance, dimension: int, output: Path) -> None:
    """UserError when descriptors of ``photos`` do not belong into the index."""
    own = ("index_type", "seed")
    settings = {name: value for name, value in index.settings.items() if name not in own}
    features = dataclasses.replace(index, settings=settings)
    _require_same(features, photos.provenance, photos.paths[0], output)
    if photos.counts.any() and photos.dimension != dimension:
        raise UserError(
            f"{photos.paths[0]}: descriptors of {photos.dimension} dimensions, {output} has {dimension}; "
            "extract with the same settings"
        )


def _require_same(ours: Provenance, theirs: Provenance, path: PathLike, other: PathLike) -> None:
    """UserError when features of ``path`` cannot stand beside those of ``other``; photos and shards may differ.

    Distances between descriptors of two networks or PCAs mean nothing; other settings would favour some photos.
    """
    ours, theirs = (dataclasses.replace(each, settings=_settings_of(each)) for each in (ours, theirs))
    different = ", ".join(ours.differences(theirs, ("weights", "encoder", "settings")))
    if different:
        raise UserError(f"{path}: extracted with other settings than {other} ({different}); extract with the same ones")


class FeatureSet:
    """Open feature files as one set of photos, in the order of their names without extension; a context manager.

    Attributes:
        provenance: of the first file; the others share its weights, encoder and settings.
        names: names of the N photos.
        counts: [N] int64, features of each.
        dimension: of the descriptors.

    Raises:
        UserError: unusable files, files of different settings, or two photos whose names differ by extension at most.
    """

    def __init__(self, paths: Sequence[PathLike]) -> None:
        self.paths = [Path(path) for path in paths]
        self._files: List[FeatureFile] = []
        try:
            for path in self.paths:
                self._files.append(FeatureFile(path, "features"))
                _require_same(self.provenance, self._files[-1].provenance, path, self.paths[0])
            self._file_of = self._order_photos()
            self.names = list(self._file_of)
            self.counts, self.dimension = self._measure()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "FeatureSet":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def provenance(self) -> Provenance:
        return self._files[0].provenance

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()

    def chunks(self, num_rows: int) -> Iterator[Tuple[List[str], List[LocalFeatures]]]:
        """All photos, so many at a time that they have ``num_rows`` features or more together."""
        names: List[str] = []
        items: List[LocalFeatures] = []
        rows = 0
        for name in tqdm(self.names, desc="index", unit="photo", disable=None):
            names.append(name)
            items.append(self._file_of[name].read(name))
            rows += len(items[-1])
            if rows >= num_rows:
                yield names, items
                names, items, rows = [], [], 0
        if names:
            yield names, items

    def sample(self, num_rows: int, seed: int) -> np.ndarray:
        """About ``num_rows`` descriptors [R, D] float32, drawn at random from photos drawn at random.

        No photo is read whose rows are not needed, but the sample is spread over four times as many photos as would do.
        """
        generator = np.random.default_rng(seed)
        order = generator.permutation(len(self.counts))
        order = order[: np.searchsorted(np.cumsum(self.counts[order]), 4 * num_rows) + 1]
        share = min(1.0, num_rows / max(1, self.counts[order].sum()))
        rows = []
        for number in order:
            name = self.names[number]
            descriptors = self._file_of[name].read(name).descriptors
            chosen = generator.permutation(len(descriptors))[: int(np.ceil(share * len(descriptors)))]
            rows.append(descriptors[np.sort(chosen)].reshape(-1, self.dimension))
        return np.concatenate(rows)

    def _order_photos(self) -> Dict[str, FeatureFile]:
        """The photos in the order of their names without extension, so that numbers order as names do."""
        photos: Dict[str, Tuple[str, FeatureFile]] = {}
        for file in self._files:
            for name in file.names:
                other, owner = photos.setdefault(bare_name(name), (name, file))
                if owner is not file:
                    raise UserError(f"{file.path}: {name} is in {owner.path} too; leave one of them out")
                if other != name:
                    reason = f"{other} and {name} differ only by extension"
                    raise UserError(f"{file.path}: {reason}; rename one and extract again")
        if not photos:
            raise UserError(f"{self.paths[0]}: holds no photos; run the command extract_features on a folder of photos")
        return dict(photos[short] for short in sorted(photos))

    def _measure(self) -> Tuple[np.ndarray, int]:
        shapes = np.array([file.shape(name) for name, file in self._file_of.items()], np.int64)
        dimensions = np.unique(shapes[shapes[:, 0] > 0, 1])
        if len(dimensions) > 1:
            found = dimensions.tolist()
            raise UserError(f"{self.paths[0]}: descriptors of {found} dimensions among its photos; extract again")
        return shapes[:, 0], int(dimensions[0]) if len(dimensions) else max(1, int(shapes[:, 1].max()))
