"""One process's pipeline: photos are read and prepared, run through the network, selected and delivered at once.

Threads read and prepare, the calling thread runs the network, one more thread selects and delivers. The stages are
joined by short queues, so a slow one holds the others back instead of filling memory; when the pipeline ends, be it by
an exception, what has left the network is still delivered.
"""

import logging
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Callable, Deque, Iterable, Optional, Tuple, Union

from ..errors import UserError
from .encoder import Encoded, Encoder
from .photos import Photo

logger = logging.getLogger(__name__)

_DELIVERIES_AHEAD = 2  # photos whose maps wait for selection


@dataclass(frozen=True, eq=False)
class Extracted:
    """The features of a photo, and what reading it told: EXIF orientation (applied), cut short or not."""

    encoded: Encoded
    orientation: int
    truncated: bool


@dataclass(frozen=True, eq=False)
class _UnderWay:
    """A photo before or after the network: what the encoder's last step gave, and what reading it told."""

    data: Any
    orientation: int
    truncated: bool


# Called with True, waits for a photo; with False, returns None when there is none yet. Raises StopIteration after the
# last one, anything else to break off.
Take = Callable[[bool], Optional[Photo]]
# Receives every photo, with its features or with the reason why it has none; always from the same thread.
Deliver = Callable[[Photo, Union[Extracted, str]], None]


@dataclass(frozen=True, eq=False)
class Pipeline:
    """What the stages need.

    Attributes:
        encoder: loaded.
        threads: that read photos; each keeps one photo waiting.
    """

    encoder: Encoder
    threads: int

    def run(self, take: Take, deliver: Deliver) -> None:
        """Encode every photo that ``take`` gives; when it has to wait, everything taken so far is delivered before.

        Raises:
            UserError: the network failed, or ``deliver`` did.
        """
        waiting: Deque[Tuple[Photo, Future]] = deque()
        leaving: Deque[Future] = deque()
        more = True
        with ThreadPoolExecutor(1) as deliverer, ThreadPoolExecutor(self.threads) as readers:
            try:
                while more or waiting:
                    if not waiting:
                        _drain(leaving, 0)
                    try:
                        photo = take(not waiting) if more and len(waiting) <= self.threads else None
                    except StopIteration:
                        more, photo = False, None
                    if photo is not None:
                        waiting.append((photo, readers.submit(self._read, photo)))
                    elif waiting:
                        leaving.append(deliverer.submit(self._deliver, *self._infer(*waiting.popleft()), deliver))
                        _drain(leaving, _DELIVERIES_AHEAD)
                _drain(leaving, 0)
            finally:
                for _, reading in waiting:
                    reading.cancel()

    def _read(self, photo: Photo) -> Union[_UnderWay, str]:
        """A photo ready for the network, or the reason why it cannot be used."""
        try:
            photo.name.encode()
            loaded = self.encoder.read(photo.path, photo.box)
            prepared = self.encoder.prepare(loaded, photo.box)
        except UserError as error:
            reason = str(error)
            return reason if photo.path in reason else f"{photo.path}: {reason}"
        except UnicodeEncodeError:
            return f"{photo.path}: its name is not UTF-8, which feature files need; rename it"
        except MemoryError:
            return f"{photo.path}: not enough memory to read it; give `max_image_size`"
        return _UnderWay(prepared, loaded.orientation, loaded.truncated)

    def _infer(self, photo: Photo, reading: Future) -> Tuple[Photo, Union[_UnderWay, str]]:
        """Run the network, if the photo could be read."""
        read = reading.result()
        if isinstance(read, str):
            return photo, read
        try:
            inferred = self.encoder.infer(read.data)
        except (RuntimeError, MemoryError) as error:  # what MindSpore, ONNX Runtime and OpenVINO raise
            fact = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(f"{photo.path}: the network failed ({fact}); give a smaller `max_image_size`") from error
        return photo, _UnderWay(inferred, read.orientation, read.truncated)

    def _deliver(self, photo: Photo, inferred: Union[_UnderWay, str], deliver: Deliver) -> None:
        if isinstance(inferred, str):
            deliver(photo, inferred)
            return
        try:
            encoded = self.encoder.select(inferred.data)
        except UserError as error:
            raise UserError(f"{photo.path}: {error}") from error
        deliver(photo, Extracted(encoded, inferred.orientation, inferred.truncated))


def encode_photos(
    encoder: Encoder, photos: Iterable[Photo], deliver: Callable[[Photo, Encoded], None], threads: int = 2
) -> None:
    """Call ``deliver`` with what ``encoder`` makes of each photo, in order, while others are read and inferred.

    Photos that cannot be read are logged and left out.
    """
    following = iter(photos)

    def pass_on(photo: Photo, found: Union[Extracted, str]) -> None:
        if isinstance(found, str):
            logger.warning("left out: %s", found)
        else:
            deliver(photo, found.encoded)

    Pipeline(encoder, threads).run(lambda _: next(following), pass_on)


def _drain(leaving: Deque[Future], allowed: int) -> None:
    """Wait until at most ``allowed`` deliveries are under way; raise what one of them raised."""
    while len(leaving) > allowed:
        leaving.popleft().result()
