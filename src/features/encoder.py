"""What turns a photo into features: the interface of every encoder, and the table that finds one by its name."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Callable, Optional, Tuple, Union

import numpy as np
from PIL import Image

from ..artifacts import PathLike
from ..config import ExtractionConfig, ModelConfig, RunConfig
from ..engines import Network
from ..engines import load_network as load_in_engine
from ..errors import UserError
from ..images import LoadedPhoto, load_photo, photo_of_image
from ..records import GlobalDescriptor, LocalFeatures, Provenance

# A function of a module, as it is pickled to worker processes: run, model, device id, threads -> network
LoadNetwork = Callable[[RunConfig, ModelConfig, int, int], Network]
ImageOrPath = Union[PathLike, Image.Image, np.ndarray]
Box = Tuple[float, float, float, float]  # left, top, right, bottom

# Name of an encoder -> module of this folder that has its ``make_encoder``, imported when it is asked for
_ENCODERS = {"delf": "delf_encoder"}


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
        """The features; UserError when the network returned numbers that are not finite."""

    def read(self, path: PathLike, box: Optional[Box] = None) -> LoadedPhoto:
        """A photo's file as ``prepare`` wants it; UserError when it cannot be read."""
        return load_photo(path, self.sufficient_side if box is None else 0)

    def encode(self, image: ImageOrPath, box: Optional[Box] = None) -> Encoded:
        """Features of one photo, or of the part of it inside ``box``; keypoints are in pixels of the whole photo.

        Args:
            image: path of its file, a PIL image, or an array: see ``photo_of_array``.
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
                photo = self.read(image, box)
            return self.select(self.infer(self.prepare(photo, box)))
        except UserError as error:
            if not isinstance(image, (str, Path)) or str(image) in str(error):
                raise
            raise UserError(f"{image}: {error}") from error


def photo_of_array(image: np.ndarray) -> LoadedPhoto:
    """A photo given as numbers: RGB [H, W, 3] or grey [H, W], uint8, or floats from 0 to 1 or from 0 to 255.

    Floats count as 0 to 1 when none is above 1, else as 0 to 255; they are rounded to the nearest of 256 steps.

    Raises:
        UserError: another shape or type, or numbers outside the range.
    """
    shaped = image.ndim in (2, 3) and (image.ndim == 2 or image.shape[2] == 3) and image.size
    if not shaped or not (image.dtype == np.uint8 or image.dtype.kind == "f"):
        fact = f"an image is [H, W, 3] or [H, W], uint8 or float, not {list(image.shape)} {image.dtype}"
        raise UserError(f"{fact}; convert it, or give the path of its file")
    if image.dtype != np.uint8:
        if not (np.isfinite(image).all() and 0 <= image.min() and image.max() <= 255):
            raise UserError(
                "an image of floats has numbers from 0 to 1 or from 0 to 255; this one has others: scale it"
            )
        image = np.rint(image * (255.0 if image.max() <= 1 else 1.0)).astype(np.uint8)
    pixels = image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)
    return LoadedPhoto(np.ascontiguousarray(pixels), (pixels.shape[1], pixels.shape[0]))


def make_encoder(
    run: RunConfig,
    model: ModelConfig,
    extraction: ExtractionConfig,
    load_network: Optional[LoadNetwork] = None,
    name: str = "delf",
) -> Encoder:
    """An encoder that has not loaded its network yet, with all that the recipe leaves open decided.

    Args:
        run, model, extraction: sections of the recipe.
        load_network: makes the network; None = that of the engines.
        name: of the encoder.

    Raises:
        UserError: no such encoder, or a checkpoint, engine, PCA or threshold that cannot be used.
    """
    if name not in _ENCODERS:
        raise UserError(f"{name!r} is no encoder; there are {', '.join(_ENCODERS)}")
    module = import_module(f".{_ENCODERS[name]}", __package__)
    return module.make_encoder(run, model, extraction, load_network or load_in_engine)


def load_encoder(
    run: RunConfig,
    model: ModelConfig,
    extraction: ExtractionConfig,
    device_id: int = 0,
    threads: int = 0,
    load_network: Optional[LoadNetwork] = None,
) -> Encoder:
    """An encoder ready to be used; arguments and errors as of ``make_encoder`` and ``Encoder.load``."""
    return make_encoder(run, model, extraction, load_network).load(device_id, threads)
