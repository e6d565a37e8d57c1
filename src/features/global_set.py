"""Several feature files as one set of global descriptors."""

from typing import Iterator, List, Tuple

import numpy as np
from tqdm import tqdm

from ..errors import UserError
from ..records import GlobalDescriptor
from .feature_set import FeatureSet
from .kinds import GLOBAL


class GlobalSet(FeatureSet):
    """As ``FeatureSet``, of the photos' global descriptors: each counts as one.

    Raises:
        UserError: as of ``FeatureSet``, or a photo has no global descriptor.
    """

    kind = GLOBAL

    def chunks(self, num_rows: int) -> Iterator[Tuple[List[str], List[GlobalDescriptor]]]:
        """All photos, ``num_rows`` at a time."""
        with tqdm(total=len(self.names), desc="index", unit="photo", disable=None) as bar:
            for start in range(0, len(self.names), num_rows):
                names = self.names[start : start + num_rows]
                yield names, [self._file_of[name].read_global(name) for name in names]
                bar.update(len(names))

    def sample(self, num_rows: int, seed: int) -> np.ndarray:
        """Descriptors [R, D] float32 of ``num_rows`` photos, or all there are, drawn at random."""
        order = np.random.default_rng(seed).permutation(len(self.names))[:num_rows]
        names = [self.names[number] for number in np.sort(order).tolist()]
        return np.stack([self._file_of[name].read_global(name).vector for name in names])

    def _measure(self) -> Tuple[np.ndarray, int]:
        dimensions = {file.global_dimension(name) for name, file in self._file_of.items()}
        if len(dimensions) > 1:
            fact = f"global descriptors of {sorted(dimensions)} dimensions among its photos"
            raise UserError(f"{self.paths[0]}: {fact}; extract again")
        return np.ones(len(self.names), np.int64), dimensions.pop()
