"""What turns photos into features: the interface of every encoder, the table that finds one, and the pipeline.

In the pipeline threads read and prepare, the calling thread runs the network, one more thread selects and delivers. The
stages are joined by short queues, so a slow one holds the others back instead of filling memory; when the pipeline
ends, be it by an exception, what has left the network is still delivered.
"""

import logging
import os
from abc import ABC, abstractmethod
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Callable, Deque, Dict, Iterable, Mapping, Optional, Tuple, Union

import numpy as np
from PIL import Image

from ..config import ExtractionConfig, GlobalConfig, ModelConfig, RunConfig
from ..engines import Network
from ..engines import load_network as load_in_engine
from ..errors import UserError
from ..images import LoadedPhoto, leaves_photo, load_photo, photo_of_array, photo_of_image
from ..names import require_inside
from ..photo_file import Source
from ..records import GlobalDescriptor, LocalFeatures, Photo, Provenance
from .kinds import BOTH, GLOBAL, LOCAL
from .local_layer import is_how
from .photo_state import SOURCE, stamp_of, state_of

logger = logging.getLogger(__name__)

# A function of a module, as it is pickled to worker processes: run, model, device id, threads -> network; where it
# gives others than DELF's outputs, with the keyword ``outputs``
LoadNetwork = Callable[..., Network]
ImageOrPath = Union[Source, Image.Image, np.ndarray]
Box = Tuple[float, float, float, float]  # left, top, right, bottom

# What an encoder gives -> module of this folder that has its ``make_encoder``, imported when it is asked for; weights
# of HOW give local features by how_encoder
_ENCODERS = {LOCAL: "delf_encoder", GLOBAL: "global_encoder", BOTH: "global_encoder"}
_DELIVERIES_AHEAD = 2  # photos whose maps wait for selection


class UnusablePhoto(UserError):
    """The photo is to blame, not the network: it is left out, and the others go on."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """What an encoder makes of a photo: local features, a global descriptor, or both."""

    local: Optional[LocalFeatures] = None
    global_descriptor: Optional[GlobalDescriptor] = None


class Encoder(ABC):
    """Turns photos into features, in three steps that a pipeline overlaps on different photos.

    ``prepare`` runs on threads that read, ``infer`` on the main thread, ``select`` on a thread that delivers. An
    encoder is immutable and can be pickled before it is loaded.

    Attributes:
        provenance: its network's weights, what its descriptors mean, the settings; no sources.
        engine: what runs its network.
        sufficient_side: longer side, pixels, that every photo is shrunk to, so that no more need be decoded; 0 = all
            pixels are needed.
    """

    provenance: Provenance
    engine: str
    sufficient_side: int

    @abstractmethod
    def load(self, device_id: int = 0, threads: int = 0) -> "Encoder":
        """The same encoder with its network loaded, on one of several devices; threads of a CPU, 0 = all cores."""

    @abstractmethod
    def prepare(self, photo: LoadedPhoto, box: Optional[Box] = None) -> Any:
        """The inputs of the network for a photo, or for the part of it inside ``box`` (in its pixels).

        Raises:
            UserError: the box holds no pixel of the photo, or the photo is too large for the network.
        """

    @abstractmethod
    def infer(self, prepared: Any) -> Any:
        """The network's outputs; nothing in them refers to the photo's pixels."""

    @abstractmethod
    def select(self, inferred: Any) -> Encoded:
        """The features; UserError when the network returned numbers that are not finite, or UnusablePhoto."""

    def read(self, source: Source, box: Optional[Box] = None) -> LoadedPhoto:
        """A photo's file, or its bytes, as ``prepare`` wants it; UserError when it cannot be read."""
        return load_photo(source, self.sufficient_side if box is None else 0)

    def encode(self, image: ImageOrPath, box: Optional[Box] = None) -> Encoded:
        """Features of one photo, or of the part of it inside ``box``; keypoints are in pixels of the whole photo.

        Args:
            image: path of its file, the bytes of one or a file open for reading them, a PIL image, or an array: see
                ``photo_of_array``.
            box: (left, top, right, bottom) in pixels.

        Raises:
            UserError: not a photo, or one that cannot be used.
        """
        try:
            if isinstance(image, np.ndarray):
                photo = photo_of_array(image)
            elif isinstance(image, Image.Image):
                photo = photo_of_image(image)
            else:
                photo = self.read(_source_of(image), box)
            return self.select(self.infer(self.prepare(photo, box)))
        except UserError as error:
            if not isinstance(image, (str, Path)) or str(image) in str(error):
                raise
            raise UserError(f"{image}: {error}") from error


