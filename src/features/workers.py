"""Features of many photos, by one worker or by one process for each of several devices.

With several, this process hands out the photos, a few at a time, over a pipe to each. A photo counts as done once the
part that holds it is finished; what a dead worker had not come so far with goes to the others.
"""

import logging
import multiprocessing
import signal
from collections import deque
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, Deque, Dict, List, Sequence, Set

from ..errors import UserError
from .photos import Photo
from .progress import Progress
from .worker import Failures, Job, extract_here, serve

logger = logging.getLogger(__name__)

_PHOTOS_AHEAD = 3  # that a worker has beyond those its readers are at
_SECONDS_TO_END = 60  # for a worker to finish its part
_SIGNALS = (signal.SIGINT, signal.SIGTERM)  # are this process's to answer; a worker ends when its pipe is closed


def extract_photos(photos: Sequence[Photo], job: Job, devices: Sequence[int]) -> Failures:
    """Write the features of ``photos`` to parts in ``job.folder``, with one worker for each of ``devices``.

    Returns:
        The photos that have no features.

    Raises:
        UserError: the network or the disk failed, or all workers died; parts that were finished stay.
    """
    with Progress(len(photos)) as progress:
        if len(devices) == 1:
            return extract_here(photos, job, devices[0], progress)
        return _Supervisor(photos, job, progress).run(devices)


@dataclass(eq=False)
class _Worker:
    """A child process as its parent sees it; photos by name."""

    number: int
    device: int
    process: Any
    connection: Connection
    ready: bool = False
    in_work: Dict[str, Photo] = field(default_factory=dict)
    unsaved: Dict[str, Photo] = field(default_factory=dict)  # extracted, but their part is not finished


class _Supervisor:
    """Hands photos to workers and follows them to the end."""

    def __init__(self, photos: Sequence[Photo], job: Job, progress: Progress) -> None:
        self._job, self._progress = job, progress
        self._todo: Deque[Photo] = deque(photos)
        self._suspects: Deque[Photo] = deque()  # in work when a worker died; from now on tried one at a time
        self._killers: Set[str] = set()  # names of all photos that were ever suspected
        self._workers: List[_Worker] = []
        self._failures: Failures = {}

    def run(self, devices: Sequence[int]) -> Failures:
        """See ``extract_photos``."""
        try:
            for number, device in enumerate(devices):
                self._start(number, device)
            while self._todo or self._suspects or any(worker.in_work or worker.unsaved for worker in self._workers):
                for worker in self._workers:
                    self._hand_out(worker)
                for connection in wait([worker.connection for worker in self._workers]):
                    self._listen(next(worker for worker in self._workers if worker.connection is connection))
        finally:
            self._end()
        return self._failures

    def _start(self, number: int, device: int) -> None:
        context = multiprocessing.get_context("spawn")  # MindSpore does not survive a fork
        mine, theirs = context.Pipe()
        process = context.Process(target=serve, args=(self._job, device, theirs), daemon=True)
        resource_tracker.ensure_running()  # now, because its start unblocks signals
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # inherited: from the child's first moment on
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        theirs.close()
        self._workers.append(_Worker(number, device, process, mine))

    def _hand_out(self, worker: _Worker) -> None:
        """Keep a worker's readers busy; a suspect is given alone, after all other photos."""
        if not worker.ready:
            return
        while self._todo and len(worker.in_work) < self._job.config.num_workers + _PHOTOS_AHEAD:
            if not self._give(worker, self._todo):
                return
        if self._suspects and not self._todo and not worker.in_work:
            self._give(worker, self._suspects)

    def _give(self, worker: _Worker, photos: Deque[Photo]) -> bool:
        try:
            worker.connection.send(photos[0])
        except OSError:  # it died: _listen will see it
            return False
        photo = photos.popleft()
        worker.in_work[photo.name] = photo
        return True

    def _listen(self, worker: _Worker) -> None:
        try:
            kind, *values = worker.connection.recv()
        except (EOFError, OSError):
            self._bury(worker)
            return
        if kind == "error":
            raise UserError(values[0])
        if kind == "ready":
            worker.ready = True
        elif kind == "saved":
            worker.unsaved.clear()
        else:
            name, reason = values
            photo = worker.in_work.pop(name)
            if reason is None:
                worker.unsaved[name] = photo
            else:
                self._failures[name] = reason
            self._progress.advance()

    def _bury(self, worker: _Worker) -> None:
        """Share out what a dead worker had, and find the photo that killed it, if one did."""
        self._workers.remove(worker)
        worker.connection.close()
        worker.process.join()
        status = worker.process.exitcode
        fact = f"extraction worker {worker.number} ended with status {status} (-9: killed, mostly for lack of memory)"
        logger.warning("%s; its photos go to the others", fact)
        self._todo.extend(worker.unsaved.values())
        self._progress.advance(-len(worker.unsaved))
        photos = list(worker.in_work.values())
        if len(photos) == 1 and photos[0].name in self._killers:
            self._failures[photos[0].name] = f"{photos[0].path}: two workers died over it (status {status})"
            self._progress.advance()
            self._start(worker.number, worker.device)
        else:
            self._suspects.extend(photos)
            self._killers.update(worker.in_work)
        if not self._workers and (self._todo or self._suspects):
            raise UserError(f"{fact}, the last one; run again with fewer `devices`, finished photos are kept")

    def _end(self) -> None:
        """Close the pipes, upon which workers finish their parts and end."""
        for worker in self._workers:
            worker.connection.close()
        for worker in self._workers:
            worker.process.join(_SECONDS_TO_END)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
