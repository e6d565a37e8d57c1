"""A server of a small collection in this process, and clients that ask it."""

import http.client
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from src.serve.asking import Limits
from src.serve.server import bind, make_server, opened_on

LIMITS = Limits(2_000_000, 1_000_000)


def require_web():
    """Skips the test where the server's libraries are missing."""
    for name in ("starlette", "uvicorn"):
        pytest.importorskip(name, reason="no requirements-web.txt")


@contextmanager
def running(opening, limits=LIMITS, **options):
    """Port of a server of a collection."""
    require_web()
    from src.serve.app import make_app

    listening = bind("127.0.0.1", 0)
    with listening, ThreadPoolExecutor(1) as worker, opened_on(worker, opening) as collection:
        server = make_server(make_app(collection, worker, limits, **options))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def send(port, path, body=None, method=None, headers=None):
    """(status, headers, bytes) of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method or ("POST" if body is not None else "GET"), path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def ask(port, path, body=None, status=200, **options):
    """The JSON of an answer of that status."""
    found, _, content = send(port, path, body, **options)
    assert found == status, content
    return json.loads(content)
