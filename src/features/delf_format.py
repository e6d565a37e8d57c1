"""The reference's `.delf` and `.datum` files (TF DELF, feature.proto and datum.proto).

The arrays of a `.delf` file are (y, x); this project's are (x, y). The file knows neither the photo's size nor how the
features were made.
"""

import math
from pathlib import Path
from typing import Any, NamedTuple, Optional, Tuple

import numpy as np

from ..artifacts import PathLike, require_file
from ..errors import reading
from ..protobuf import message_classes, parse
from ..records import LocalFeatures

SUFFIX = ".delf"
_NUMBERS = ("x", "y", "scale", "orientation", "strength")
_MESSAGES = message_classes(
    "delf",
    {
        "Shape": {"dim": (1, "repeated int64")},
        "Floats": {"value": (1, "repeated float")},
        "Integers": {"value": (1, "repeated uint32")},
        "Datum": {"shape": (1, "Shape"), "float_list": (2, "Floats"), "uint32_list": (3, "Integers")},
        "Feature": {
            "descriptor": (1, "Datum"),
            **{name: (number, "float") for number, name in enumerate(_NUMBERS, 2)},
        },
        "Features": {"feature": (1, "repeated Feature")},
    },
)


class DelfArrays(NamedTuple):
    """What a `.delf` file holds, float32; N may be 0.

    Attributes:
        locations: [N, 2] (y, x), pixels of the photo.
        scales: [N] 1 / pyramid scale.
        descriptors: [N, D].
        attention: [N] scores.
        orientations: [N]; DELF has none and writes 0.
    """

    locations: np.ndarray
    scales: np.ndarray
    descriptors: np.ndarray
    attention: np.ndarray
    orientations: np.ndarray


def parse_datum(data: bytes) -> np.ndarray:
    """The array of a Datum: float32, or uint32; ValueError when ``data`` is none."""
    return _array_of(parse(_MESSAGES["Datum"], data))


def serialise_delf(
    locations: np.ndarray,
    scales: np.ndarray,
    descriptors: np.ndarray,
    attention: np.ndarray,
    orientations: Optional[np.ndarray] = None,
) -> bytes:
    """The bytes of a `.delf` file; see ``DelfArrays``, no orientations = zeros. ValueError when the counts disagree."""
    count = len(locations)
    orientations = np.zeros(count) if orientations is None else orientations
    if not count == len(scales) == len(descriptors) == len(attention) == len(orientations):
        raise ValueError("locations, scales, descriptors, attention and orientations are not of one count")
    y, x = np.reshape(locations, (-1, 2)).T
    rows = np.asarray(descriptors, np.float32)
    message = _MESSAGES["Features"]()
    for row, numbers in zip(rows, np.stack([x, y, scales, orientations, attention], axis=1).tolist()):
        feature = message.feature.add(**dict(zip(_NUMBERS, numbers)))
        feature.descriptor.shape.dim.extend(row.shape)
        feature.descriptor.float_list.SetInParent()  # written even when it has no numbers
        feature.descriptor.float_list.value.extend(row.tolist())
    return message.SerializeToString()


def parse_delf(data: bytes) -> DelfArrays:
    """The arrays of a `.delf` file; ValueError when ``data`` is none."""
    features = parse(_MESSAGES["Features"], data).feature
    if data and not features:
        raise ValueError("it holds other fields but no feature")
    numbers = np.array([[getattr(feature, name) for name in _NUMBERS] for feature in features], np.float32)
    x, y, scales, orientations, attention = numbers.reshape(-1, len(_NUMBERS)).T
    rows = [_array_of(feature.descriptor) for feature in features]
    for number, row in enumerate(rows):
        if row.ndim != 1 or row.shape != rows[0].shape:
            raise ValueError(f"descriptor {number} is {list(row.shape)}, the first {list(rows[0].shape)}")
    descriptors = np.stack(rows).astype(np.float32) if rows else np.zeros((0, 0), np.float32)
    return DelfArrays(np.stack([y, x], axis=1), scales, descriptors, attention, orientations)


def features_as_delf(features: LocalFeatures) -> bytes:
    """The features of one photo as the bytes of a `.delf` file."""
    return serialise_delf(features.keypoints[:, ::-1], features.scales, features.descriptors, features.scores)


def read_delf(path: PathLike, image_size: Tuple[int, int]) -> LocalFeatures:
    """The features of a `.delf` file of a photo of ``image_size`` (width, height); orientations are left out.

    Raises:
        UserError: the file cannot be read, is no `.delf` file, or holds a number that is not finite.
    """
    with reading(require_file(path, f"{SUFFIX} file"), "make it again with the reference's tools"):
        arrays = parse_delf(Path(path).read_bytes())
        return LocalFeatures(
            keypoints=arrays.locations[:, ::-1],
            scales=arrays.scales,
            scores=arrays.attention,
            descriptors=arrays.descriptors,
            image_size=image_size,
        )


def _array_of(datum: Any) -> np.ndarray:
    """The array of a Datum message; ValueError when shape and numbers disagree."""
    if datum.HasField("float_list"):
        values = np.array(datum.float_list.value, np.float32)
    elif datum.HasField("uint32_list"):
        values = np.array(datum.uint32_list.value, np.uint32)
    else:
        raise ValueError("an array has neither floats nor integers")
    shape = tuple(datum.shape.dim)
    if min(shape, default=0) < 0 or math.prod(shape) != len(values):
        raise ValueError(f"an array of shape {list(shape)} holds {len(values)} numbers")
    return values.reshape(shape)
