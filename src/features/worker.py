"""One extraction worker: a pipeline from photos to finished parts, in this process or in a child."""

import logging
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Callable, Dict, Optional, Sequence, Union

from ..config import Config
from ..errors import UserError
from .extractor import ExtractionSettings, Network
from .feature_parts import PartWriter
from .pca import Pca
from .photos import Photo
from .pipeline import Extracted, Pipeline
from .progress import Progress

Failures = Dict[str, str]  # name of a photo that has no features: why


@dataclass(frozen=True)
class Job:
    """What every worker needs; pickled to child processes, so ``load_network`` is a function of a module.

    Attributes:
        config: recipe.
        pca: None keeps descriptors raw.
        folder: receives the parts.
        load_network: makes the network from recipe and device id.
    """

    config: Config
    pca: Optional[Pca]
    folder: Path
    load_network: Callable[[Config, int], Network]

    def pipeline(self, device_id: int) -> Pipeline:
        """The pipeline of one worker."""
        network = self.load_network(self.config, device_id)
        return Pipeline(network, ExtractionSettings.from_config(self.config), self.pca, self.config.num_workers)

    def writer(self) -> PartWriter:
        """The parts of one worker."""
        return PartWriter(self.folder, self.config.half)


def extract_here(photos: Sequence[Photo], job: Job, device_id: int, progress: Progress) -> Failures:
    """Write the features of ``photos`` to parts; UserError when the network or the disk fails."""
    failures: Failures = {}
    remaining = iter(photos)
    with job.writer() as writer:

        def deliver(photo: Photo, result: Union[Extracted, str]) -> None:
            if isinstance(result, str):
                failures[photo.name] = result
            else:
                _write(writer, photo, result)
            progress.advance()

        job.pipeline(device_id).run(lambda _: next(remaining), deliver)
    return failures


def _write(writer: PartWriter, photo: Photo, result: Extracted) -> bool:
    try:
        return writer.add(photo.name, result.features, orientation=result.orientation, truncated=int(result.truncated))
    except OSError as error:
        raise UserError(f"{photo.name}: cannot be written ({error}); make room on the disk and run again") from error


def serve(job: Job, device_id: int, connection: Connection) -> None:
    """A worker: answers each photo with ("done", name, reason or None), each finished part with ("saved",).

    It ends, its part finished, when the other end of the pipe is closed, be it by the parent's death.
    """
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")  # warnings alone
    try:
        try:
            _answer(job, device_id, connection)
        except UserError as error:
            connection.send(("error", str(error)))
    except (EOFError, ConnectionError):  # the pipe is closed
        pass


def _answer(job: Job, device_id: int, connection: Connection) -> None:
    pipeline = job.pipeline(device_id)
    connection.send(("ready",))
    with job.writer() as writer:

        def take(block: bool) -> Optional[Photo]:
            if block:  # all is delivered
                writer.finish_part()
                connection.send(("saved",))
            return connection.recv() if block or connection.poll() else None

        def deliver(photo: Photo, result: Union[Extracted, str]) -> None:
            reason = result if isinstance(result, str) else None
            saved = reason is None and _write(writer, photo, result)
            connection.send(("done", photo.name, reason))
            if saved:
                connection.send(("saved",))

        pipeline.run(take, deliver)