def _source_of(image: Any) -> Source:
    """A path as it is, or bytes; UserError for what is neither: a number would be taken for an open file."""
    if isinstance(image, (str, os.PathLike)):
        return image
    content = image.read() if hasattr(image, "read") else image
    if isinstance(content, (bytes, bytearray, memoryview)):
        return bytes(content)
    fix = "give the path of its file, its bytes, a PIL image or an array"
    raise UserError(f"a photo cannot be read from a {type(image).__name__}; {fix}")


def make_encoder(
    run: RunConfig,
    model: ModelConfig,
    extraction: ExtractionConfig,
    load_network: Optional[LoadNetwork] = None,
    kind: str = LOCAL,
    descriptor: GlobalConfig = GlobalConfig(),  # noqa: B008
) -> Encoder:
    """An encoder that has not loaded its network yet, with all that the recipe leaves open decided.

    Args:
        run, model, extraction: sections of the recipe.
        load_network: makes the network; None = that of the engines.
        kind: what it gives: "local" features, those of DELF or HOW as the weights say, a "global" descriptor, or "both"
            in one pass of the network.
        descriptor: section of the recipe, of global descriptors.

    Raises:
        UserError: no such kind, or a checkpoint, engine, PCA, threshold, layer or whitening that cannot be used.
    """
    if kind not in _ENCODERS:
        raise UserError(f"`features` is {kind!r}; it must be one of {', '.join(_ENCODERS)}")
    name, path = _ENCODERS[kind], model.checkpoint_path
    if kind != GLOBAL and is_how(path):
        if kind == BOTH:
            raise UserError(f"{path}: HOW's weights, whose local features come alone: give `features` local")
        name = "how_encoder"
    module = import_module(f".{name}", __package__)
    recipe = (run, model, extraction, load_network or load_in_engine)
    return module.make_encoder(*recipe) if kind == LOCAL else module.make_encoder(*recipe, descriptor, kind == BOTH)


def load_encoder(
    run: RunConfig,
    model: ModelConfig,
    extraction: ExtractionConfig,
    device_id: int = 0,
    threads: int = 0,
    load_network: Optional[LoadNetwork] = None,
    kind: str = LOCAL,
    descriptor: GlobalConfig = GlobalConfig(),  # noqa: B008
) -> Encoder:
    """An encoder ready to be used; arguments and errors as of ``make_encoder`` and ``Encoder.load``."""
    return make_encoder(run, model, extraction, load_network, kind, descriptor).load(device_id, threads)


@dataclass(frozen=True, eq=False)
class Extracted:
    """The features of a photo, and what reading it told: attributes of its group in a feature file.

    They are ``orientation`` (EXIF, applied), ``truncated`` (cut short), with a box ``clipped`` (it reached beyond the
    photo), and ``source`` of ``photo_state``.
    """

    encoded: Encoded
    told: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class _UnderWay:
    """A photo before or after the network: what the encoder's last step gave, and what reading it told."""

    data: Any
    told: Mapping[str, Any]


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
            require_inside(photo.name, photo.path).encode()
            stamp = stamp_of(photo)
            loaded = self.encoder.read(photo.path, photo.box)
            prepared = self.encoder.prepare(loaded, photo.box)
            told: Dict[str, Any] = {SOURCE: state_of(photo, stamp)}
        except UserError as error:
            reason = str(error)
            return reason if photo.path in reason else f"{photo.path}: {reason}"
        except UnicodeEncodeError:
            return f"{photo.path}: its name is not UTF-8, which feature files need; rename it"
        except OSError as error:  # gone since it was read
            return f"{photo.path}: {error.strerror}"
        except MemoryError:
            return f"{photo.path}: not enough memory to read it; give `max_image_size`"
        told.update(orientation=loaded.orientation, truncated=int(loaded.truncated))
        if photo.box is not None:
            told["clipped"] = int(leaves_photo(photo.box, loaded.size))
        return _UnderWay(prepared, told)

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
        return photo, _UnderWay(inferred, read.told)

    def _deliver(self, photo: Photo, inferred: Union[_UnderWay, str], deliver: Deliver) -> None:
        if isinstance(inferred, str):
            deliver(photo, inferred)
            return
        try:
            encoded = self.encoder.select(inferred.data)
        except UnusablePhoto as error:
            deliver(photo, f"{photo.path}: {error}")
            return
        except UserError as error:
            raise UserError(f"{photo.path}: {error}") from error
        deliver(photo, Extracted(encoded, inferred.told))


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
