"""What follows the pooling in a network of global descriptors: linear layers, and the attention of regions."""

import base64
import hashlib
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Tuple

import numpy as np

HEADS = ("none", "fc", "whiten")
NONLINEARITIES = ("tanh", "softplus")
_LEAST_NORM = 1e-12  # as of dirtorch's; shorter vectors stay shorter than 1


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors [.., C] of unit L2 norm, float32; zero stays zero."""
    vectors = np.asarray(vectors)
    squares = np.square(vectors, dtype=np.float64).sum(axis=-1, keepdims=True)
    return (vectors / np.maximum(np.sqrt(squares), _LEAST_NORM)).astype(np.float32)


def numbers(array: Any, name: str, shape: Tuple[int, ...]) -> np.ndarray:
    """``array`` in float32, checked.

    Args:
        array: of numbers.
        name: for messages.
        shape: expected; -1 = any length above 0.

    Raises:
        ValueError: another shape, or it holds what is no finite number.
    """
    array = np.asarray(array)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{name} holds no numbers")
    if array.ndim != len(shape) or not array.size or any(b not in (-1, a) for a, b in zip(array.shape, shape)):
        raise ValueError(f"{name} has the shape {list(array.shape)}, not {['any' if n < 0 else n for n in shape]}")
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds a number that is not finite")
    return array


def identity_of(*arrays: np.ndarray) -> str:
    """SHA-256 of float32 numbers and their shapes, in hex."""
    state = hashlib.sha256()
    for array in arrays:
        state.update(f"{array.shape}".encode() + np.ascontiguousarray(array, "<f4").tobytes())
    return state.hexdigest()


@dataclass(frozen=True, eq=False)
class Linear:
    """A linear layer: [.., C] -> [.., D].

    Attributes:
        weight: [D, C] float32.
        bias: [D] float32.

    Raises:
        ValueError: shapes disagree, or a number is not finite.
    """

    weight: np.ndarray
    bias: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", numbers(self.weight, "weight", (-1, -1)))
        object.__setattr__(self, "bias", numbers(self.bias, "bias", (len(self.weight),)))

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """``weight`` times each vector, plus ``bias``."""
        return np.asarray(vectors, np.float32) @ self.weight.T + self.bias

    @property
    def identity(self) -> str:
        """SHA-256 of the numbers, in hex."""
        return identity_of(self.weight, self.bias)

    def as_texts(self) -> Dict[str, str]:
        """Its numbers as JSON takes them; see ``from_texts``."""
        return {name: as_text(getattr(self, name)) for name in ("weight", "bias")}

    @classmethod
    def from_texts(cls, texts: Mapping[str, str]) -> "Linear":
        """The layer of ``as_texts``; ValueError where they are of none."""
        weight, bias = (from_text(texts[name]) for name in ("weight", "bias"))
        return cls(weight.reshape(len(bias), -1), bias)


def as_text(array: np.ndarray) -> str:
    """Numbers in float32 as text."""
    return base64.b64encode(array.astype("<f4")).decode()


def from_text(text: str) -> np.ndarray:
    """The numbers [N] of ``as_text``."""
    return np.frombuffer(base64.b64decode(text), "<f4")


@dataclass(frozen=True, eq=False)
class Head:
    """The projection behind a global pooling: [L2,] linear layer, L2.

    Attributes:
        linear: the layer.
        normalise_first: whether L2 comes before it: cirtorch's ``whiten`` always; dirtorch's ``fc`` where the network
            was made with norm_features.
    """

    linear: Linear
    normalise_first: bool

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Pooled vectors [.., C] -> [.., D] float32 of unit norm."""
        return unit(self.linear(unit(vectors) if self.normalise_first else vectors))


def make_head(name: str, weight: np.ndarray, bias: np.ndarray, norm_features: bool = False) -> Head:
    """The head ``name`` of ``HEADS``, but "none", of a layer's ``weight`` [D, C] and ``bias`` [D].

    Args:
        name: "fc", as of dirtorch, or "whiten", as of cirtorch.
        weight, bias: of the layer.
        norm_features: dirtorch's option of that name; for "fc".

    Raises:
        ValueError: shapes disagree, or a number is not finite.
    """
    return Head(Linear(weight, bias), norm_features or name == "whiten")


@dataclass(frozen=True, eq=False)
class RegionalAttention:
    """How much a region counts, from the region's mean and that of the whole map (Kim & Yoon, BMVC 2018).

    weight = softplus(w2 . f(w1 [mean of the region, mean of the map] + b1) + b2). The network was trained with softplus
    as f, and is used with tanh.

    Attributes:
        w1: [H, 2C] float32; b1: [H]; w2: [H]; b2: [1].
        nonlinearity: f, one of ``NONLINEARITIES``.

    Raises:
        ValueError: shapes disagree, a number is not finite, or no such non-linearity.
    """

    w1: np.ndarray
    b1: np.ndarray
    w2: np.ndarray
    b2: np.ndarray
    nonlinearity: str = "tanh"

    def __post_init__(self) -> None:
        hidden = len(self.w1)
        for name, shape in (("w1", (hidden, -1)), ("b1", (hidden,)), ("w2", (hidden,)), ("b2", (1,))):
            array = np.asarray(getattr(self, name))  # 1x1 convolutions have lengths 1 besides
            array = array.reshape(hidden, -1) if name == "w1" else array.reshape(-1)
            object.__setattr__(self, name, numbers(array, name, shape))
        if self.w1.shape[1] % 2:
            raise ValueError(f"w1 has {self.w1.shape[1]} columns, not two for each channel")
        if self.nonlinearity not in NONLINEARITIES:
            raise ValueError(f"{self.nonlinearity!r} is none of {', '.join(NONLINEARITIES)}")

    def __call__(self, regions: np.ndarray, whole: np.ndarray) -> np.ndarray:
        """Weights [R], above 0, of regions with the means [R, C] in a map of the mean [C]."""
        context = np.concatenate([regions, np.broadcast_to(whole, regions.shape)], axis=1)
        hidden = context @ self.w1.T + self.b1
        return softplus(activation(self.nonlinearity, hidden) @ self.w2 + self.b2)

    @property
    def identity(self) -> str:
        """SHA-256 of the numbers, in hex."""
        return identity_of(self.w1, self.b1, self.w2, self.b2)


def softplus(values: np.ndarray) -> np.ndarray:
    """log(1 + exp(x)), without overflow."""
    return np.logaddexp(0, values)


def activation(name: str, values: np.ndarray) -> np.ndarray:
    """One of ``NONLINEARITIES`` of each number."""
    return np.tanh(values) if name == "tanh" else softplus(values)
