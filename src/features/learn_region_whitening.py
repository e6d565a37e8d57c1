"""Fit the whitening of each region's vector, for R-MAC, regional pooling and regional attention, on photos."""

import dataclasses
import logging
from dataclasses import dataclass, field
from typing import List, Optional, Sequence

import numpy as np
from tqdm import tqdm

from ..artifacts import PathLike, is_made
from ..config import ExtractionConfig, GlobalConfig, ModelConfig, RunConfig
from ..errors import UserError
from ..images import LoadedPhoto
from ..records import Photo
from .encoder import Box, Encoded, Encoder, LoadNetwork, encode_photos, make_encoder
from .extraction import describe
from .global_encoder import GlobalEncoder, InferredBoth, PreparedBoth
from .kinds import GLOBAL
from .pooling import REGIONAL
from .whitening import OF_REGIONS, load_whitening, save_whitening
from .whitening_fit import fit_pca, power_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Regions(Encoded):
    """Vectors [R, C] of a photo's regions, of all its scales."""

    vectors: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))


class _RegionEncoder(Encoder):
    """Gives the vectors of the regions instead of what ``encoder`` makes of them."""

    def __init__(self, encoder: GlobalEncoder) -> None:
        self._encoder = encoder
        self.provenance, self.engine = encoder.provenance, encoder.engine
        self.sufficient_side = encoder.sufficient_side

    def load(self, device_id: int = 0, threads: int = 0) -> "_RegionEncoder":
        return _RegionEncoder(self._encoder.load(device_id, threads))

    def prepare(self, photo: LoadedPhoto, box: Optional[Box] = None) -> PreparedBoth:
        return self._encoder.prepare(photo, box)

    def infer(self, prepared: PreparedBoth) -> InferredBoth:
        return self._encoder.infer(prepared)

    def select(self, inferred: InferredBoth) -> _Regions:
        vectors_of = self._encoder.pooling.region_vectors
        return _Regions(vectors=np.concatenate([vectors_of(m.feature_map, m.level_size) for m in inferred.maps]))


def learn_region_whitening(
    photos: Sequence[Photo],
    output: PathLike,
    run: RunConfig,
    model: ModelConfig,
    extraction: ExtractionConfig,
    descriptor: GlobalConfig,
    dim: int = 0,
    power: Optional[float] = None,
    shrinkage: Optional[float] = None,
    load_network: Optional[LoadNetwork] = None,
) -> None:
    """Fit a PCA whitening on the regions of ``photos`` and write it to ``output`` (.npz).

    The regions' vectors are kept in memory: some 20 of a photo with three levels. A whitening of the same photos and
    settings is kept.

    Args:
        photos: to learn from.
        output: file to write.
        run, model, extraction, descriptor: sections of the recipe; whitenings in it are left aside.
        dim, power, shrinkage: as of ``fit_pca``.
        load_network: makes the network; None = that of the engines.

    Raises:
        UserError: an unusable checkpoint, a pooling without regions or with a layer of its own, no photo that can be
            read, too few regions, or another whitening at ``output``.
    """
    descriptor = descriptor.replace(whitening_path="", whiten_dim=0, region_whitening_path="")
    encoder = make_encoder(run, model, extraction, load_network, GLOBAL, descriptor)
    if encoder.pooling.name not in REGIONAL:
        fix = f"give `pooling` as one of {', '.join(REGIONAL)}"
        raise UserError(f"the pooling {encoder.pooling.name} has no regions; {fix}")
    if encoder.pooling.layer is not None:
        fact = f"{model.checkpoint_path}: brings a layer of regions of its own"
        raise UserError(f"{fact}; give `pooling` rmac, or other weights")
    made = describe(encoder, photos)
    settings = {**made.settings, **OF_REGIONS, "method": "pca", "dim": dim, "whiten_power": power_of(power, shrinkage)}
    wanted = dataclasses.replace(made, settings=settings, notes={})
    if is_made(output, wanted, lambda path: load_whitening(path, "output").provenance, run.overwrite):
        return
    vectors: List[np.ndarray] = []
    with tqdm(total=len(photos), desc="fit", unit="photo", disable=None) as bar:

        def deliver(_: Photo, encoded: _Regions) -> None:
            vectors.append(encoded.vectors)
            bar.update()

        encode_photos(_RegionEncoder(encoder).load(), photos, deliver, run.num_workers)
    if not vectors:
        raise UserError("none of the photos can be read; give others")
    regions = np.concatenate(vectors)
    notes = {"num_photos": len(vectors), "num_regions": len(regions)}
    whitening = fit_pca(regions, dim, power, shrinkage, dataclasses.replace(wanted, notes=notes))
    save_whitening(output, whitening)
    kept = len(whitening.components)
    logger.info("%s: %d dimensions from %d regions of %d photos", output, kept, len(regions), len(vectors))
