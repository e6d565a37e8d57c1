"""Several feature files as one set of photos, and which of them may stand beside each other."""

import copy
import dataclasses
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence, Tuple

import numpy as np
from tqdm import tqdm

from ..artifacts import PathLike
from ..errors import UserError
from ..names import bare_name
from ..records import LocalFeatures, Provenance
from .feature_file import FeatureFile
from .kinds import LOCAL, part_of

_FREE_SETTINGS = ("half",)  # of features that stand beside others: it changes last digits only


def shared_settings(features: Provenance) -> Dict[str, Any]:
    """The settings that features must share to stand beside each other."""
    return {name: value for name, value in features.settings.items() if name not in _FREE_SETTINGS}


def require_alike(ours: Provenance, theirs: Provenance, path: PathLike, other: PathLike) -> None:
    """UserError when features of ``path`` cannot stand beside those of ``other``; photos and shards may differ.

    Distances between descriptors of two networks or PCAs mean nothing; other settings would favour some photos.
    """
    ours, theirs = (dataclasses.replace(each, settings=shared_settings(each)) for each in (ours, theirs))
    different = ", ".join(ours.differences(theirs, ("weights", "encoder", "settings")))
    if different:
        raise UserError(f"{path}: extracted with other settings than {other} ({different}); extract with the same ones")


class FeatureSet:
    """Open feature files as one set of photos, in the order of their names without extension; a context manager.

    Attributes:
        kind: of features that are read; what else the files hold does not matter.
        provenance: of these in the first file; the others share its weights, encoder and settings.
        names: names of the N photos.
        counts: [N] int64, features of each.
        dimension: of the descriptors.

    Raises:
        UserError: unusable files, files of different settings, or two photos whose names differ by extension at most.
    """

    kind = LOCAL

    def __init__(self, paths: Sequence[PathLike]) -> None:
        self.paths = [Path(path) for path in paths]
        self._files: List[FeatureFile] = []
        try:
            for path in self.paths:
                self._files.append(FeatureFile(path, "features"))
                theirs = part_of(self._files[-1].provenance, self.kind)
                require_alike(self.provenance, theirs, path, self.paths[0])
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
        return part_of(self._files[0].provenance, self.kind)

    def part(self, numbers: Sequence[int]) -> "FeatureSet":
        """Some of the photos, by their places in ``names``, in that order; of the same open files."""
        part = copy.copy(self)
        part.names = [self.names[number] for number in numbers]
        part.counts = self.counts[np.asarray(numbers, np.int64)]
        used = {id(self._file_of[name]) for name in part.names}
        part.paths = [file.path for file in self._files if id(file) in used]
        return part

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
