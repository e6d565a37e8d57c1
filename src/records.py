"""What the rooms hand to each other: typed, validated, immutable records."""

from dataclasses import dataclass
from typing import Optional, Sequence, Tuple

import numpy as np


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


@dataclass(frozen=True, eq=False)
class LocalFeatures:
    """Local features of one photo; N may be 0.

    Attributes:
        keypoints: [N, 2] float32, (x, y) in pixels of the original photo.
        scales: [N] float32, 1 / pyramid scale.
        scores: [N] float32, attention, best first.
        descriptors: [N, D] float32, rows of unit L2 norm.
        image_size: (width, height) of the original photo in pixels.

    Raises:
        ValueError: shapes disagree or a number is not finite.
    """

    keypoints: np.ndarray
    scales: np.ndarray
    scores: np.ndarray
    descriptors: np.ndarray
    image_size: Tuple[int, int]

    def __post_init__(self) -> None:
        for name in ("keypoints", "scales", "scores", "descriptors"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float32))
            _require(bool(np.isfinite(getattr(self, name)).all()), f"{name} holds a number that is not finite")
        count = len(self.keypoints)
        _require(self.keypoints.shape == (count, 2), f"keypoints are {self.keypoints.shape}, not [N, 2]")
        _require(self.scales.shape == (count,), f"scales are {self.scales.shape}, not [{count}]")
        _require(self.scores.shape == (count,), f"scores are {self.scores.shape}, not [{count}]")
        _require(
            self.descriptors.ndim == 2 and len(self.descriptors) == count,
            f"descriptors are {self.descriptors.shape}, not [{count}, D]",
        )
        width, height = (int(side) for side in self.image_size)
        _require(width > 0 and height > 0, f"image_size is {self.image_size}, not positive (width, height)")
        object.__setattr__(self, "image_size", (width, height))

    def __len__(self) -> int:
        return len(self.keypoints)


@dataclass(frozen=True, eq=False)
class Matches:
    """Correspondences between two LocalFeatures, A and B; M may be 0.

    Attributes:
        indices: [M, 2] int64, (row of A, row of B).
        distances: [M] float32, L2 distance of the descriptors.
        inliers: [M] bool after verification, else None.
        affine: [2, 3] float64 that maps (x, y, 1) of A to (x, y) of B, or None when no model was found.
    """

    indices: np.ndarray
    distances: np.ndarray
    inliers: Optional[np.ndarray] = None
    affine: Optional[np.ndarray] = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "indices", np.asarray(self.indices, dtype=np.int64).reshape(-1, 2))
        object.__setattr__(self, "distances", np.asarray(self.distances, dtype=np.float32))
        count = len(self.indices)
        _require(self.distances.shape == (count,), f"distances are {self.distances.shape}, not [{count}]")
        if self.inliers is not None:
            object.__setattr__(self, "inliers", np.asarray(self.inliers, dtype=bool))
            _require(self.inliers.shape == (count,), f"inliers are {self.inliers.shape}, not [{count}]")
        if self.affine is not None:
            object.__setattr__(self, "affine", np.asarray(self.affine, dtype=np.float64))
            _require(self.affine.shape == (2, 3), f"affine is {self.affine.shape}, not [2, 3]")

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def num_inliers(self) -> int:
        """Number of inliers; 0 before verification."""
        return 0 if self.inliers is None else int(self.inliers.sum())


@dataclass(frozen=True, eq=False)
class Ranking:
    """The result of retrieval.

    Attributes:
        query_names: Q names, as in the ground truth.
        index_names: N names of the index, without extension.
        ranks: [Q, N] int32, each row a permutation of the index numbers, best first.
        scores: [Q, N] float32 in rank order, falling.
    """

    query_names: Sequence[str]
    index_names: Sequence[str]
    ranks: np.ndarray
    scores: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "query_names", [str(name) for name in self.query_names])
        object.__setattr__(self, "index_names", [str(name) for name in self.index_names])
        object.__setattr__(self, "ranks", np.asarray(self.ranks, dtype=np.int32))
        object.__setattr__(self, "scores", np.asarray(self.scores, dtype=np.float32))
        shape = (len(self.query_names), len(self.index_names))
        _require(self.ranks.shape == shape, f"ranks are {self.ranks.shape}, not {shape}")
        _require(self.scores.shape == shape, f"scores are {self.scores.shape}, not {shape}")
        _require(len(set(self.query_names)) == shape[0], "query names are not unique")
        _require(len(set(self.index_names)) == shape[1], "index names are not unique")
        _require(all(map(_is_permutation, self.ranks)), "each row of ranks must hold every index number once")
        _require(bool((self.scores[:, 1:] <= self.scores[:, :-1]).all()), "scores must fall along each row")


def _is_permutation(row: np.ndarray) -> bool:
    """Whether ``row`` holds each of 0 .. N - 1 once; much quicker than sorting it."""
    seen = np.zeros(len(row), dtype=bool)
    if row.size and (row.min() < 0 or row.max() >= len(row)):
        return False
    seen[row] = True
    return bool(seen.all())
