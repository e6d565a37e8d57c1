"""One function over a stream of items, by a few processes, in order.

Processes and not threads: MindSpore's FileWriter keeps Python's lock while it writes, and threads would wait for it.
"""

import multiprocessing
import signal
from collections import deque
from contextlib import contextmanager
from itertools import cycle
from multiprocessing.connection import Connection
from typing import Callable, Deque, Iterable, Iterator, TypeVar

from ..errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")
OrderedMap = Callable[[Iterable[Item]], Iterator[Result]]

ITEMS_AHEAD = 2  # of each process: one in work, one waiting


def _serve(connection: Connection, function: Callable[[Item], Result]) -> None:
    """What a process does, until the other end of ``connection`` is closed, be it by the parent's death."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    try:
        while True:
            item = connection.recv()
            try:
                answer = (function(item), None)
            except Exception as error:  # whatever it is, the parent raises it
                answer = (None, error)
            connection.send(answer)
    except (EOFError, OSError):
        pass


def _receive(connection: Connection) -> Result:
    try:
        result, error = connection.recv()
    except (EOFError, OSError) as lost:
        raise UserError(
            "a process that reads photos was killed, mostly for lack of memory; give fewer `num_workers`"
        ) from lost
    if error is not None:
        raise error
    return result


@contextmanager
def ordered_map(function: Callable[[Item], Result], workers: int) -> Iterator[OrderedMap]:
    """Yield a map of ``function`` (of a module; it is pickled) that keeps few items and results in memory.

    One worker is this process itself. A map must be exhausted before the next one begins.

    Raises:
        UserError: a process died. What ``function`` raises is raised in the place of its result.
    """
    if workers == 1:
        yield lambda items: map(function, items)
        return
    context = multiprocessing.get_context("spawn")  # MindSpore does not survive a fork
    connections, processes = [], []

    def apply(items: Iterable[Item]) -> Iterator[Result]:
        turns = cycle(connections)
        pending: Deque[Connection] = deque()
        for item in items:
            if len(pending) == ITEMS_AHEAD * workers:
                yield _receive(pending.popleft())
            connection = next(turns)
            connection.send(item)
            pending.append(connection)
        while pending:
            yield _receive(pending.popleft())

    try:
        for _ in range(workers):
            mine, theirs = context.Pipe()
            processes.append(context.Process(target=_serve, args=(theirs, function), daemon=True))
            processes[-1].start()
            theirs.close()
            connections.append(mine)
        yield apply
    finally:
        for connection in connections:
            connection.close()
        for process in processes:
            process.join()
