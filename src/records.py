"""What the rooms hand to each other: typed, validated, immutable records."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


@dataclass(frozen=True)
class Provenance:
    """What something was made with; all mappings hold JSON values.

    Attributes:
        weights: SHA-256 in hex of the network's weights; '' where no network took part.
        encoder: what a descriptor means: the encoder's name, its architecture, PCA, dimensions and precision.
        settings: what else the content depends on.
        sources: identities of what it was made from.
        notes: worth recording, without any effect on the content.
    """

    weights: str = ""
    encoder: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, Any] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("encoder", "settings", "sources", "notes"):  # as they come back from JSON: no tuples
            object.__setattr__(self, name, json.loads(json.dumps(dict(getattr(self, name)))))

    def compatible_with(self, other: "Provenance") -> bool:
        """Whether descriptors of both may be compared: same weights, and they mean the same."""
        return not self.differences(other, ("weights", "encoder"))

    def same_run(self, other: "Provenance") -> bool:
        """Whether both describe the same content, so that what is made need not be made again."""
        return not self.differences(other)

    def differences(
        self, other: "Provenance", parts: Sequence[str] = ("weights", "encoder", "settings", "sources")
    ) -> List[str]:
        """Names of what differs in some ``parts``, for messages."""
        names = []
        for part in parts:
            ours, theirs = getattr(self, part), getattr(other, part)
            if part == "weights":
                names += ["weights"] if ours != theirs else []
            else:
                names += sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
        return names

    def as_json(self) -> Dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> "Provenance":
        """What ``as_json`` gave; ValueError for anything else."""
        names = {f.name for f in dataclasses.fields(cls)}
        if not isinstance(value, dict) or not set(value) <= names or not isinstance(value.get("weights"), str):
            raise ValueError("no provenance")
        if not all(isinstance(part, dict) for name, part in value.items() if name != "weights"):
            raise ValueError("no provenance")
        return cls(**value)


@dataclass(frozen=True, eq=False)
class LocalFeatures:
    """Local features of one photo; N may be 0.

    Attributes:
        keypoints: [N, 2] float32, (x, y) in pixels of the original photo.
        scales: [N] float32, 1 / pyramid scale.
        scores: [N] float32, attention, best first.
        descriptors: [N, D] float32, rows of unit L2 norm; HOW's of about 1.
        image_size: (width, height) of the original photo in pixels.
        resize_factor: longer side of what the network saw at scale 1 / longer side of the photo; a cut-out of a photo
            is resized as the whole photo would be, and has its factor.

    Raises:
        ValueError: shapes disagree or a number is not finite.
    """

    keypoints: np.ndarray
    scales: np.ndarray
    scores: np.ndarray
    descriptors: np.ndarray
    image_size: Tuple[int, int]
    resize_factor: float = 1.0

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
        object.__setattr__(self, "image_size", _checked_size(self.image_size))
        factor = float(self.resize_factor)
        _require(np.isfinite(factor) and factor > 0, f"resize_factor is {factor}, not above 0")
        object.__setattr__(self, "resize_factor", factor)

    def __len__(self) -> int:
        return len(self.keypoints)

    def __repr__(self) -> str:
        width, height = self.image_size
        return f"LocalFeatures({len(self)} of {self.descriptors.shape[1]} numbers, photo {width} x {height})"


@dataclass(frozen=True, eq=False)
class GlobalDescriptor:
    """One vector for a whole photo.

    Attributes:
        vector: [D] float32 of unit L2 norm.
        image_size: (width, height) of the original photo in pixels.

    Raises:
        ValueError: not such a vector.
    """

    vector: np.ndarray
    image_size: Tuple[int, int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "vector", np.asarray(self.vector, dtype=np.float32))
        _require(self.vector.ndim == 1, f"vector is {self.vector.shape}, not [D]")
        _require(bool(abs(np.linalg.norm(self.vector) - 1) < 1e-3), "vector is not of unit L2 norm")
        object.__setattr__(self, "image_size", _checked_size(self.image_size))


def _checked_size(image_size: Sequence[int]) -> Tuple[int, int]:
    width, height = (int(side) for side in image_size)
    _require(width > 0 and height > 0, f"image_size is {image_size}, not positive (width, height)")
    return width, height


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
        ranks: [Q, K] int32, index numbers, best first, each at most once in a row; K <= N.
        scores: [Q, K] float32 in rank order, falling.
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
        queries, photos = len(self.query_names), len(self.index_names)
        _require(
            self.ranks.ndim == 2 and len(self.ranks) == queries, f"ranks are {self.ranks.shape}, not [{queries}, K]"
        )
        _require(self.scores.shape == self.ranks.shape, f"scores are {self.scores.shape}, ranks {self.ranks.shape}")
        _require(len(set(self.query_names)) == queries, "query names are not unique")
        _require(len(set(self.index_names)) == photos, "index names are not unique")
        _require(
            all(_holds_once(row, photos) for row in self.ranks), "each row of ranks must hold a photo at most once"
        )
        _require(bool((self.scores[:, 1:] <= self.scores[:, :-1]).all()), "scores must fall along each row")


def _holds_once(row: np.ndarray, count: int) -> bool:
    """Whether ``row`` holds numbers of 0 .. count - 1, each at most once; much quicker than sorting it."""
    if row.size > count or (row.size and (row.min() < 0 or row.max() >= count)):
        return False
    seen = np.zeros(count, dtype=bool)
    seen[row] = True
    return int(seen.sum()) == row.size


@dataclass(frozen=True, eq=False)
class Candidates:
    """Photos for one query, best first.

    Attributes:
        photos: [C] int64, photo numbers, each once.
        scores: [C] float64, falling.
        putative: gives the correspondences of a photo (A) and the query (B) that the search has found, unverified.
        verified: the matches of photos that a re-ranker looked at; ``inliers`` is None where they were too few.
        through: the photos that the graph found through another one, and this.
    """

    photos: np.ndarray
    scores: np.ndarray
    putative: Callable[[int], Matches]
    verified: Mapping[int, Matches] = field(default_factory=dict)
    through: Mapping[int, int] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of photos."""
        return len(self.photos)

    def matches(self, photo: int) -> Matches:
        """The verified matches of a photo, or the putative ones where no re-ranker looked at it."""
        photo = int(photo)
        return self.verified[photo] if photo in self.verified else self.putative(photo)

    def part(self, places: Union[slice, np.ndarray]) -> "Candidates":
        """Some of the photos."""
        return dataclasses.replace(self, photos=self.photos[places], scores=self.scores[places])

    def renumbered(self, step: int) -> "Candidates":
        """The same photos under numbers that are higher by ``step``."""
        return Candidates(
            self.photos + step,
            self.scores,
            lambda photo: self.putative(photo - step),
            {photo + step: matches for photo, matches in self.verified.items()},
        )


@dataclass(frozen=True)
class Photo:
    """One photo to extract.

    Attributes:
        name: its name in the feature file.
        path: the file.
        box: (left, top, right, bottom) in its pixels; None = the whole photo.
    """

    name: str
    path: str
    box: Optional[Tuple[int, int, int, int]] = None
