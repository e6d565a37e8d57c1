"""DELF: attentive local features of an image pyramid (Noh et al., ICCV 2017, section 3; details of the reference)."""

import dataclasses
import logging
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np

from ..config import MOST_FEATURES, ExtractionConfig, ModelConfig, RunConfig
from ..engines import Network, resolve_engine, weights_identity
from ..errors import UserError
from ..images import LoadedPhoto
from ..model.architectures import Architecture, architecture_of
from ..model.weight_files import is_foreign_file
from ..records import LocalFeatures, Provenance
from .encoder import Box, Encoded, Encoder, LoadNetwork
from .framing import Frame, Level, frame_photo, levels_of, sufficient_side
from .heads import Linear
from .local_layer import local_layer
from .pca import Pca, fitting_pca, l2_normalise, project
from .pyramid import box_centres, interpolation, non_max_suppression, receptive_boxes
from .saved_threshold import saved_threshold

logger = logging.getLogger(__name__)

_LEAST_FEATURES, _FEATURES_PER_MEGAPIXEL = 100, 600  # a small photo has fewer places worth one: docs/real_photos.md
_MEANING = ("pca_dim", "use_whitening", "use_square_images")  # of a descriptor
_SETTINGS = (
    "image_scales", "max_feature_num", "score_threshold", "iou_threshold", "max_image_size", "min_image_size",
    "resize_factor",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Prepared:
    """A photo ready for the network: its pyramid levels, and where they lie."""

    levels: List[Level]
    frame: Frame


@dataclass(frozen=True, eq=False)
class LevelMaps:
    """What the network makes of a level: feature map [rows, columns, C] and attention [rows, columns]."""

    scale: float
    feature_map: np.ndarray
    attention: np.ndarray


@dataclass(frozen=True, eq=False)
class Inferred:
    """A photo after the network."""

    levels: List[LevelMaps]
    frame: Frame


@dataclass(frozen=True, eq=False)
class DelfEncoder(Encoder):
    """Local features of a photo.

    Attributes:
        extraction: pyramid, selection and dimensions.
        architecture: of the network.
        pca: projects the descriptors; None keeps them raw (L2-normalised).
        layer: makes descriptors of features, before the PCA; DELG's weights and HOW's bring one.
        provenance, engine: see ``Encoder``.
        load_network: makes the network from device id and threads.
        network: None before ``load``.
    """

    extraction: ExtractionConfig
    architecture: Architecture
    pca: Optional[Pca] = None
    provenance: Provenance = field(default_factory=Provenance)
    engine: str = ""
    load_network: Optional[Callable[[int, int], Network]] = None
    network: Optional[Network] = None
    layer: Optional[Linear] = None

    @property
    def sufficient_side(self) -> int:
        """See ``Encoder``."""
        return sufficient_side(self.extraction)

    def load(self, device_id: int = 0, threads: int = 0) -> "DelfEncoder":
        """See ``Encoder``."""
        return dataclasses.replace(self, network=self.load_network(device_id, threads))

    def prepare(self, photo: LoadedPhoto, box: Optional[Box] = None) -> Prepared:
        """Cut out, resize, normalise, and make the pyramid; see ``frame_photo``."""
        image, frame = frame_photo(photo, box, self.extraction, self.extraction.image_scales)
        return Prepared(levels_of(image, self.architecture, self.extraction.image_scales), frame)

    def infer(self, prepared: Prepared) -> Inferred:
        """Run the network on each level."""
        return Inferred([LevelMaps(scale, *self.network(level)) for scale, level in prepared.levels], prepared.frame)

    def select(self, inferred: Inferred) -> Encoded:
        """Choose the cells that become features, best first, and take their descriptors from the maps."""
        levels, frame, settings = inferred.levels, inferred.frame, self.extraction
        cells = [_passing_cells(level, settings.score_threshold) for level in levels]
        if not sum(map(len, cells)):
            return Encoded(self._no_features(frame))
        field_of_view = self.architecture.receptive_field
        boxes = np.concatenate(
            [
                receptive_boxes(*level.attention.shape, level.scale, field_of_view)[own]
                for level, own in zip(levels, cells)
            ]
        )
        scores = np.concatenate([level.attention.reshape(-1)[own] for level, own in zip(levels, cells)])
        scales = np.concatenate([np.full(len(own), 1 / level.scale) for level, own in zip(levels, cells)])
        most = settings.max_feature_num or _number_by_size(frame)
        kept = non_max_suppression(boxes, scores, settings.iou_threshold, most)
        return Encoded(
            LocalFeatures(
                keypoints=box_centres(boxes[kept])[:, ::-1] / frame.factors + frame.offset,
                scales=scales[kept],
                scores=scores[kept],
                descriptors=self.describe(self._gather(levels, cells, kept)),
                image_size=frame.image_size,
                resize_factor=frame.resize_factor,
            )
        )

    def attention_map(self, inferred: Inferred, map_size: Tuple[int, int]) -> np.ndarray:
        """The highest attention of any level at each pixel, bilinear between the centres of the cells.

        A cell's centre is its keypoint: stride * (column, row) / scale, pixels of the resized photo.

        Args:
            inferred: of a whole photo.
            map_size: (width, height) of the map, over the whole photo.

        Returns:
            [height, width] float32; zeros where there is no level.
        """
        found = np.zeros((map_size[1], map_size[0]), np.float32)
        stride, frame = self.architecture.receptive_field.stride, inferred.frame
        x, y = (
            ((np.arange(new) + 0.5) * old / new - 0.5) * factor / stride
            for new, old, factor in zip(map_size, frame.image_size, frame.factors)
        )
        for level in inferred.levels:
            rows, columns = level.attention.shape
            across, down = interpolation(x * level.scale, columns), interpolation(y * level.scale, rows)
            np.maximum(found, down @ level.attention @ across.T, out=found)
        return found

    def features_at(self, feature_map: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Features [N, C] of cells of a map [h, w, C]."""
        return feature_map[rows, columns]

    def describe(self, raw: np.ndarray) -> np.ndarray:
        """Descriptors [N, D] of features [N, C]."""
        settings = self.extraction
        raw = self.layer(raw) if self.layer else raw
        if self.pca is None:
            return l2_normalise(raw)
        return project(raw, self.pca, settings.pca_dim, settings.use_whitening)

    def _gather(self, levels: List[LevelMaps], cells: List[np.ndarray], kept: np.ndarray) -> np.ndarray:
        """Features [N, C] of the ``kept`` positions in the concatenation of all levels' ``cells``."""
        raw = np.empty((len(kept), levels[0].feature_map.shape[2]), np.float32)
        start = 0
        for level, own in zip(levels, cells):
            here = (kept >= start) & (kept < start + len(own))
            rows, columns = np.divmod(own[kept[here] - start], level.feature_map.shape[1])
            raw[here] = self.features_at(level.feature_map, rows, columns)
            start += len(own)
        _require_finite(raw)
        return raw

    def _no_features(self, frame: Frame) -> LocalFeatures:
        dimension = self.extraction.pca_dim if self.pca else _channels(self.architecture, self.layer)
        empty = np.zeros(0, np.float32)
        return LocalFeatures(
            np.zeros((0, 2)), empty, empty, np.zeros((0, dimension)), frame.image_size, frame.resize_factor
        )


def make_encoder(
    run: RunConfig, model: ModelConfig, extraction: ExtractionConfig, load_network: LoadNetwork
) -> DelfEncoder:
    """The encoder of a recipe: its engine, PCA and score threshold decided, its network not loaded.

    Without a ``score_threshold`` it is the one saved beside the checkpoint, if any. Without a ``max_feature_num`` it
    follows from each photo's size, but for weights that have no attention: a random one would keep random places.

    Raises:
        UserError: unusable checkpoint, engine or PCA, or the saved threshold belongs to another checkpoint.
    """
    weights = weights_identity(run, model)
    model, architecture = resolve_engine(run, model), architecture_of(model)
    if extraction.score_threshold is None:
        threshold = saved_threshold(model.checkpoint_path, weights)
        if threshold is not None:
            logger.info("score threshold %g, saved beside the checkpoint", threshold)
        extraction = extraction.replace(score_threshold=threshold)
    if extraction.max_feature_num is None and is_foreign_file(model.checkpoint_path):
        extraction = extraction.replace(max_feature_num=MOST_FEATURES)
        logger.info("the attention is untrained, its order means nothing: %d features a photo", MOST_FEATURES)
    layer = local_layer(model.checkpoint_path)
    pca = fitting_pca(extraction, model.checkpoint_path, weights, _channels(architecture, layer))
    provenance = _provenance(model, extraction, architecture, pca, weights)
    load = partial(load_network, run, model)
    return DelfEncoder(extraction, architecture, pca, provenance, model.engine, load, layer=layer)


def _channels(architecture: Architecture, layer: Optional[Linear]) -> int:
    """Numbers of a raw descriptor."""
    return len(layer.bias) if layer else architecture.block3_channels


def _provenance(
    model: ModelConfig, extraction: ExtractionConfig, architecture: Architecture, pca: Optional[Pca], weights: str
) -> Provenance:
    """Everything that the numbers depend on; the engine too, but not at float32, where all agree to the last digits."""
    values, engine = extraction.values(), {"engine": model.engine}
    exact = model.precision == "float32"
    encoder: Dict[str, Any] = {
        "name": "delf",
        "architecture": architecture.name,
        "weights_style": architecture.style.name,
        "precision": model.precision,
        "pca": pca.identity if pca else "",
        **{name: values[name] for name in _MEANING if pca or name not in ("pca_dim", "use_whitening")},
        **({} if exact else engine),
    }
    return Provenance(weights, encoder, {name: values[name] for name in _SETTINGS}, notes=engine if exact else {})


def _number_by_size(frame: Frame) -> int:
    """Features of a photo, or of a cut-out of it: as many as the whole photo's size asks for."""
    width, height = frame.image_size
    megapixels = width * height * frame.resize_factor**2 / 1e6
    return min(max(round(_FEATURES_PER_MEGAPIXEL * megapixels), _LEAST_FEATURES), MOST_FEATURES)


def _passing_cells(level: LevelMaps, score_threshold: Optional[float]) -> np.ndarray:
    """Numbers, row by row, of the cells whose score reaches the threshold."""
    scores = level.attention.reshape(-1)
    _require_finite(scores)
    return np.arange(len(scores)) if score_threshold is None else np.flatnonzero(scores >= score_threshold)


def _require_finite(numbers: np.ndarray) -> None:
    if not np.isfinite(numbers).all():
        raise UserError("the network returns numbers that are not finite: the checkpoint's training diverged")
