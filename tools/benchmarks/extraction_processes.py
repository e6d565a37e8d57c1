"""What extraction costs in each engine, a process each, and how far its features are from another's."""

import multiprocessing
import resource
import time
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Callable, Iterator, NamedTuple, Optional

import numpy as np

from src.config import Config
from src.engines import Model
from src.engines.choose import of_one_image, open_model
from src.errors import UserError
from src.features.extractor import ExtractionSettings, prepare, run_network, select
from src.features.pca import Pca
from src.records import LocalFeatures

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
def extraction_process(
    config: Config, photo: np.ndarray, pca: Optional[Pca] = None, way: str = "folded"
) -> Iterator[Callable[[], Measured]]:
    """A function that extracts ``photo`` once, in a process of its own that has extracted it before.

    Args:
        config: recipe with its engine resolved.
        photo: [H, W, 3] uint8 RGB.
        pca: projects the descriptors; None keeps them raw.
        way: "folded" = as extraction does; "trained" = with MindSpore and BatchNorm as trained; "zoo" = that network as
            the model zoo runs it, on all levels padded to one batch, and nothing before or after it; "zoo levels" = on
            one padded level after the other.

    Raises:
        UserError: the engine cannot run the checkpoint here, or the process was killed.
    """
    context = multiprocessing.get_context("spawn")  # MindSpore does not survive a fork
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, config, photo, pca, way), daemon=True)
    process.start()
    there.close()

    def extract() -> Measured:
        try:
            here.send("once more")
            answer = here.recv()
        except (EOFError, BrokenPipeError) as error:
            process.join()
            raise UserError(f"it ended with status {process.exitcode} (-9: killed, for lack of memory)") from error
        if isinstance(answer, UserError):
            raise answer
        return answer

    try:
        extract()
        yield extract
    finally:
        here.close()  # upon which it ends
        process.join()


def _serve(connection: Connection, config: Config, photo: np.ndarray, pca: Optional[Pca], way: str) -> None:
    try:
        connection.recv()
        run = _zoo_run(config, photo, way) if way.startswith("zoo") else _extraction(config, photo, pca, way)
        while True:
            connection.send(run())
            connection.recv()
    except UserError as error:
        connection.send(error)
    except EOFError:  # the other side has what it wants
        return


def _extraction(config: Config, photo: np.ndarray, pca: Optional[Pca], way: str) -> Callable[[], Measured]:
    network = of_one_image((_trained_model if way == "trained" else open_model)(config))
    settings = ExtractionSettings.from_config(config)

    def run() -> Measured:
        started = time.perf_counter()
        prepared = prepare(photo, settings)
        maps = run_network(prepared, network)
        network_ended = time.perf_counter()
        features = select(maps, prepared.frame, settings, pca)
        ended = time.perf_counter()
        return Measured(features, 1000 * (ended - started), 1000 * (ended - network_ended), _peak_memory())

    return run


def _zoo_run(config: Config, photo: np.ndarray, way: str) -> Callable[[], Measured]:
    model, levels = _trained_model(config), prepare(photo, ExtractionSettings.from_config(config)).levels
    if max(max(level.shape) for _, level in levels) > ZOO_SIDE:
        raise UserError(f"a pyramid level is longer than {ZOO_SIDE} pixels, the model zoo's limit: use a smaller photo")
    batch = np.zeros((len(levels), 3, ZOO_SIDE, ZOO_SIDE), np.float32)
    for padded, (_, level) in zip(batch, levels):
        padded[:, : level.shape[2], : level.shape[3]] = level[0]
    parts = [batch] if way == "zoo" else np.split(batch, len(batch))

    def run() -> Measured:
        started = time.perf_counter()
        for part in parts:
            model(part)
        return Measured(None, 1000 * (time.perf_counter() - started), 0.0, _peak_memory())

    return run


def _trained_model(config: Config) -> Model:
    from src.engines.mindspore_engine import open_trained_model

    return open_trained_model(config)


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
