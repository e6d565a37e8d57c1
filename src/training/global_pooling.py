"""Poolings of maps to vectors as MindSpore's cells: the twins of ``features/pooling.py``, which extraction runs.

Each takes maps [B, C, h, w] float32 after the last ReLU and gives vectors [B, C], of any length.
"""

from typing import List, Tuple

import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from ..errors import UserError
from ..features.regions import region_grid, regions_of

POOLINGS = ("mac", "spoc", "gem", "rmac", "rmac_whole")
GEM_POWERS = ("learned", "fixed", "channel")
_EPSILON = 1e-6  # what GeM raises smaller numbers to


def l2(vectors: Tensor) -> Tensor:
    """Vectors [.., C] of unit length; one shorter than 1e-6 stays shorter than 1, and its gradient finite."""
    squares = ops.square(vectors).sum(-1, keepdims=True)
    return vectors * ops.rsqrt(ops.maximum(squares, 1e-12))


class Mac(nn.Cell):
    """Maximum over the cells."""

    def construct(self, maps: Tensor) -> Tensor:
        return ops.amax(maps, (2, 3))


class Spoc(nn.Cell):
    """Mean over the cells."""

    def construct(self, maps: Tensor) -> Tensor:
        return maps.mean((2, 3))


class Gem(nn.Cell):
    """( mean( max(x, 1e-6)^p ) )^(1/p) (Radenovic et al., TPAMI 2018).

    Args:
        p: its power at the start, above 0.
        channels: how many powers there are; 1 = one for all channels.
        trains: whether they are learned.
    """

    def __init__(self, p: float = 3.0, channels: int = 1, trains: bool = True) -> None:
        super().__init__()
        self.p = Parameter(Tensor(np.full(channels, p, np.float32)), requires_grad=trains)

    def construct(self, maps: Tensor) -> Tensor:
        maps = ops.maximum(maps, _EPSILON)
        # Powers of numbers up to 1 never overflow. The result does not depend on the peaks, so they need no gradient.
        peaks = ops.stop_gradient(ops.amax(maps, (2, 3), True))
        means = ops.pow(maps / peaks, ops.reshape(self.p, (1, -1, 1, 1))).mean((2, 3))
        return ops.reshape(peaks, means.shape) * ops.pow(means, 1 / self.p)


class Rmac(nn.Cell):
    """Sum over the regions of R-MAC's grid of their unit maxima (Tolias et al., ICLR 2016).

    Args:
        levels: of the grid.
        whole_map: whether the whole map is a region too, as in cirtorch.
    """

    def __init__(self, levels: int = 3, whole_map: bool = False) -> None:
        super().__init__()
        self.levels = levels
        self.whole_map = whole_map

    def construct(self, maps: Tensor) -> Tensor:
        total = ops.zeros_like(maps[:, :, 0, 0])
        if self.whole_map:
            total = l2(ops.amax(maps, (2, 3)))
        for left, top, right, bottom in _grid(maps.shape[2], maps.shape[3], self.levels):
            total = total + l2(ops.amax(maps[:, :, top:bottom, left:right], (2, 3)))
        return total


Boxes = Tuple[Tuple[int, int, int, int], ...]


@ops.constexpr
def _grid(height: int, width: int, levels: int) -> Boxes:
    """``region_grid`` where a graph is compiled."""
    return _as_tuples(region_grid(height, width, levels))


@ops.constexpr
def photo_regions(height: int, width: int, levels: int, stride: int, image_height: int, image_width: int) -> Boxes:
    """The regions of regional attention (``regions_of``) where a graph is compiled."""
    return _as_tuples(regions_of((height, width), levels, "regional_attention", stride, (image_width, image_height)))


def _as_tuples(boxes: np.ndarray) -> Boxes:
    rows: List[List[int]] = boxes.tolist()
    return tuple(tuple(row) for row in rows)


def make_pooling_cell(
    pooling: str, channels: int, gem_p: float = 3.0, gem_power: str = "learned", rmac_levels: int = 3
) -> nn.Cell:
    """A pooling by its name.

    Args:
        pooling: one of ``POOLINGS``.
        channels: of the maps.
        gem_p: of GeM, at the start.
        gem_power: one of ``GEM_POWERS``: one learned power, a fixed one, or a learned one for each channel.
        rmac_levels: of R-MAC.

    Raises:
        UserError: a pooling of extraction that is not trained.
    """
    if pooling not in POOLINGS:
        raise UserError(f"descriptors of `pooling` {pooling} are not trained: give one of {', '.join(POOLINGS)}")
    if pooling == "gem":
        return Gem(gem_p, channels if gem_power == "channel" else 1, gem_power != "fixed")
    if pooling in ("rmac", "rmac_whole"):
        return Rmac(rmac_levels, pooling == "rmac_whole")
    return Mac() if pooling == "mac" else Spoc()
