"""The whitening of regions as the layer of a pooling."""

import dataclasses

from ..errors import UserError
from ..records import Provenance
from .pooling import REGIONAL, Pooling
from .whitening import fitting_whitening


def with_region_whitening(pooling: Pooling, path: str, source: Provenance, channels: int) -> Pooling:
    """``pooling`` with the whitening at ``path`` on each region's vector.

    Args:
        pooling: of regions, without a layer.
        path: of the whitening, fitted on vectors of regions.
        source: weights and encoder of ``pooling``.
        channels: of the map.

    Raises:
        UserError: as of ``fitting_whitening``, or a pooling that has no regions, or a layer of its own.
    """
    if pooling.name not in REGIONAL:
        raise UserError(f"`region_whitening_path` has no effect on the pooling {pooling.name}: leave it out")
    if pooling.layer is not None:
        raise UserError("`region_whitening_path` would replace the layer that the weights bring: leave it out")
    return dataclasses.replace(pooling, layer=fitting_whitening(path, 0, source, channels, of_regions=True).linear())
