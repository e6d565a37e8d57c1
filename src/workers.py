"""One supervised pool of processes."""

import logging
import multiprocessing
import os
import signal
import sys
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, Callable, Deque, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from .errors import LogFormatter, UserError
from .stop_signals import SIGNALS

logger = logging.getLogger(__name__)

# What a worker does: calls the first function for items (True: waits for one; False: None when there is none yet; it
# raises once there are no more), and the second with each item and its result, in the order of the items.
Stage = Callable[[Callable[[bool], Any], Callable[[Any, Any], None]], None]
OrderedMap = Callable[[Iterable[Any]], Iterator[Any]]

_SECONDS_TO_END = 60  # for a worker to finish what it is at
_ITEMS_AHEAD = 2  # of each process of an ordered map: one in work, one waiting


class WorkerDied(NamedTuple):
    """In place of a result: two workers died over the item, the last with this exit status (-9: killed)."""

    status: int


class _Raised(NamedTuple):
    """In place of a result: what a plain function raised."""

    error: Exception


@dataclass(eq=False)
class _Task:
    """An item on its way; ``suspected`` once a worker has died that had it in work."""

    number: int
    item: Any
    suspected: bool = False


@dataclass(eq=False)
class _Worker:
    """A child process as its parent sees it."""

    argument: Any
    process: Any
    connection: Connection
    ready: bool = False
    tasks: Deque[_Task] = field(default_factory=deque)


class Pool:
    """Processes that each make a ``Stage`` once and put items through it; a context manager that ends them.

    A worker that dies leaves its items to the others: they are tried again one at a time, after all the rest, so that
    the one that kills workers is found, and answered with ``WorkerDied``.

    Args:
        make: makes a worker's stage from its argument; a function of a module, or a partial of one, as it is pickled.
        arguments: one for each worker.
        ahead: items a worker is given before it has answered the first; it must cover those that its stage collects.
        name: of a worker, in messages.
    """

    def __init__(
        self, make: Callable[[Any], Stage], arguments: Sequence[Any], ahead: int, name: str = "worker"
    ) -> None:
        self._make, self._ahead, self._name = make, ahead, name
        self._arguments = list(arguments)
        self._workers: List[_Worker] = []
        self._todo: Iterator[_Task] = iter(())
        self._suspects: Deque[_Task] = deque()

    def __enter__(self) -> "Pool":
        try:
            for argument in self._arguments:
                self._start(argument)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Close the pipes, upon which the workers end."""
        for worker in self._workers:
            worker.connection.close()
        for worker in self._workers:
            worker.process.join(_SECONDS_TO_END)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        self._workers.clear()

    def map(self, items: Iterable[Any], in_order: bool = False) -> Iterator[Tuple[Any, Any]]:
        """(item, result or ``WorkerDied``) as they are finished, or in the order of the items; one map at a time.

        Items are taken as they are needed: in order, at most ``ahead`` for each worker are between the two ends.

        Raises:
            UserError: every worker has died. What a stage raises is raised here.
        """
        self._todo = (_Task(number, item) for number, item in enumerate(items))
        window = self._ahead * len(self._workers) if in_order else None
        finished: Dict[int, Tuple[Any, Any]] = {}
        given = 0  # items that have been answered, or all before the first that has not
        while self._hand_out(None if window is None else given + window):
            for connection in wait([worker.connection for worker in self._workers]):
                worker = next(worker for worker in self._workers if worker.connection is connection)
                for task, result in self._listen(worker):
                    finished[task.number if in_order else given] = task.item, result
                    while given in finished:
                        yield finished.pop(given)
                        given += 1

    def _start(self, argument: Any) -> None:
        context = multiprocessing.get_context("spawn")  # MindSpore does not survive a fork
        mine, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(self._make, argument, theirs, os.getcwd()), daemon=True)
        with _nothing_imported_from_here():
            resource_tracker.ensure_running()  # now, because its start unblocks signals
            blocked = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # inherited: signals are this process's
            try:
                process.start()
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        theirs.close()
        self._workers.append(_Worker(argument, process, mine))

    def _hand_out(self, last: Optional[int]) -> bool:
        """Keep the workers busy with tasks below number ``last``; whether any is still to be answered."""
        left = False
        for worker in self._workers:
            while worker.ready and len(worker.tasks) < self._ahead:
                task = next(self._todo, None)
                if task is not None and last is not None and task.number >= last:
                    self._todo, left = chain([task], self._todo), True
                    break
                if task is None and self._suspects and not worker.tasks:  # alone, after all others
                    task = self._suspects.popleft()
                if task is None:
                    break
                worker.tasks.append(task)
                try:
                    worker.connection.send(task.item)
                except OSError:  # it died: _listen will see it
                    break
                if task.suspected:
                    break
        waiting = any(not worker.ready for worker in self._workers) and self._has_more()
        return left or waiting or bool(self._suspects) or any(worker.tasks for worker in self._workers)

    def _has_more(self) -> bool:
        task = next(self._todo, None)
        if task is not None:
            self._todo = chain([task], self._todo)
        return task is not None

    def _listen(self, worker: _Worker) -> Iterator[Tuple[_Task, Any]]:
        try:
            kind, value = worker.connection.recv()
        except (EOFError, OSError):
            yield from self._replace(worker)
            return
        if kind == "error":
            raise value
        if kind == "ready":
            worker.ready = True
        else:
            yield worker.tasks.popleft(), value

    def _replace(self, worker: _Worker) -> Iterator[Tuple[_Task, Any]]:
        """Share out what a dead worker had, and find the item that it died over, if it did."""
        self._workers.remove(worker)
        worker.connection.close()
        worker.process.join()
        status = worker.process.exitcode
        fact = f"{self._name} {worker.argument} ended with status {status} (-9: killed, mostly for lack of memory)"
        logger.warning("%s; what it had goes to the others", fact)
        if len(worker.tasks) == 1 and worker.tasks[0].suspected:
            self._start(worker.argument)
            yield worker.tasks[0], WorkerDied(status)
            return
        for task in worker.tasks:
            task.suspected = True
        self._suspects.extend(worker.tasks)
        if not self._workers:
            raise UserError(f"{fact}, the last one; run again with fewer of them")


@contextmanager
def _nothing_imported_from_here() -> Iterator[None]:
    """For starting a Python with ``-c``, as multiprocessing does: it would import from the current folder first."""
    if sys.version_info >= (3, 11):
        before = os.environ.get("PYTHONSAFEPATH")
        os.environ["PYTHONSAFEPATH"] = "1"
        try:
            yield
        finally:
            del os.environ["PYTHONSAFEPATH"]
            if before is not None:
                os.environ["PYTHONSAFEPATH"] = before
    else:
        here = os.open(os.curdir, os.O_RDONLY)
        os.chdir("/")
        try:
            yield
        finally:
            os.fchdir(here)
            os.close(here)


def _serve(make: Callable[[Any], Stage], argument: Any, connection: Connection, folder: str) -> None:
    """A worker: it ends when the other end of the pipe is closed, be it by the parent's death."""
    os.chdir(folder)
    handler = logging.StreamHandler()  # of warnings alone
    handler.setFormatter(LogFormatter())
    logging.basicConfig(handlers=[handler])
    try:
        try:
            stage = make(argument)
            connection.send(("ready", None))
            stage(
                lambda block: connection.recv() if block or connection.poll() else None,
                lambda item, result: connection.send(("done", result)),
            )
        except (EOFError, ConnectionError):
            raise
        except Exception as error:  # whatever it is, the parent raises it
            connection.send(("error", error))
    except (EOFError, ConnectionError):  # the pipe is closed
        pass


