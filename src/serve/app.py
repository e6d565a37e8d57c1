"""The server's application: the page, its pictures, and the JSON API; nothing else of the disk is reached by it."""

import asyncio
import base64
import logging
import re
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any, Awaitable, Callable, Dict, NamedTuple, Sequence

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from ..errors import UserError, printable
from ..report.pages import render_page
from . import answers
from .asking import Limits, Refusal, read_number, read_page, read_question, read_upload, reason_of, require_photo
from .collection import Collection
from .pictures import SIDES, ByteCache, small_jpeg
from .schema import api_schema

MOST_WAITING = 16  # searches that wait for the one that runs; each may hold an upload
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_MINUTES = "private, max-age=300"

logger = logging.getLogger(__name__)

Handler = Callable[[Request], Awaitable[Response]]


class _State(NamedTuple):
    """What the requests share.

    Attributes:
        collection: searched on ``worker`` alone, which is one thread.
        limits: of uploads.
        worker: the thread that searches.
        painters: threads that make pictures.
        tiles: pictures made before.
        waiting: a slot for each upload or search under way.
    """

    collection: Collection
    limits: Limits
    worker: Executor
    painters: Executor
    tiles: ByteCache
    waiting: "_Slots"


class _Slots:
    """So many requests at once; a further one is refused, and does not wait."""

    def __init__(self, count: int) -> None:
        self._free = count

    def __enter__(self) -> None:
        if not self._free:
            raise Refusal(503, "too many searches at once: try again in a moment")
        self._free -= 1

    def __exit__(self, *_: object) -> None:
        self._free += 1


def make_app(
    collection: Collection, worker: Executor, limits: Limits, hosts: Sequence[str] = (), slots: int = MOST_WAITING
) -> Starlette:
    """The application.

    Args:
        collection: to search.
        worker: an executor of one thread, on which every search runs.
        limits: of uploads.
        hosts: names by which the server may be called, none = any; a page of elsewhere whose name is made to lead here
            has another.
        slots: searches at once, those that wait included.
    """
    state = _State(collection, limits, worker, ThreadPoolExecutor(2), ByteCache(), _Slots(slots))
    handlers: Dict[str, Callable[[_State, Request], Awaitable[Response]]] = {
        "/": _page, "/page.js": _script, "/api/collection": _about, "/api/photos": _photos, "/api/search": _search,
        "/api/preview": _preview, "/api/schema": _schema, "/photos/{number}": _picture,
    }  # fmt: skip
    posted = ("/api/search", "/api/preview")
    routes = [
        Route(path, _guarded(partial(handler, state), hosts), methods=["POST" if path in posted else "GET"])
        for path, handler in handlers.items()
    ]
    return Starlette(routes=routes, exception_handlers={404: _no_such, 405: _no_such})


def _guarded(handler: Handler, hosts: Sequence[str]) -> Handler:
    """Every answer with the headers that keep other pages out; every refusal one sentence."""

    async def guarded(request: Request) -> Response:
        try:
            name = re.sub(r":\d*$", "", request.headers.get("host", ""))
            if (hosts and name not in hosts) or request.headers.get("sec-fetch-site", "") == "cross-site":
                raise Refusal(403, "this server does not answer the pages of others")
            response = await handler(request)
        except Refusal as refusal:
            response = _refused(refusal.status, str(refusal))
        except UserError as error:
            response = _refused(422, reason_of(error))
        except ClientDisconnect:
            response = _refused(400, "the file has not come to its end")
        except MemoryError:
            response = _refused(503, "not enough memory for this photo: shrink it")
        except Exception:
            logger.exception("%s failed", request.url.path)
            response = _refused(500, "the server failed; its log says why")
        response.headers.update(_HEADERS)
        return response

    return guarded


def _refused(status: int, message: str) -> Response:
    retry = {"Retry-After": "1"} if status == 503 else {}
    return JSONResponse({"error": printable(message)}, status, retry)


async def _no_such(request: Request, error: Exception) -> Response:
    return _refused(getattr(error, "status_code", 404), "there is nothing here; /api/schema lists what there is")


async def _page(state: _State, request: Request) -> Response:
    collection = state.collection
    counts = f"{len(collection)} photos, searched by {collection.searcher.replace('_', ' ')}."
    page = render_page(
        "serve.html", title=printable(collection.name), counts=counts, no_verdict=printable(collection.no_verdict),
        policy=_POLICY.replace("; frame-ancestors 'none'", ""), thumbnail_rules="",
    )  # fmt: skip
    return HTMLResponse(page)


@lru_cache(maxsize=1)
def _script_text() -> str:
    return render_page("serve.js")


async def _script(state: _State, request: Request) -> Response:
    return Response(_script_text(), media_type="text/javascript")


async def _about(state: _State, request: Request) -> Response:
    return JSONResponse(answers.about(state.collection, state.limits.bytes))


async def _schema(state: _State, request: Request) -> Response:
    return JSONResponse(api_schema())


async def _photos(state: _State, request: Request) -> Response:
    folder, start, count = read_page(request.query_params)
    numbers = state.collection.numbers(folder)

    def describe() -> Any:
        return [answers.of_photo(state.collection.photo(number)) for number in numbers[start : start + count]]

    found = await asyncio.get_running_loop().run_in_executor(state.painters, describe)
    return JSONResponse({"total": len(numbers), "photos": found})


async def _picture(state: _State, request: Request) -> Response:
    number = read_number("number", request.path_params["number"], 0, len(state.collection) - 1)
    size = request.query_params.get("size", "tile")
    if size not in SIDES:
        raise Refusal(400, f"size must be one of {', '.join(SIDES)}")
    path = state.collection.path(number)
    make = partial(small_jpeg, path, *SIDES[size])
    work = partial(state.tiles.get, (number, size), make)
    try:
        data = await asyncio.get_running_loop().run_in_executor(state.painters, work)
    except UserError as error:
        raise Refusal(404, "this photo is gone or cannot be read") from error
    return Response(data, media_type="image/jpeg", headers={"Cache-Control": _MINUTES})


async def _search(state: _State, request: Request) -> Response:
    question = read_question(request.query_params, len(state.collection))
    collection, loop = state.collection, asyncio.get_running_loop()
    with state.waiting:
        query = question.photo if question.photo is not None else await read_upload(request, state.limits)

        def work() -> Dict[str, Any]:
            if isinstance(query, bytes):
                require_photo(query, state.limits)
            answer = collection.search(query, question.top_k, question.box, question.folder)
            own = collection.photo(query) if isinstance(query, int) else None
            return answers.of_search(answer, own, question.folder)

        return JSONResponse(await loop.run_in_executor(state.worker, work))


async def _preview(state: _State, request: Request) -> Response:
    with state.waiting:
        upload = await read_upload(request, state.limits)

        def work() -> Dict[str, Any]:
            width, height = require_photo(upload, state.limits)
            jpeg = base64.b64encode(small_jpeg(upload, *SIDES["large"])).decode("ascii")
            return {"width": width, "height": height, "jpeg": jpeg}

        return JSONResponse(await asyncio.get_running_loop().run_in_executor(state.painters, work))
