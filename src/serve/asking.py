"""What requests ask for, read from outside and checked: parameters, and the bytes of a photo within limits."""

import asyncio
from typing import Any, Mapping, NamedTuple, Optional, Tuple, Union

from ..errors import UserError
from ..images import upright_size

MOST_RESULTS, MOST_LISTED = 100, 200
_BODY_SECONDS = 60
_READ_ON = 2**28  # bytes


class Limits(NamedTuple):
    """Of an upload: bytes of the file, and pixels of the photo."""

    bytes: int
    pixels: int


class Refusal(Exception):
    """A request that gets one sentence in place of an answer, with an HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Question(NamedTuple):
    """Arguments of ``Collection.search`` but for the query's bytes; ``photo`` is a number of the collection or None."""

    photo: Optional[int]
    top_k: int
    box: Optional[Tuple[float, float, float, float]]
    folder: str


def read_question(parameters: Mapping[str, str], num_photos: int) -> Question:
    """The question that the parameters of a request are; Refusal when one is unknown or unusable."""
    _refuse_unknown(parameters, Question._fields)
    photo = parameters.get("photo", "")
    number = read_number("photo", photo, 0, num_photos - 1) if photo else None
    top_k = read_number("top_k", parameters.get("top_k", "10"), 1, MOST_RESULTS)
    return Question(number, top_k, _read_box(parameters.get("box", "")), parameters.get("folder", "").strip("/"))


def read_page(parameters: Mapping[str, str]) -> Tuple[str, int, int]:
    """Folder, first and number of photos of a list that is asked for; Refusal as of ``read_question``."""
    _refuse_unknown(parameters, ("folder", "start", "count"))
    start = read_number("start", parameters.get("start", "0"), 0, 2**31 - 1)
    count = read_number("count", parameters.get("count", "60"), 1, MOST_LISTED)
    return parameters.get("folder", "").strip("/"), start, count


def read_number(name: str, text: str, least: int, most: int) -> int:
    """A whole number; Refusal when it is none, or out of its range."""
    if not (text.isascii() and text.isdigit() and len(text) < 12 and least <= int(text) <= most):
        raise Refusal(400, f"{name} must be a whole number from {least} to {most}")
    return int(text)


def _refuse_unknown(parameters: Mapping[str, str], known: Tuple[str, ...]) -> None:
    unknown = next((name for name in parameters if name not in known), None)
    if unknown is not None:
        raise Refusal(400, f"there is no such parameter: give some of {', '.join(known)}")


def _read_box(text: str) -> Optional[Tuple[float, float, float, float]]:
    if not text:
        return None
    try:
        sides = [float(side) for side in text.split(",")]
    except ValueError:
        sides = []
    if len(sides) != 4 or not all(abs(side) < 2**31 for side in sides):  # NaN neither
        raise Refusal(400, "box must be left,top,right,bottom in pixels of the upright photo")
    return sides[0], sides[1], sides[2], sides[3]


async def read_upload(request: Any, limits: Limits) -> bytes:
    """The body of a request, a photo's file.

    What is too long is read on for a while and thrown away, as a client hears no answer while it still sends.

    Raises:
        Refusal: it is longer than allowed, too slow, or empty.
    """
    body, length = bytearray(), 0

    async def read() -> None:
        nonlocal length
        async for part in request.stream():
            length += len(part)
            if length <= limits.bytes:
                body.extend(part)
            else:
                body.clear()
            if length > _READ_ON:
                break

    try:
        await asyncio.wait_for(read(), _BODY_SECONDS)
    except asyncio.TimeoutError as error:
        raise Refusal(408, f"the file did not arrive within {_BODY_SECONDS} seconds") from error
    if length > limits.bytes:
        raise Refusal(413, f"the file is larger than {limits.bytes / 1e6:.0f} MB")
    if not body:
        raise Refusal(400, "send a photo's file as the body, or give photo, a number of the collection")
    return bytes(body)


def require_photo(upload: Union[bytes, bytearray], limits: Limits) -> Tuple[int, int]:
    """(width, height) of an upload, judged by its content; Refusal when it is no photo or has too many pixels."""
    try:
        width, height = upright_size(bytes(upload))
    except UserError as error:
        raise Refusal(415, f"this is no photo that can be read: {reason_of(error)}") from error
    if width * height > limits.pixels:
        most = f"{limits.pixels / 1e6:.0f} megapixels"
        raise Refusal(413, f"the photo has {width} x {height} pixels, more than {most}")
    return width, height


def reason_of(error: UserError) -> str:
    """What is wrong with an upload, without the name that bytes have."""
    return str(error).split("the bytes given: ", 1)[-1].replace("`", "")
