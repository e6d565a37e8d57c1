"""From a feature map to one vector: MAC, SPoC, GeM, R-MAC, regional pooling, regional attention; scales combined.

Pooling is done here, in NumPy on the network's map, and not in the network, so that every engine gives one descriptor.
"""

from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

import numpy as np

from ..errors import UserError
from .heads import Linear, RegionalAttention, identity_of, numbers, unit
from .map_pooling import EPSILON, WHOLE_MAP, GemPower, pool_regions, regional_gem, whole_box
from .regions import ROI_ARITHMETIC, regions_of

# Name -> whether the whole map is a region too, pooling of a region, RoI arithmetic
REGIONAL: Dict[str, Tuple[bool, str, str]] = {
    "rmac": (False, "mac", "map"),  # Tolias et al.
    "rmac_whole": (True, "mac", "map"),  # cirtorch's R-MAC
    "regional": (True, "gem", "map"),  # cirtorch's --regional
    "regional_dir": (False, "mac", "dir"),  # DIR-Caffe
    "regional_attention": (False, "mac", "regional_attention"),
}
POOLINGS = (*WHOLE_MAP, *REGIONAL)
SCALE_POOLINGS = ("mean", "gem", "gem_dirtorch", "max")


@dataclass(frozen=True, eq=False)
class Pooling:
    """A pooling with all its parameters; made by ``make_pooling``.

    Attributes:
        name: one of ``POOLINGS``.
        gem_p: [] or [C] float32; where a region, or the map, is pooled by GeM.
        levels: of the grid.
        roi: one of ``ROI_ARITHMETIC``.
        stride: pixels between two cells of the map; for the RoI arithmetic of photos.
        whole_map: whether the whole map is region 0.
        region_pooling: one of ``WHOLE_MAP``, how a region is pooled.
        layer: linear layer on each region's vector, or None: a network's own, or a whitening (``Whitening.linear``).
        attention: of regions, or None.
        regional_gem: (p, side of the window, share of the map itself) of SuperGlobal's step before the pooling; None =
            no such step.
    """

    name: str
    gem_p: np.ndarray
    levels: int
    roi: str
    stride: int
    whole_map: bool
    region_pooling: str
    layer: Optional[Linear] = None
    attention: Optional[RegionalAttention] = None
    regional_gem: Optional[Tuple[float, int, float]] = None

    def __call__(self, feature_map: np.ndarray, image_size: Optional[Tuple[int, int]] = None) -> np.ndarray:
        """The vector of a map; its norm is not 1: the L2 that every family has next is the caller's.

        Args:
            feature_map: [h, w, C] float32, after the last ReLU.
            image_size: (width, height) of the photo as the network saw it, for the RoI arithmetic of photos; None =
                the map's times the stride.

        Returns:
            [C] float32; [D] where regions have a layer.

        Raises:
            UserError: a layer, an attention or a GeM that is for another number of channels.
        """
        feature_map = self._checked(feature_map)
        if self.name not in REGIONAL:
            return self._pool(feature_map, whole_box(feature_map))[0]
        boxes = self._boxes(feature_map, image_size)
        vectors = self._finished(self._pool(feature_map, boxes))
        if self.attention is None:
            return vectors.sum(axis=0)
        return (self._weights(feature_map, boxes) @ vectors / len(vectors)).astype(np.float32)

    def region_weights(
        self, feature_map: np.ndarray, image_size: Optional[Tuple[int, int]] = None
    ) -> Tuple[np.ndarray, np.ndarray]:
        """The regions [R, 4] in cells, and how much each counts [R], of a pooling with an attention.

        Arguments and errors as of a call.
        """
        feature_map = self._checked(feature_map)
        boxes = self._boxes(feature_map, image_size)
        return boxes, self._weights(feature_map, boxes)

    def region_vectors(self, feature_map: np.ndarray, image_size: Optional[Tuple[int, int]] = None) -> np.ndarray:
        """Vectors [R, C] of the regions as the layer would get them: what a region-wise whitening is fitted on.

        Regional attention has no L2 before its layer, every other family has. Arguments and errors as of a call.
        """
        feature_map = self._checked(feature_map)
        vectors = self._pool(feature_map, self._boxes(feature_map, image_size))
        return vectors if self.name == "regional_attention" else unit(vectors)

    def settings(self) -> Dict[str, Any]:
        """All that the vector depends on, as JSON has it; layers and GeM powers of channels by their SHA-256."""
        regional = self.name in REGIONAL
        values: Dict[str, Any] = {"pooling": self.name}
        if "gem" in (self.name, self.region_pooling):
            values["gem_p"] = float(self.gem_p) if not self.gem_p.ndim else identity_of(self.gem_p)
        if regional:
            values.update(rmac_levels=self.levels, roi=self.roi, whole_map=self.whole_map, region=self.region_pooling)
            values.update(stride=self.stride if self.roi != "map" else None)
            values.update(layer=self.layer.identity if self.layer else None)
        if self.attention:
            values.update(attention=self.attention.identity, nonlinearity=self.attention.nonlinearity)
        if self.regional_gem:
            values["regional_gem"] = list(self.regional_gem)
        return values

    def _checked(self, feature_map: np.ndarray) -> np.ndarray:
        """The map in float32, after SuperGlobal's step if there is one."""
        feature_map = np.asarray(feature_map, np.float32)
        channels = feature_map.shape[-1]
        for what, wanted in (
            ("GeM", self.gem_p.size if self.gem_p.ndim else channels),
            ("layer of regions", self.layer.weight.shape[1] if self.layer else channels),
            ("attention of regions", self.attention.w1.shape[1] // 2 if self.attention else channels),
        ):
            if wanted != channels:
                raise UserError(f"the {what} is for maps of {wanted} channels, the network's have {channels}")
        return regional_gem(feature_map, *self.regional_gem) if self.regional_gem else feature_map

    def _boxes(self, feature_map: np.ndarray, image_size: Optional[Tuple[int, int]]) -> np.ndarray:
        boxes = regions_of(feature_map.shape[:2], self.levels, self.roi, self.stride, image_size)
        return np.concatenate([whole_box(feature_map), boxes]) if self.whole_map else boxes

    def _pool(self, feature_map: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        return pool_regions(feature_map, boxes, self.region_pooling, self.gem_p)

    def _weights(self, feature_map: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        means = pool_regions(feature_map, np.concatenate([whole_box(feature_map), boxes]), "spoc")
        return self.attention(means[1:], means[0])

    def _finished(self, vectors: np.ndarray) -> np.ndarray:
        """Region vectors as they are added up: L2, and layer and L2 where there is one; see ``region_vectors``."""
        if self.name == "regional_attention":
            return unit(self.layer(vectors)) if self.layer else vectors
        vectors = unit(vectors)
        return unit(self.layer(vectors)) if self.layer else vectors


def make_pooling(
    pooling: str = "gem",
    gem_p: GemPower = 3.0,
    rmac_levels: int = 3,
    roi: Optional[str] = None,
    stride: int = 32,
    whole_map: Optional[bool] = None,
    region_pooling: Optional[str] = None,
    layer: Optional[Linear] = None,
    attention: Optional[RegionalAttention] = None,
    regional_gem_p: float = 0.0,
    regional_gem_size: int = 5,
    regional_gem_mix: float = 0.5,
) -> Pooling:
    """A pooling by its name.

    Args:
        pooling: one of ``POOLINGS``.
        gem_p: power of GeM, above 0, or one for each channel.
        rmac_levels: levels of the grid of regions.
        roi, whole_map, region_pooling: of regions; None = as the family of ``pooling`` has it.
        stride: pixels between two cells of the map.
        layer: linear layer on each region's vector.
        attention: needed by "regional_attention", and for it alone.
        regional_gem_p: power of SuperGlobal's Regional-GeM before the pooling; 0 = none.
        regional_gem_size: side of its window in cells, odd.
        regional_gem_mix: share of the map itself in it.

    Raises:
        UserError: no such pooling, a number out of its range, or a part that the pooling has no use for, or lacks.
    """
    regional = {"roi": roi, "whole_map": whole_map, "region_pooling": region_pooling, "layer": layer}
    _require_parts(pooling, regional, attention)
    try:
        powers = numbers(gem_p, "`gem_p`", (-1,) if np.ndim(gem_p) else ())
    except ValueError as error:
        raise UserError(str(error)) from error
    for key, is_good, wanted in (
        ("gem_p", (powers > 0).all(), "above 0"),
        ("rmac_levels", rmac_levels >= 1, "above 0"),
        ("stride", stride >= 1, "above 0"),
        ("roi", roi in (None, *ROI_ARITHMETIC), f"one of {', '.join(ROI_ARITHMETIC)}"),
        ("region_pooling", region_pooling in (None, *WHOLE_MAP), f"one of {', '.join(WHOLE_MAP)}"),
        ("regional_gem_p", regional_gem_p >= 0, "above 0, or 0 for none"),
        ("regional_gem_size", regional_gem_size % 2 == 1, "odd"),
        ("regional_gem_mix", 0 <= regional_gem_mix <= 1, "from 0 to 1"),
    ):
        if not is_good:
            raise UserError(f"`{key}` must be {wanted}")
    family = REGIONAL.get(pooling, (False, pooling, "map"))
    step = (float(regional_gem_p), int(regional_gem_size), float(regional_gem_mix)) if regional_gem_p else None
    return Pooling(
        pooling, powers, int(rmac_levels), roi or family[2], int(stride),
        family[0] if whole_map is None else whole_map, region_pooling or family[1], layer, attention, step,
    )  # fmt: skip


def _require_parts(pooling: str, regional: Mapping[str, Any], attention: Optional[RegionalAttention]) -> None:
    """UserError for an unknown pooling, or a part that it has no use for, or lacks."""
    if pooling not in POOLINGS:
        raise UserError(f"`pooling` is {pooling!r}; it must be one of {', '.join(POOLINGS)}")
    unused = [name for name, value in regional.items() if value is not None and pooling not in REGIONAL]
    unused += ["attention"] if attention is not None and pooling != "regional_attention" else []
    if unused:
        raise UserError(f"`{unused[0]}` has no effect on the pooling {pooling}: leave it out")
    if pooling == "regional_attention" and attention is None:
        raise UserError("the pooling regional_attention needs weights of its attention; give a network that has them")


def combine_scales(vectors: Sequence[np.ndarray], method: str = "mean", p: float = 3.0) -> np.ndarray:
    """One descriptor of those of several scales: L2 of each, combined, L2.

    Args:
        vectors: [D] of each scale, of any norm above 0; what a head made of them where there is one.
        method: "mean" (cirtorch with a projection, DIR-Caffe's sum, HOW); "gem", the power mean with signs kept
            (cirtorch: p of its GeM); "gem_dirtorch", the same as dirtorch computes it: both powers raise magnitudes
            below 1e-6 to that, so that with p = 3 no result but 0 is nearer to 0 than 0.01; "max" (SuperGlobal).
        p: of the two GeM.

    Returns:
        [D] float32 of unit norm.

    Raises:
        UserError: no such method.
    """
    if method not in SCALE_POOLINGS:
        raise UserError(f"`scale_pooling` is {method!r}; it must be one of {', '.join(SCALE_POOLINGS)}")
    rows = unit(np.stack(vectors)).astype(np.float64)
    if len(rows) == 1:
        return rows[0].astype(np.float32)
    if method == "max":
        return unit(rows.max(axis=0))
    if method == "mean":
        return unit(rows.mean(axis=0))
    least = EPSILON if method == "gem_dirtorch" else 0.0
    return unit(_signed_power(_signed_power(rows, p, least).mean(axis=0), 1 / p, least))


def _signed_power(values: np.ndarray, p: float, least: float) -> np.ndarray:
    return np.sign(values) * np.maximum(np.abs(values), least) ** p
