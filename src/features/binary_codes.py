"""Local features as bytes: a code of bits for a descriptor, and 8 bytes for where and how strong it is.

A code is the signs of a rotated descriptor: iterative quantisation (ITQ, Gong and Lazebnik, CVPR 2011) turns it until
the signs lose as little as they can. The bits may be more than the numbers of a descriptor.
"""

import base64
import hashlib
from dataclasses import dataclass
from typing import Tuple

import h5py
import numpy as np

from ..errors import UserError
from ..hdf5 import read_attribute
from ..records import LocalFeatures
from .pca import l2_normalise

PACKED = "packed"  # data set of a photo in a feature file
_GEOMETRY = 8  # bytes: x, y as shares of the photo's sides, score, scale
_STEPS = 2**16 - 1  # of a side
_TEXT, _PIECE = "rotation", 2**15  # names of attributes, and their letters; HDF5 takes 2^16 bytes
_ITERATIONS = 50


@dataclass(frozen=True, eq=False)
class Rotation:
    """What turns descriptors into codes.

    Attributes:
        matrix: [B, D] float32; orthonormal rows, or columns where B is above D.
        mean: [D] float32, which is taken off before.

    Raises:
        ValueError: no such arrays.
    """

    matrix: np.ndarray
    mean: np.ndarray

    def __post_init__(self) -> None:
        for name in ("matrix", "mean"):
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name), np.float32))
        bits, shape = len(self.matrix), self.matrix.shape
        if len(shape) != 2 or not bits or bits % 8 or shape[1:] != self.mean.shape or not shape[1]:
            raise ValueError(f"matrix {shape}, mean {self.mean.shape} are not [B, D], [D]")
        if not (np.isfinite(self.matrix).all() and np.isfinite(self.mean).all()):
            raise ValueError("the rotation holds a number that is not finite")

    @property
    def bits(self) -> int:
        """Bits B of a code."""
        return len(self.matrix)

    @property
    def dimension(self) -> int:
        """Numbers of a descriptor as ``decode`` gives it."""
        return min(self.matrix.shape)

    @property
    def identity(self) -> str:
        """SHA-256 of the numbers, in hex."""
        return hashlib.sha256(self._bytes()).hexdigest()

    def encode(self, descriptors: np.ndarray) -> np.ndarray:
        """Descriptors [N, D] as codes [N, B / 8] uint8, the first bit highest: 1 where a number is above 0."""
        if not len(descriptors):
            return np.zeros((0, self.bits // 8), np.uint8)
        if descriptors.shape[1] != len(self.mean):
            fact = f"the codes are of descriptors of {len(self.mean)} numbers, these have {descriptors.shape[1]}"
            raise UserError(f"{fact}; extract both alike")
        return np.packbits((descriptors - self.mean) @ self.matrix.T > 0, axis=1)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Codes as descriptors of unit norm [N, min(B, D)] float32.

        Signs by 1 / sqrt(B). Where B is above D these are turned back by the transpose, which takes off most of what
        the signs add: distances are then nearly those of the descriptors.
        """
        signs = np.unpackbits(codes, axis=1).astype(np.float32) * 2 - 1
        if self.bits > self.dimension:
            return l2_normalise(signs @ self.matrix)
        return signs / np.float32(np.sqrt(self.bits))

    def write(self, file: h5py.File) -> None:
        """Into the attributes of a feature file."""
        text = base64.b64encode(self._bytes()).decode()
        file.attrs["code_bits"] = self.bits
        for number, start in enumerate(range(0, len(text), _PIECE)):
            file.attrs[f"{_TEXT}_{number}"] = np.bytes_(text[start : start + _PIECE])

    @classmethod
    def read(cls, file: h5py.File, identity: str) -> "Rotation":
        """Of a feature file whose provenance names it; ValueError where it is another, or none."""
        text, pieces = b"", 0
        while (piece := read_attribute(file, f"{_TEXT}_{pieces}")) is not None:
            text, pieces = text + bytes(piece), pieces + 1
        numbers = np.frombuffer(base64.b64decode(text, validate=True), "<f4")
        bits = int(read_attribute(file, "code_bits", 0))
        if bits < 1 or not len(numbers) or len(numbers) % (bits + 1):
            raise ValueError("no rotation of its codes in it")
        numbers = numbers.reshape(bits + 1, -1)
        found = cls(numbers[:-1], numbers[-1])
        if found.identity != identity:
            raise ValueError("another rotation than that of its codes in it")
        return found

    def _bytes(self) -> bytes:
        return np.vstack([self.matrix, self.mean]).astype("<f4").tobytes()


def learn_rotation(sample: np.ndarray, bits: int, seed: int) -> Rotation:
    """The rotation of codes by ITQ.

    Up to D bits the descriptors' first principal directions are turned. For more they are first laid into a space of
    so many dimensions at random, each direction at equal length, and turned there.

    Args:
        sample: [R, D] descriptors.
        bits: of a code, a multiple of 8.
        seed: of the first rotation and of what is random.

    Raises:
        UserError: fewer descriptors than twice their numbers.
    """
    import faiss

    count, dimension = sample.shape
    if count < 2 * dimension:
        raise UserError(f"{count} descriptors of {dimension} numbers are too few to learn codes; give more photos")
    mean = sample.mean(axis=0, dtype=np.float64)
    centred = l2_normalise(sample - mean)
    if bits <= dimension:
        first = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :bits].T
    else:
        first = np.linalg.qr(np.random.default_rng(seed).normal(size=(bits, dimension)))[0]
    turned = faiss.ITQMatrix(bits)
    turned.max_iter, turned.seed = _ITERATIONS, seed
    turned.train(np.ascontiguousarray(centred @ first.T, np.float32))
    return Rotation(faiss.vector_to_array(turned.A).reshape(bits, bits) @ first, mean)


def pack(features: LocalFeatures, rotation: Rotation) -> np.ndarray:
    """Features as bytes, uint8 [N, 8 + B / 8].

    x and y are uint16, shares of the photo's sides in steps of 1 / 65535; score and scale float16; all little-endian.
    """
    rows = np.zeros((len(features), _GEOMETRY + rotation.bits // 8), np.uint8)
    shares = features.keypoints / np.array(features.image_size, np.float32)
    rows[:, :4] = np.rint(np.clip(shares, 0, 1) * _STEPS).astype("<u2").view(np.uint8)
    scores = np.minimum(features.scores, np.finfo(np.float16).max)
    rows[:, 4:_GEOMETRY] = np.stack([scores, features.scales], axis=1).astype("<f2").view(np.uint8)
    rows[:, _GEOMETRY:] = rotation.encode(features.descriptors)
    return rows


def require_packed(shape: Tuple[int, ...], rotation: Rotation) -> None:
    """ValueError unless an array has the shape of ``pack``."""
    wide = _GEOMETRY + rotation.bits // 8
    if len(shape) != 2 or shape[1] != wide:
        raise ValueError(f"{PACKED} is {shape}, not [N, {wide}]")


def unpack(rows: np.ndarray, rotation: Rotation, image_size: Tuple[int, int], resize_factor: float) -> LocalFeatures:
    """The features of ``pack``; ValueError for other bytes."""
    require_packed(rows.shape, rotation)
    if rows.dtype != np.uint8:
        raise ValueError(f"{PACKED} holds {rows.dtype}, not bytes")
    places, numbers = (np.ascontiguousarray(rows[:, part]) for part in (slice(4), slice(4, _GEOMETRY)))
    scores, scales = numbers.view("<f2").astype(np.float32).T
    return LocalFeatures(
        keypoints=places.view("<u2").astype(np.float32) * np.array(image_size, np.float32) / _STEPS,
        scales=scales,
        scores=scores,
        descriptors=rotation.decode(rows[:, _GEOMETRY:]),
        image_size=image_size,
        resize_factor=resize_factor,
    )
