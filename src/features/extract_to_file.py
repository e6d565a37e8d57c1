"""From photos to a finished feature file: skip, resume, extract, merge, report."""

import logging
import os
import signal
import threading
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Callable, Dict, Iterator, Optional, Sequence

from ..artifacts import PathLike, atomic_write_bytes, digest
from ..config import Config, section_values
from ..device import network_threads
from ..engines import choose
from ..engines.identity import weights_sha256
from ..errors import Interrupted, UserError
from . import feature_parts
from .extractor import Network
from .feature_file import FeatureFile
from .pca import Pca
from .pca_choice import fitting_pca
from .photos import Photo, photos_digest, photos_of_shard
from .resolve import resolve
from .worker import Failures, Job
from .workers import extract_photos

logger = logging.getLogger(__name__)

_SHOWN_FAILURES = 20


def extract_to_file(
    photos: Sequence[Photo],
    protocol: str,
    output: PathLike,
    config: Config,
    devices: Sequence[int] = (0,),
    load_network: Optional[Callable[[Config, int], Network]] = None,
    shard: str = "",
) -> None:
    """Extract ``photos`` into the feature file ``output``; a finished one is kept, a killed run goes on.

    Photos that cannot be used are left out: all are listed with their reasons in ``<output>.failed.txt``, the first
    ones in the log, and the run succeeds as long as one photo has features.

    Args:
        photos: what to extract.
        protocol: that chose the photos' boxes, '' = none; recorded.
        output: feature file.
        config: recipe; its run, model and extraction sections are used.
        devices: device ids, one worker each.
        load_network: makes the network of a worker from recipe and device id; a module's function when there are
            several; None = that of the engine.
        shard: '2/8' = only the second of eight parts of ``photos``, '' = all; recorded.

    Raises:
        UserError: unusable checkpoint or PCA, a file of other settings at ``output``, no readable photo.
        Interrupted: SIGINT or SIGTERM came; what was finished is kept.
    """
    checkpoint_sha256 = weights_sha256(config.checkpoint_path)
    config = resolve(config, checkpoint_sha256)
    pca = fitting_pca(config, checkpoint_sha256)
    attributes = describe(config, checkpoint_sha256, pca, photos, protocol, shard)
    own = photos_of_shard(photos, shard)
    if feature_parts.is_made(output, attributes, config.overwrite):
        with FeatureFile(output) as made:
            logger.info("%s: already made, %d of %d photos", output, len(made), len(own))
        return
    if load_network is None:
        load_network = partial(choose.load_network, threads=network_threads(config.engine, len(devices)))
    with feature_parts.open_parts(output, attributes, config.overwrite) as folder, _stopped_by_signals(folder):
        failures = _extract_missing(own, Job(config, pca, folder, load_network), devices)
        _report(failures, output)
        if len(failures) == len(own):
            raise UserError(f"none of the {len(own)} photos can be used; the first: {next(iter(failures.values()))}")
        features = feature_parts.merge_parts(folder, [photo.name for photo in own], output, attributes)
    done, size = len(own) - len(failures), os.path.getsize(output) / 1e6
    logger.info("%s: %d photos, %.1f descriptors a photo, %.1f MB", output, done, features / done, size)


def _extract_missing(photos: Sequence[Photo], job: Job, devices: Sequence[int]) -> Failures:
    """Extract the photos that no part holds yet."""
    finished = feature_parts.finished_photos(job.folder)
    missing = [photo for photo in photos if photo.name not in finished]
    if len(missing) < len(photos):
        logger.info("%d of %d photos were finished by an earlier run", len(photos) - len(missing), len(photos))
    return extract_photos(missing, job, devices[: len(missing)]) if missing else {}


def describe(
    config: Config,
    checkpoint_sha256: str,
    pca: Optional[Pca],
    photos: Sequence[Photo],
    protocol: str = "",
    shard: str = "",
) -> Dict[str, Any]:
    """Attributes of the feature file: everything that its numbers depend on, with engine and threshold resolved."""
    settings = {**section_values(config, "extraction"), "engine": config.engine, "precision": config.precision}
    for name in ("pca_path", "force_pca") if pca else ("pca_path", "force_pca", "pca_dim", "use_whitening"):
        del settings[name]
    engine = settings.pop("engine")
    settings["image_scales"] = list(config.image_scales)
    settings.update(checkpoint_sha256=checkpoint_sha256, pca=pca.identity if pca else "", protocol=protocol)
    identity = digest(settings if config.precision == "float32" else {**settings, "engine": engine})
    return {**settings, "config_hash": identity, "engine": engine, "photos": photos_digest(photos), "shard": shard}


def _report(failures: Failures, output: PathLike) -> None:
    path = Path(f"{output}.failed.txt")
    if not failures:
        path.unlink(missing_ok=True)
        return
    lines = [f"{name}\t{reason}\n" for name, reason in sorted(failures.items())]
    atomic_write_bytes(path, "".join(lines).encode("utf-8", "backslashreplace"))
    for name in sorted(failures)[:_SHOWN_FAILURES]:
        logger.warning("left out: %s", failures[name])
    logger.warning("%d photos could not be used and were left out; all are listed in %s", len(failures), path)


@contextmanager
def _stopped_by_signals(folder: Path) -> Iterator[None]:
    """SIGINT and SIGTERM raise Interrupted in the block, so that parts are finished on the way out.

    MindSpore passes a SIGINT on as a SIGTERM once it has run a graph, so Ctrl-C may be seen as either.
    """

    def stop(number: int, _: Optional[FrameType]) -> None:
        message = f"stopped; finished photos are kept in {folder}, run the same command again to go on"
        raise Interrupted(message, 128 + number)

    if threading.current_thread() is not threading.main_thread():  # where Python allows no handlers
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(number, stop) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, previous):
            signal.signal(number, handler)
