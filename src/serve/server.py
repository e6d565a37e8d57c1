"""Runs the server: one process, one thread that searches, the network loaded once."""

import socket
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Callable, ContextManager, Iterator, Sequence

from ..errors import UserError, install_command
from ..stop_signals import StopSignals
from .asking import Limits
from .collection import Collection

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_CONNECTIONS = 64


def require_server() -> None:
    """UserError where the server's libraries are not installed."""
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is not installed: run {install_command('web')}") from error


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens; ``port`` 0 takes a free one. UserError when that is impossible."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        fact = f"cannot be listened on ({error.strerror or error})"
        raise UserError(f"{host}, port {port}: {fact}; give another `port` or `host`") from error


def address_of(listening: socket.socket) -> str:
    """Of the page, for people."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def trusted_hosts(host: str) -> Sequence[str]:
    """Names by which a server that listens on ``host`` may be called; none = any, where others may reach it."""
    return ("127.0.0.1", "localhost", "[::1]") if host in LOOPBACK else ()


def make_server(app: Any) -> Any:
    """The uvicorn server of an application: one process, few connections, none kept for long."""
    import uvicorn

    config = uvicorn.Config(
        app, log_config=None, log_level="warning", access_log=False, server_header=False, http="h11", ws="none",
        lifespan="off", limit_concurrency=_CONNECTIONS, timeout_keep_alive=5, timeout_graceful_shutdown=5,
    )  # fmt: skip
    return uvicorn.Server(config)


@contextmanager
def opened_on(worker: Executor, opening: ContextManager[Collection]) -> Iterator[Collection]:
    """A collection opened and closed on the thread that searches: a network may stay with the thread that made it."""
    collection = worker.submit(opening.__enter__).result()
    try:
        yield collection
    finally:
        worker.submit(opening.__exit__, None, None, None).result()


def serve(
    opening: ContextManager[Collection],
    listening: socket.socket,
    limits: Limits,
    hosts: Sequence[str],
    started: Callable[[], None],
) -> None:
    """Serve a collection until a signal comes.

    Args:
        opening: of ``open_collection``.
        listening: of ``bind``; closed at the end.
        limits: of uploads.
        hosts: see ``make_app``.
        started: called once the collection is open.

    Raises:
        UserError: the collection cannot be opened. Interrupted: a signal ended it.
    """
    from .app import make_app

    with listening, StopSignals("the server has ended"), ThreadPoolExecutor(1) as worker:
        with opened_on(worker, opening) as collection:
            server = make_server(make_app(collection, worker, limits, hosts))
            started()
            server.run(sockets=[listening])