def _one_by_one(function: Callable[[Any], Any], _: Any) -> Stage:
    """The stage of a plain function, whose exceptions are results too: they are raised in their place."""

    def stage(take: Callable[[bool], Any], deliver: Callable[[Any, Any], None]) -> None:
        while True:
            item = take(True)
            try:
                result = function(item)
            except Exception as error:
                result = _Raised(error)
            deliver(item, result)

    return stage


@contextmanager
def ordered_map(function: Callable[[Any], Any], workers: int) -> Iterator[OrderedMap]:
    """Yield a map of ``function`` (of a module; it is pickled) over items, in order, few of them in memory.

    Processes and not threads: some libraries keep Python's lock while they work. One worker is this process itself. A
    map must be exhausted before the next one begins.

    Raises:
        UserError: processes died. What ``function`` raises is raised in the place of its result.
    """
    if workers == 1:
        yield lambda items: map(function, items)
        return

    def apply(items: Iterable[Any]) -> Iterator[Any]:
        for item, result in pool.map(items, in_order=True):
            if isinstance(result, WorkerDied):
                fact = f"two processes died over {str(item)[:200]} (status {result.status})"
                raise UserError(f"{fact}, mostly for lack of memory; give fewer workers (`num_workers`)")
            if isinstance(result, _Raised):
                raise result.error
            yield result

    with Pool(partial(_one_by_one, function), range(workers), _ITEMS_AHEAD, "process") as pool:
        yield apply
