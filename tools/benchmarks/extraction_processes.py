"""What extraction costs in each engine, a process each, and how far its features are from another's."""

import resource
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Callable, Iterator, NamedTuple, Optional

import numpy as np

from src.config import Config, ModelConfig, RunConfig
from src.engines import BatchedNetwork, Network, load_network
from src.engines.choose import of_one_image
from src.errors import UserError
from src.features.encoder import Encoder, make_encoder
from src.images import photo_of_array
from src.records import LocalFeatures
from src.workers import Pool, Stage

ZOO_SIDE = 2048  # pixels: the model zoo pads every pyramid level to a square of it
ZOO_BYTES = 9e9  # that the network takes for seven of them


class Measured(NamedTuple):
    """One extraction of the photo.

    Attributes:
        features: of the photo; None for the model zoo's way.
        milliseconds: from the photo's pixels to its features.
        selection: milliseconds of what follows the network: boxes, top-k, PCA.
        memory: most that the process has had resident so far, MB.
    """

    features: Optional[LocalFeatures]
    milliseconds: float
    selection: float
    memory: float


@contextmanager
def extraction_process(config: Config, photo: np.ndarray, way: str = "folded") -> Iterator[Callable[[], Measured]]:
    """A function that extracts ``photo`` once, in a process of its own that has extracted it before.

    Args:
        config: recipe with its engine resolved.
        photo: [H, W, 3] uint8 RGB.
        way: "folded" = as extraction does; "trained" = with MindSpore and BatchNorm as trained; "zoo" = that network as
            the model zoo runs it, on all levels padded to one batch, and nothing before or after it; "zoo levels" = on
            one padded level after the other.

    Raises:
        UserError: the engine cannot run the checkpoint here, or the process was killed.
    """
    with Pool(partial(_make_stage, config, photo, way), [""], 1, "extraction process") as pool:

        def extract() -> Measured:
            ((_, measured),) = pool.map(["once more"])
            return measured

        extract()
        yield extract


def _make_stage(config: Config, photo: np.ndarray, way: str, _: str) -> Stage:
    run = _zoo_run(config, photo, way) if way.startswith("zoo") else _extraction(config, photo, way)

    def stage(take: Callable[[bool], str], deliver: Callable[[str, Measured], None]) -> None:
        while True:
            deliver(take(True), run())

    return stage


def _extraction(config: Config, photo: np.ndarray, way: str) -> Callable[[], Measured]:
    encoder = _encoder(config, load_trained if way == "trained" else load_network).load()

    def run() -> Measured:
        started = time.perf_counter()
        inferred = encoder.infer(encoder.prepare(photo_of_array(photo)))
        network_ended = time.perf_counter()
        features = encoder.select(inferred).local
        ended = time.perf_counter()
        return Measured(features, 1000 * (ended - started), 1000 * (ended - network_ended), _peak_memory())

    return run


def _encoder(config: Config, load: Callable[..., Network]) -> Encoder:
    return make_encoder(config.run, config.model, config.extraction, load)


def _zoo_run(config: Config, photo: np.ndarray, way: str) -> Callable[[], Measured]:
    network = _trained_network(config.run, config.model)
    levels = _encoder(config, load_trained).prepare(photo_of_array(photo)).levels
    if max(max(level.shape) for _, level in levels) > ZOO_SIDE:
        raise UserError(f"a pyramid level is longer than {ZOO_SIDE} pixels, the model zoo's limit: use a smaller photo")
    batch = np.zeros((len(levels), 3, ZOO_SIDE, ZOO_SIDE), np.float32)
    for padded, (_, level) in zip(batch, levels):
        padded[:, : level.shape[2], : level.shape[3]] = level[0]
    parts = [batch] if way == "zoo" else np.split(batch, len(batch))

    def run() -> Measured:
        started = time.perf_counter()
        for part in parts:
            network(part)
        return Measured(None, 1000 * (time.perf_counter() - started), 0.0, _peak_memory())

    return run


def load_trained(run: RunConfig, model: ModelConfig, device_id: int = 0, threads: int = 0) -> Network:
    """As ``load_network``, with BatchNorm as trained."""
    return of_one_image(_trained_network(run, model))


def _trained_network(run: RunConfig, model: ModelConfig) -> BatchedNetwork:
    from src.engines.mindspore_engine import trained_network

    return trained_network(run, model)


def fits_zoo_batch() -> bool:
    """Whether the memory that is free now holds the model zoo's batch."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) > ZOO_BYTES


def _peak_memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Drift(NamedTuple):
    """How features of a photo differ from others of it.

    Attributes:
        shared: share of the other's keypoints (place and scale) that are here too.
        mean_cosine, least_cosine: of the two descriptors of the shared keypoints; nan without any.
    """

    shared: float
    mean_cosine: float
    least_cosine: float


def drift(features: LocalFeatures, other: LocalFeatures) -> Drift:
    """How ``features`` differ from those of the ``other`` extraction of the same photo."""
    rows, others = (
        {(round(float(x), 2), round(float(y), 2), round(float(scale), 3)): row for row, ((x, y), scale) in numbered}
        for numbered in (enumerate(zip(found.keypoints, found.scales)) for found in (features, other))
    )
    both = sorted(set(rows) & set(others))
    if not both:
        return Drift(0.0, float("nan"), float("nan"))
    pairs = (found.descriptors[[own[key] for key in both]] for found, own in ((features, rows), (other, others)))
    cosines = np.multiply(*pairs).sum(axis=1)
    return Drift(len(both) / len(others), float(cosines.mean()), float(cosines.min()))


def draw_photo(width: int = 1024, height: int = 768) -> np.ndarray:
    """[height, width, 3] uint8: random shapes of all sizes, the same each time."""
    import cv2

    generator = np.random.default_rng(0)
    photo = np.full((height, width, 3), 128, np.uint8)
    for size in np.geomspace(height / 2, 4, 600):
        x, y = generator.integers(0, (width, height)).tolist()
        corners = generator.normal((x, y), size / 2, (generator.integers(3, 7), 2)).astype(np.int32)
        cv2.fillPoly(photo, [corners], generator.integers(0, 256, 3).tolist())
    return photo
