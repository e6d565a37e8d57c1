"""One process's pipeline: photos are read and resized, run through the network, selected and delivered at once.

Threads read and resize, the calling thread runs the network, one more thread selects and delivers. The stages are
joined by short queues, so a slow one holds the others back instead of filling memory; when the pipeline ends, be it by
an exception, what has left the network is still delivered.
"""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Callable, Deque, List, Optional, Tuple, Union

from ..errors import UserError
from ..images import load_photo
from ..records import LocalFeatures
from .extractor import ExtractionSettings, Frame, LevelMaps, Network, Prepared, prepare, run_network, select
from .pca import Pca
from .photos import Photo

_DELIVERIES_AHEAD = 2  # photos whose maps wait for selection


@dataclass(frozen=True, eq=False)
class Extracted:
    """The features of a photo, and what reading it told: EXIF orientation (applied), cut short or not."""

    features: LocalFeatures
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
        network: see ``Network``.
        settings: pyramid, selection and PCA.
        pca: None keeps descriptors raw.
        threads: that read photos; each keeps one photo waiting.
    """

    network: Network
    settings: ExtractionSettings
    pca: Optional[Pca]
    threads: int

    def run(self, take: Take, deliver: Deliver) -> None:
        """Extract every photo that ``take`` gives; when it has to wait, everything taken so far is delivered before.

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
                        waiting.append((photo, readers.submit(_read, photo, self.settings)))
                    elif waiting:
                        leaving.append(deliverer.submit(self._deliver, *self._see(*waiting.popleft()), deliver))
                        _drain(leaving, _DELIVERIES_AHEAD)
                _drain(leaving, 0)
            finally:
                for _, reading in waiting:
                    reading.cancel()

    def _see(self, photo: Photo, reading: Future) -> Tuple[Photo, Union["_Seen", str]]:
        """Run the network, if the photo could be read."""
        read = reading.result()
        if isinstance(read, str):
            return photo, read
        try:
            maps = run_network(read.prepared, self.network)
        except (RuntimeError, MemoryError) as error:  # what MindSpore, ONNX Runtime and OpenVINO raise
            fact = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(f"{photo.path}: the network failed ({fact}); give a smaller `max_image_size`") from error
        return photo, _Seen(maps, read.prepared.frame, read.orientation, read.truncated)

    def _deliver(self, photo: Photo, seen: Union["_Seen", str], deliver: Deliver) -> None:
        if isinstance(seen, str):
            deliver(photo, seen)
            return
        try:
            features = select(seen.maps, seen.frame, self.settings, self.pca)
        except UserError as error:
            raise UserError(f"{photo.path}: {error}") from error
        deliver(photo, Extracted(features, seen.orientation, seen.truncated))


@dataclass(frozen=True, eq=False)
class _Read:
    """A photo before the network."""

    prepared: Prepared
    orientation: int
    truncated: bool


@dataclass(frozen=True, eq=False)
class _Seen:
    """A photo after the network; its pixels are gone."""

    maps: List[LevelMaps]
    frame: Frame
    orientation: int
    truncated: bool


def _read(photo: Photo, settings: ExtractionSettings) -> Union[_Read, str]:
    """A photo ready for the network, or the reason why it cannot be used."""
    try:
        photo.name.encode()
        loaded = load_photo(photo.path, settings.sufficient_side if photo.box is None else 0)
        prepared = prepare(loaded.pixels, settings, photo.box, loaded.size)
    except UserError as error:
        reason = str(error)
        return reason if photo.path in reason else f"{photo.path}: {reason}"
    except UnicodeEncodeError:
        return f"{photo.path}: its name is not UTF-8, which feature files need; rename it"
    except MemoryError:
        return f"{photo.path}: not enough memory to read it; give `max_image_size`"
    return _Read(prepared, loaded.orientation, loaded.truncated)


def _drain(leaving: Deque[Future], allowed: int) -> None:
    """Wait until at most ``allowed`` deliveries are under way; raise what one of them raised."""
    while len(leaving) > allowed:
        leaving.popleft().result()
