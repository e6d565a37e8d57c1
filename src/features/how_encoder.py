"""HOW: local features chosen by their norms (Tolias, Jenicek & Chum, ECCV 2020); positions are those of DELF's."""

import dataclasses
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..config import MOST_FEATURES, ExtractionConfig, ModelConfig, RunConfig
from ..errors import UserError
from . import delf_encoder
from .delf_encoder import DelfEncoder, Inferred, LevelMaps, Prepared
from .encoder import LoadNetwork
from .local_layer import local_outputs

_LEAST_SQUARE = 1e-10  # under the root of a norm, as the reference


@dataclass(frozen=True, eq=False)
class HowEncoder(DelfEncoder):
    """As DELF's, but a cell's score is its norm as a share of the largest of all levels.

    A descriptor is ``layer`` on the mean of the cell's 3x3 neighbours. It is divided by the root of its dimension, so
    that whitened descriptors have a mean square of 1 and DELF's distances serve; it is not normalised, as its norm is
    part of what ASMK sums up. ASMK does not see a factor that all descriptors share.
    """

    def infer(self, prepared: Prepared) -> Inferred:
        """Run the network on each level."""
        maps = [self.network(level)[0] for _, level in prepared.levels]
        weights = [cell_norms(feature_map) for feature_map in maps]
        largest = max((float(each.max()) for each in weights), default=1.0)
        with np.errstate(invalid="ignore"):  # numbers that are not finite are told when they are selected
            found = [
                LevelMaps(scale, feature_map, each / np.float32(largest))
                for (scale, _), feature_map, each in zip(prepared.levels, maps, weights)
            ]
        return Inferred(found, prepared.frame)

    def features_at(self, feature_map: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Smoothed features [N, C] of cells of a map [h, w, C]."""
        return smoothed_at(feature_map, rows, columns)

    def describe(self, raw: np.ndarray) -> np.ndarray:
        """Descriptors [N, D] of smoothed features [N, C]; with a PCA, of unit norm."""
        if self.pca is not None:
            return super().describe(raw)
        return self.layer(raw) / np.float32(np.sqrt(len(self.layer.bias)))


def cell_norms(feature_map: np.ndarray) -> np.ndarray:
    """[h, w], the L2 norm of each cell of a map [h, w, C]."""
    return np.sqrt(np.square(feature_map).sum(axis=-1) + np.float32(_LEAST_SQUARE))


def smoothed_at(feature_map: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """[N, C], the mean of each cell's 3x3 neighbours; at a border of those there are.

    Args:
        feature_map: [h, w, C].
        rows, columns: [N] of the cells.
    """
    height, width, channels = feature_map.shape
    total, counts = np.zeros((len(rows), channels), np.float32), np.zeros(len(rows), np.float32)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            row, column = rows + down, columns + right
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            total[inside] += feature_map[row[inside], column[inside]]
            counts += inside
    return total / counts[:, None]


def strongest_cells(feature_map: np.ndarray, count: int) -> np.ndarray:
    """[N, C], the smoothed features of the ``count`` cells of largest norm of a map [h, w, C], or of all if fewer."""
    order = np.argsort(-cell_norms(feature_map), axis=None, kind="stable")[:count]
    return smoothed_at(feature_map, *np.divmod(order, feature_map.shape[1]))


def make_encoder(
    run: RunConfig, model: ModelConfig, extraction: ExtractionConfig, load_network: LoadNetwork
) -> HowEncoder:
    """The encoder of a recipe, its network not loaded; without a ``max_feature_num`` it keeps 1000.

    Raises:
        UserError: see ``delf_encoder.make_encoder``; weights whose descriptors are not made of block3.
    """
    extraction = extraction.replace(max_feature_num=extraction.max_feature_num or MOST_FEATURES)
    load = partial(load_network, outputs=local_outputs(model.checkpoint_path))
    alike = delf_encoder.make_encoder(run, model, extraction, load)
    takes, has = alike.layer.weight.shape[1], alike.architecture.block3_channels
    if takes != has:
        fact = f"HOW's layer takes {takes} numbers, block3 of {alike.architecture.name} has {has}"
        raise UserError(f"{model.checkpoint_path}: {fact}; give the `architecture` of its weights, which end in block3")
    fields = {field.name: getattr(alike, field.name) for field in dataclasses.fields(alike)}
    source = dataclasses.replace(alike.provenance, encoder={**alike.provenance.encoder, "name": "how"})
    return HowEncoder(**{**fields, "provenance": source})
