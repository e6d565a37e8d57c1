"""Photos to index: those of one or several feature files of the same settings."""

import logging
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence, Tuple

import numpy as np

from ..artifacts import PathLike
from ..errors import UserError
from ..features.feature_file import FeatureFile
from ..names import bare_name
from ..records import LocalFeatures

# Attributes of a feature file that two of them may differ in: which photos, and what changes last digits only.
_FREE_SETTINGS = ("format_version", "config_hash", "photos", "engine", "half")

logger = logging.getLogger(__name__)


class FeatureSet:
    """Open feature files as one set of photos, in the order of their names without extension; a context manager.

    Attributes:
        attributes: settings of the first file, which the others share.
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
                require_same_settings(self.attributes, self._files[-1].attributes, path, self.paths[0])
            self._file_of = self._order_photos()
            self.counts, self.dimension = self._measure()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "FeatureSet":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Tuple[str, LocalFeatures]]:
        return ((name, self.read(name)) for name in self.names)

    @property
    def attributes(self) -> Dict[str, Any]:
        return self._files[0].attributes

    @property
    def names(self) -> List[str]:
        return list(self._file_of)

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()

    def read(self, name: str) -> LocalFeatures:
        """Features of a photo."""
        return self._file_of[name].read(name)

    def sample(self, num_rows: int, seed: int) -> np.ndarray:
        """About ``num_rows`` descriptors [R, D] float32, drawn at random from photos drawn at random.

        No photo is read whose rows are not needed, but the sample is spread over four times as many photos as would do.
        """
        generator = np.random.default_rng(seed)
        order = generator.permutation(len(self.counts))
        order = order[: np.searchsorted(np.cumsum(self.counts[order]), 4 * num_rows) + 1]
        share = min(1.0, num_rows / max(1, self.counts[order].sum()))
        names, rows = self.names, []
        for number in order:
            descriptors = self.read(names[number]).descriptors
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
            raise UserError(f"{self.paths[0]}: holds no photos; run eval/extract_features.py on a folder of photos")
        return dict(photos[short] for short in sorted(photos))

    def _measure(self) -> Tuple[np.ndarray, int]:
        shapes = np.array([file.shape(name) for name, file in self._file_of.items()], np.int64)
        dimensions = np.unique(shapes[shapes[:, 0] > 0, 1])
        if len(dimensions) > 1:
            found = dimensions.tolist()
            raise UserError(f"{self.paths[0]}: descriptors of {found} dimensions among its photos; extract again")
        return shapes[:, 0], int(dimensions[0]) if len(dimensions) else max(1, int(shapes[:, 1].max()))


def require_same_settings(ours: Dict[str, Any], theirs: Dict[str, Any], path: PathLike, other: PathLike) -> None:
    """UserError when features made with ``theirs`` (of ``path``) cannot stand beside those of ``ours`` (of ``other``).

    Distances between descriptors of two networks or PCAs mean nothing; other settings would favour some photos.
    """
    names = sorted({*ours, *theirs}.difference(_FREE_SETTINGS))
    different = [name for name in names if ours.get(name) != theirs.get(name)]
    if different:
        raise UserError(
            f"{path}: extracted with other settings than {other} ({', '.join(different)}); extract with the same ones"
        )
