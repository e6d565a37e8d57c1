"""The reference's `.delf` and `.boxes` files (TF DELF, feature.proto and box.proto).

`.delf`: features in field 1, each {1: descriptor Datum, 2: x, 3: y, 4: scale, 5: orientation, 6: strength}. Its arrays
are (y, x); this project's are (x, y). The file knows neither the photo's size nor how the features were made.
`.boxes`: boxes in field 1, each {1..4: top, left, bottom, right, 5: score, 6: class}.
"""

from pathlib import Path
from typing import Callable, List, NamedTuple, Optional, Tuple, TypeVar

import numpy as np

from ..artifacts import PathLike
from ..errors import UserError
from ..records import LocalFeatures
from . import protobuf_wire as wire
from .datum_format import parse_datum, serialise_datum

SUFFIX = ".delf"
_Parsed = TypeVar("_Parsed")


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


def serialise_delf(
    locations: np.ndarray,
    scales: np.ndarray,
    descriptors: np.ndarray,
    attention: np.ndarray,
    orientations: Optional[np.ndarray] = None,
) -> bytes:
    """The bytes of a `.delf` file; see ``DelfArrays``, no orientations = zeros. ValueError when lengths disagree."""
    count = len(locations)
    orientations = np.zeros(count) if orientations is None else orientations
    if not count == len(scales) == len(descriptors) == len(attention) == len(orientations):
        raise ValueError("locations, scales, descriptors, attention and orientations are not of one length")
    if not count:
        return b""
    y, x = np.asarray(locations).T
    numbers = wire.encode_float_fields((2, 3, 4, 5, 6), np.stack([x, y, scales, orientations, attention], axis=1))
    rows = np.asarray(descriptors, np.float32)
    return b"".join(
        wire.encode_bytes(1, wire.encode_bytes(1, serialise_datum(row)) + rest) for row, rest in zip(rows, numbers)
    )


def parse_delf(data: bytes) -> DelfArrays:
    """The arrays of a `.delf` file; ValueError when ``data`` is none."""
    fields = wire.parse_fields(data)
    features = [wire.parse_fields(message) for message in wire.messages(fields, 1)]
    if fields and not features:
        raise ValueError("it holds other fields but no feature")
    numbers = np.array([[wire.last_float(feature, n) for n in (3, 2, 4, 5, 6)] for feature in features], np.float32)
    numbers = numbers.reshape(-1, 5)
    return DelfArrays(numbers[:, :2], numbers[:, 2], _descriptors(features), numbers[:, 4], numbers[:, 3])


def _descriptors(features: List[wire.Fields]) -> np.ndarray:
    rows = [parse_datum(b"".join(wire.messages(feature, 1))) for feature in features]
    if not rows:
        return np.zeros((0, 0), np.float32)
    for number, row in enumerate(rows):
        if row.ndim != 1 or row.shape != rows[0].shape:
            raise ValueError(f"descriptor {number} is {list(row.shape)}, the first {list(rows[0].shape)}")
    return np.stack(rows).astype(np.float32)


def serialise_boxes(boxes: np.ndarray, scores: np.ndarray, class_indices: np.ndarray) -> bytes:
    """The bytes of a `.boxes` file: boxes [N, 4] (top, left, bottom, right), scores [N], class_indices [N] integers."""
    if not len(boxes) == len(scores) == len(class_indices):
        raise ValueError("boxes, scores and class_indices are not of one length")
    numbers = np.concatenate([np.reshape(boxes, (-1, 4)), np.reshape(scores, (-1, 1))], axis=1)
    return b"".join(
        wire.encode_bytes(1, row + wire.encode_varint_field(6, int(class_index)))
        for row, class_index in zip(wire.encode_float_fields((1, 2, 3, 4, 5), numbers), class_indices)
    )


def parse_boxes(data: bytes) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """boxes [N, 4] and scores [N] float32, class_indices [N] int32; ValueError when ``data`` is no `.boxes` file."""
    fields = [wire.parse_fields(message) for message in wire.messages(wire.parse_fields(data), 1)]
    numbers = np.array([[wire.last_float(box, n) for n in range(1, 6)] for box in fields], np.float32).reshape(-1, 5)
    classes = [(wire.integers(box, 6) or [0])[-1] for box in fields]
    return numbers[:, :4], numbers[:, 4], np.array(classes, np.int64).astype(np.int32)


def read_message(path: PathLike, parse: Callable[[bytes], _Parsed]) -> _Parsed:
    """What ``parse`` (parse_delf, parse_boxes, parse_datum ...) finds in a file; UserError when it finds none."""
    try:
        return parse(Path(path).read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a file of the reference's tools") from error
    except ValueError as error:
        kind = parse.__name__.replace("parse_", "").replace("_", " ")
        raise UserError(f"{path}: not a {kind} file, or a damaged one ({error}); make it again") from error


def features_as_delf(features: LocalFeatures) -> bytes:
    """The features of one photo as the bytes of a `.delf` file."""
    return serialise_delf(features.keypoints[:, ::-1], features.scales, features.descriptors, features.scores)


def read_delf(path: PathLike, image_size: Tuple[int, int]) -> LocalFeatures:
    """The features of a `.delf` file of a photo of ``image_size`` (width, height); orientations are left out.

    Raises:
        UserError: the file cannot be read, is no `.delf` file, or holds a number that is not finite.
    """
    arrays = read_message(path, parse_delf)
    try:
        return LocalFeatures(
            keypoints=arrays.locations[:, ::-1],
            scales=arrays.scales,
            scores=arrays.attention,
            descriptors=arrays.descriptors,
            image_size=image_size,
        )
    except ValueError as error:
        raise UserError(f"{path}: its features cannot be used ({error}); extract them again") from error
