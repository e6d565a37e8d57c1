"""Global descriptors: the network's maps of a photo pooled to one vector, alone or beside DELF's local features.

For each scale a map, pooled, and a head where there is one; the scales combined; L2; whitening and L2. A scale is the
normalised photo resized bilinearly, as cirtorch resizes, not the file's pixels. Both kinds share one pass of the
network: a pyramid level that both want is run once.
"""

import dataclasses
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np

from ..config import ExtractionConfig, GlobalConfig, ModelConfig, RunConfig
from ..engines import DELF_OUTPUTS, Network, resolve_engine, weights_identity
from ..errors import UserError
from ..images import LoadedPhoto
from ..model.architectures import Architecture, architecture_of
from ..records import GlobalDescriptor, Provenance
from . import delf_encoder
from .delf_encoder import DelfEncoder, Inferred, LevelMaps, Prepared
from .encoder import Box, Encoded, Encoder, LoadNetwork, UnusablePhoto
from .framing import Level, frame_photo, levels_of, sufficient_side
from .global_settings import GlobalSettings, decide
from .kinds import joined
from .pooling import Pooling, combine_scales, make_pooling
from .pyramid import MIN_IMAGE_SIDE
from .region_layer import with_region_whitening
from .whitening import Whitening, fitting_whitening

_SETTINGS = ("max_image_size", "min_image_size", "resize_factor")


@dataclass(frozen=True, eq=False)
class PreparedBoth:
    """A photo ready for the network.

    Attributes:
        image_size: (width, height) of the photo.
        local: DELF's levels; None without local features.
        shared: those of DELF's scales whose maps are pooled too.
        levels: the levels that are pooled alone.
    """

    image_size: Tuple[int, int]
    local: Optional[Prepared]
    shared: Tuple[float, ...]
    levels: List[Level]


@dataclass(frozen=True, eq=False)
class InferredBoth:
    """A photo after the network: what DELF selects from, and the map of each scale of the global descriptor."""

    image_size: Tuple[int, int]
    local: Optional[Inferred]
    maps: List["ScaleMap"]


@dataclass(frozen=True, eq=False)
class ScaleMap:
    """The map [h, w, C] of a scale, and (width, height) of the level it was made of."""

    feature_map: np.ndarray
    level_size: Tuple[int, int]


@dataclass(frozen=True, eq=False)
class GlobalEncoder(Encoder):
    """Global descriptors, and local features where ``delf`` is given.

    Attributes:
        extraction: limits of the photo's size.
        settings: scales, layer, head and how scales are combined.
        architecture: of the network.
        pooling: from a map to a vector.
        whitening: projects the descriptors; None = none.
        delf: its settings select the local features; it has no network of its own.
        provenance, engine: see ``Encoder``.
        load_network: makes the network from device id and threads.
        network: None before ``load``.
    """

    extraction: ExtractionConfig
    settings: GlobalSettings
    architecture: Architecture
    pooling: Pooling
    whitening: Optional[Whitening] = None
    delf: Optional[DelfEncoder] = None
    provenance: Provenance = field(default_factory=Provenance)
    engine: str = ""
    load_network: Optional[Callable[[int, int], Network]] = None
    network: Optional[Network] = None

    @property
    def sufficient_side(self) -> int:
        """See ``Encoder``."""
        return sufficient_side(self.extraction)

    def load(self, device_id: int = 0, threads: int = 0) -> "GlobalEncoder":
        """See ``Encoder``."""
        return dataclasses.replace(self, network=self.load_network(device_id, threads))

    def prepare(self, photo: LoadedPhoto, box: Optional[Box] = None) -> PreparedBoth:
        """Cut out, resize, normalise, and make the levels; see ``frame_photo``.

        By default a query's cut-out is resized as a photo of its own. DELF resizes it with its photo's factor, so that
        only where both come to the same pixels the levels are shared.

        Raises:
            UnusablePhoto: too small for the network.
        """
        scales, local, shared = self.settings.descriptor.global_scales, None, ()
        as_whole = box is None or self.settings.descriptor.query_resize == "photo"
        every = (*scales, *self.delf.extraction.image_scales) if self.delf else scales
        image, frame = frame_photo(photo, box, self.extraction, every, as_whole)
        if self.delf:
            seen, own_frame = (image, frame) if as_whole else frame_photo(photo, box, self.extraction, every)
            local = Prepared(levels_of(seen, self.architecture, self.delf.extraction.image_scales), own_frame)
            if _is_same(image, seen):
                shared = tuple(scale for scale, _ in local.levels if scale in scales)
        levels = levels_of(image, self.architecture, [scale for scale in dict.fromkeys(scales) if scale not in shared])
        if not levels and not shared:
            raise UnusablePhoto(f"too small for a global descriptor, which takes {MIN_IMAGE_SIDE} pixels a side")
        return PreparedBoth(photo.size, local, shared, levels)

    def infer(self, prepared: PreparedBoth) -> InferredBoth:
        """Run the network on each level."""
        pooled: Dict[float, ScaleMap] = {}
        levels: List[LevelMaps] = []
        for scale, level in prepared.local.levels if prepared.local else ():
            found = self._run(level)
            levels.append(LevelMaps(scale, *(found[name] for name in DELF_OUTPUTS)))
            if scale in prepared.shared:
                pooled[scale] = self._scale_map(found, level)
        for scale, level in prepared.levels:
            pooled[scale] = self._scale_map(self._run(level), level)
        maps = [pooled[scale] for scale in self.settings.descriptor.global_scales if scale in pooled]
        local = Inferred(levels, prepared.local.frame) if prepared.local else None
        return InferredBoth(prepared.image_size, local, maps)

    def select(self, inferred: InferredBoth) -> Encoded:
        """Pool the maps, and choose DELF's features.

        Raises:
            UserError: the network returned numbers that are not finite.
            UnusablePhoto: a descriptor of zeros, which has no direction.
        """
        vectors = [self._pool(each) for each in inferred.maps]
        vector = combine_scales(vectors, self.settings.descriptor.scale_pooling, self.settings.scale_power)
        if self.whitening:
            vector = self.whitening.apply(vector)
        if np.linalg.norm(vector) < 0.5:  # a vector without direction is left as it is
            raise UnusablePhoto("its global descriptor is zero in all numbers: the photo shows nothing")
        local = self.delf.select(inferred.local).local if self.delf else None
        return Encoded(local, GlobalDescriptor(vector, inferred.image_size))

    def _run(self, level: np.ndarray) -> Dict[str, np.ndarray]:
        return dict(zip(self.settings.outputs(self.delf is not None), self.network(level)))

    def _scale_map(self, found: Dict[str, np.ndarray], level: np.ndarray) -> ScaleMap:
        return ScaleMap(found[self.settings.output], (level.shape[3], level.shape[2]))

    def _pool(self, scale: ScaleMap) -> np.ndarray:
        vector = self.pooling(scale.feature_map, scale.level_size)
        if not np.isfinite(vector).all():
            raise UserError("the network returns numbers that are not finite: the checkpoint's training diverged")
        return self.settings.head(vector) if self.settings.head else vector


def _is_same(image: Optional[np.ndarray], other: Optional[np.ndarray]) -> bool:
    """Whether two cut-outs of one box of a photo, resized, have the same pixels: where they have the same sides."""
    return image is not None and other is not None and image.shape == other.shape


def make_encoder(
    run: RunConfig,
    model: ModelConfig,
    extraction: ExtractionConfig,
    load_network: LoadNetwork,
    descriptor: GlobalConfig,
    with_local: bool = False,
) -> GlobalEncoder:
    """The encoder of a recipe: its engine, layer, pooling and whitening decided, its network not loaded.

    Args:
        run, model, extraction, descriptor: sections of the recipe.
        load_network: makes the network.
        with_local: whether it gives DELF's local features too.

    Raises:
        UserError: as of ``delf_encoder.make_encoder``; a layer, head or whitening that these weights do not have.
    """
    weights = weights_identity(run, model)
    model, architecture = resolve_engine(run, model), architecture_of(model)
    delf = delf_encoder.make_encoder(run, model, extraction, load_network) if with_local else None
    settings = decide(descriptor, model)
    outputs, is_block4 = settings.outputs(with_local), settings.output == "block4"
    stride = architecture.block4_stride if is_block4 else architecture.receptive_field.stride
    pooling = make_pooling(
        settings.descriptor.pooling, settings.gem_p, settings.descriptor.rmac_levels,
        stride=stride, layer=settings.region_layer, attention=settings.attention,
    )  # fmt: skip
    source = _provenance(model, extraction, settings, architecture, pooling, weights)
    channels = architecture.block4_channels if is_block4 else architecture.block3_channels
    if descriptor.region_whitening_path:
        pooling = with_region_whitening(pooling, descriptor.region_whitening_path, source, channels)
        source = _provenance(model, extraction, settings, architecture, pooling, weights)
    whitening = None
    if descriptor.whitening_path:
        layer = settings.head.linear if settings.head else pooling.layer
        dimension = len(layer.bias) if layer else channels
        whitening = fitting_whitening(descriptor.whitening_path, descriptor.whiten_dim, source, dimension)
        source = dataclasses.replace(source, encoder={**source.encoder, "whitening": whitening.identity})
    return GlobalEncoder(
        extraction, settings, architecture, pooling, whitening, delf,
        provenance=joined(delf.provenance, source) if delf else source,
        engine=model.engine,
        load_network=partial(load_network, run, model, outputs=outputs),
    )  # fmt: skip


def _provenance(
    model: ModelConfig,
    extraction: ExtractionConfig,
    decided: GlobalSettings,
    architecture: Architecture,
    pooling: Pooling,
    weights: str,
) -> Provenance:
    """Everything that the numbers depend on but the whitening; the engine where it does not compute in float32."""
    descriptor = decided.descriptor
    engine, exact = {"engine": model.engine}, model.precision == "float32"
    encoder: Dict[str, Any] = {
        "name": "global",
        "architecture": architecture.name,
        "weights_style": architecture.style.name,
        "precision": model.precision,
        "use_square_images": extraction.use_square_images,
        "descriptor_layer": descriptor.descriptor_layer,
        "head": decided.head.linear.identity if decided.head else "",
        "whitening": "",
        **pooling.settings(),
        **({} if exact else engine),
    }
    settings: Dict[str, Any] = {name: getattr(extraction, name) for name in _SETTINGS}
    settings["global_scales"] = list(descriptor.global_scales)
    settings["query_resize"] = descriptor.query_resize
    if len(descriptor.global_scales) > 1:
        settings["scale_pooling"] = descriptor.scale_pooling
    return Provenance(weights, encoder, settings, notes=engine if exact else {})
