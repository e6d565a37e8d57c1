"""The ranking file: a ``.npz`` with a Ranking, how it was made, and the matches that retrieval itself verified.

Other programs may write one too: ``query_names``, ``index_names``, ``ranks`` and ``scores`` are all that it must hold.
"""

import dataclasses
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from ..arrays import read_arrays
from ..artifacts import PathLike, atomic_stream, require_file
from ..errors import UserError, reading
from ..names import bare_name, require_inside
from ..records import Matches, Provenance, Ranking

_ARRAYS = ("query_names", "index_names", "ranks", "scores")
_FIX = f"give a ranking, which holds {', '.join(_ARRAYS)}; the command perform_retrieval makes one"
_MATCH_TYPES = {
    "queries": np.int32,
    "photos": np.int32,
    "correspondences": np.int32,
    "verified": np.bool_,
    "starts": np.int64,
    "points": np.float32,
}


@dataclass(frozen=True, eq=False)
class PairMatches:
    """What was verified of one query and one photo of the index.

    Attributes:
        points: [M, 4] float32, (x, y) in the query's photo and (x, y) in the index photo of each inlier; pixels of the
            original photos.
        correspondences: putative ones, of which the inliers are some.
        verified: False where they were too few to be verified; there are no inliers then.
    """

    points: np.ndarray
    correspondences: int
    verified: bool

    @classmethod
    def of(cls, matches: Matches, query: np.ndarray, photo: np.ndarray) -> "PairMatches":
        """From matches of an index photo (A) and the query (B), with the keypoints [N, 2] of each."""
        rows = matches.indices[matches.inliers if matches.inliers is not None else slice(0)]
        points = np.concatenate([query[rows[:, 1]], photo[rows[:, 0]]], axis=1)
        return cls(points, len(matches), matches.inliers is not None)


@dataclass(frozen=True, eq=False)
class RankedMatches:
    """The matches of the best photos of each query, P pairs in all, as retrieval verified them.

    Attributes:
        queries: [P] int32, rows of the ranking.
        photos: [P] int32, photo numbers of the index.
        correspondences: [P] int32, putative ones.
        verified: [P] bool, False where these were too few.
        starts: [P + 1] int64; pair p owns rows ``starts[p]`` to ``starts[p + 1]`` of ``points``.
        points: [M, 4] float32, see ``PairMatches``.
        through: [P] int32, the photo through which the graph has found this one; -1 where it has not. None = nowhere.
        steps: the matches of those two photos, which stand as ``queries`` and ``photos`` there.

    Raises:
        ValueError: shapes disagree, or a point is not finite.
    """

    queries: np.ndarray
    photos: np.ndarray
    correspondences: np.ndarray
    verified: np.ndarray
    starts: np.ndarray
    points: np.ndarray
    through: Optional[np.ndarray] = None
    steps: Optional["RankedMatches"] = None

    def __post_init__(self) -> None:
        for name, kind in _MATCH_TYPES.items():
            object.__setattr__(self, name, np.asarray(getattr(self, name), kind))
        pairs, starts = len(self), self.starts
        if any(getattr(self, name).shape != (pairs,) for name in ("queries", "photos", "correspondences", "verified")):
            raise ValueError(f"queries, photos, correspondences and verified of the matches are not all [{pairs}]")
        if self.through is not None:
            object.__setattr__(self, "through", np.asarray(self.through, np.int32))
            if self.through.shape != (pairs,):
                raise ValueError(f"through of the matches is {self.through.shape}, not [{pairs}]")
        if self.points.ndim != 2 or self.points.shape[1] != 4:
            raise ValueError(f"points of the matches are {self.points.shape}, not [M, 4]")
        if not np.isfinite(self.points).all():
            raise ValueError("points of the matches hold a number that is not finite")
        if starts.shape != (pairs + 1,) or starts[0] or starts[-1] != len(self.points) or (np.diff(starts) < 0).any():
            raise ValueError(f"starts of the matches do not divide {len(self.points)} points among {pairs} pairs")

    @classmethod
    def from_pairs(
        cls,
        pairs: Iterable[Tuple[int, int, PairMatches]],
        through: Sequence[int] = (),
        steps: Iterable[Tuple[int, int, PairMatches]] = (),
    ) -> "RankedMatches":
        """From (row of the ranking, photo number, matches) of each pair; ``through`` and ``steps`` where there are any.

        Args:
            pairs: row of the ranking, photo number, and matches of each.
            through: of each pair; see the attribute.
            steps: two photo numbers, and their matches.
        """
        pairs, steps = list(pairs), list(steps)
        found = [matches for _, _, matches in pairs]
        return cls(
            queries=[query for query, _, _ in pairs],
            photos=[photo for _, photo, _ in pairs],
            correspondences=[matches.correspondences for matches in found],
            verified=[matches.verified for matches in found],
            starts=np.cumsum([0, *(len(matches.points) for matches in found)]),
            points=np.concatenate([np.zeros((0, 4)), *(matches.points for matches in found)]),
            through=through if steps else None,
            steps=cls.from_pairs(steps) if steps else None,
        )

    def __len__(self) -> int:
        """Number of pairs."""
        return self.queries.size

    def find(self, query_row: int, photo: int) -> Optional[PairMatches]:
        """The matches of a query, by its row of the ranking, and a photo, by its number; None where none were kept."""
        pair = self._places.get((int(query_row), int(photo)))
        if pair is None:
            return None
        points = self.points[self.starts[pair] : self.starts[pair + 1]]
        return PairMatches(points, int(self.correspondences[pair]), bool(self.verified[pair]))

    def find_through(self, query_row: int, photo: int) -> Optional[int]:
        """The number of the photo through which the graph has found a photo for a query; None where it has not."""
        pair = self._places.get((int(query_row), int(photo)))
        through = -1 if pair is None or self.through is None else int(self.through[pair])
        return None if through < 0 else through

    @cached_property
    def _places(self) -> Dict[Tuple[int, int], int]:
        return {pair: place for place, pair in enumerate(zip(self.queries.tolist(), self.photos.tolist()))}


def require_ranking_name(path: PathLike) -> Path:
    """``path``, if it is the name of a ranking file; UserError otherwise."""
    if Path(path).suffix != ".npz":
        raise UserError(f"{path}: a ranking is a .npz file; give `output` a name that ends in .npz")
    return Path(path)


def save_ranking(
    path: PathLike, ranking: Ranking, provenance: Provenance, matches: Optional[RankedMatches] = None
) -> Path:
    """Write a ranking atomically.

    Args:
        path: ``.npz`` file to write.
        ranking: what to write.
        provenance: how it was made.
        matches: of the best photos; None = none were kept.

    Returns:
        ``path``.

    Raises:
        UserError: ``path`` does not end in .npz.
    """
    arrays = {
        "query_names": np.array(ranking.query_names, dtype=np.str_),
        "index_names": np.array(ranking.index_names, dtype=np.str_),
        "ranks": ranking.ranks,
        "scores": ranking.scores,
        "provenance": np.array(json.dumps(provenance.as_json(), sort_keys=True)),
    }
    if ranking.ranks.shape[1] < len(ranking.index_names):
        arrays["num_images"] = np.array(len(ranking.index_names))
    if matches is not None and len(matches):
        arrays.update({f"match_{name}": getattr(matches, name) for name in _MATCH_TYPES})
        if matches.steps is not None:
            arrays["match_through"] = matches.through
            arrays.update({f"step_{name}": getattr(matches.steps, name) for name in _MATCH_TYPES})
    with atomic_stream(require_ranking_name(path)) as stream:
        np.savez(stream, **arrays)
    return Path(path)


def load_ranking(path: PathLike) -> Tuple[Ranking, Provenance]:
    """Read a ranking and how it was made; ``Provenance()`` where the file does not say it in this project's form.

    Raises:
        UserError: no such file, or not a ranking.
    """
    with reading(path, _FIX):
        arrays = _read(path)
        index_names = _names(arrays, "index_names", path)
        if not index_names:
            raise ValueError("index_names is empty")
        ranking = Ranking(
            _names(arrays, "query_names", path), index_names, _ranks(arrays, len(index_names)), _scores(arrays)
        )
        if int(arrays.get("num_images", len(index_names))) != len(index_names):
            raise ValueError(f"num_images is {arrays['num_images']}, index_names are {len(index_names)}")
    try:
        return ranking, Provenance.from_json(json.loads(str(arrays["provenance"])))
    except (KeyError, ValueError, RecursionError):  # another program's, or an older one
        return ranking, Provenance()


def load_ranked_matches(path: PathLike) -> Optional[RankedMatches]:
    """Read the matches that were kept with a ranking; None where there are none.

    Raises:
        UserError: no such file, or not a ranking.
    """
    with reading(path, _FIX):
        arrays = _read(path)
        if "match_queries" not in arrays:
            return None
        through = arrays.get("match_through")
        if through is None:
            return _matches_in(arrays, "match")
        if through.size and not -1 <= through.min() <= through.max() < len(arrays["index_names"]):
            raise ValueError(f"match_through holds {through.min()} to {through.max()}, which are no photos")
        return dataclasses.replace(_matches_in(arrays, "match"), through=through, steps=_matches_in(arrays, "step"))


def _matches_in(arrays: Mapping[str, np.ndarray], prefix: str) -> RankedMatches:
    return RankedMatches(**{name: arrays[f"{prefix}_{name}"] for name in _MATCH_TYPES})


def _read(path: PathLike) -> Dict[str, np.ndarray]:
    """The arrays of a ranking file; KeyError when it lacks one that it must hold."""
    arrays = read_arrays(require_file(path, "ranks"), _FIX)
    for name in _ARRAYS:
        arrays[name]
    return arrays


def _names(arrays: Mapping[str, np.ndarray], name: str, path: PathLike) -> List[str]:
    """A list of names; UserError or ValueError for what is none, or leaves the folder of the photos."""
    array = arrays[name]
    if array.ndim != 1 or array.dtype.kind not in "US":
        raise ValueError(f"{name} is {array.dtype} {array.shape}, not a list of texts")
    texts = array.tolist() if array.dtype.kind == "U" else [text.decode("utf-8") for text in array.tolist()]
    known: Dict[str, str] = {}
    for text in texts:  # a ground truth names photos without extension
        other = known.setdefault(bare_name(require_inside(text, path)), text)
        if other != text:
            raise ValueError(f"{name} holds {other} and {text}, which differ by extension only")
    return texts


def _ranks(arrays: Mapping[str, np.ndarray], num_images: int) -> np.ndarray:
    """The numbers of photos, whole and of the index; ValueError for others, which int32 could turn into such."""
    ranks = arrays["ranks"]
    if ranks.dtype.kind not in "iu":
        raise ValueError(f"ranks are {ranks.dtype}, not whole numbers")
    if ranks.size and not (ranks.min() >= 0 and ranks.max() < num_images):
        raise ValueError(f"ranks hold {ranks.min()} to {ranks.max()}, the photos are numbered 0 to {num_images - 1}")
    return ranks


def _scores(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """The scores as float32; ValueError for what are no finite numbers."""
    scores = arrays["scores"]
    if scores.dtype.kind not in "fiu":
        raise ValueError(f"scores are {scores.dtype}, not numbers")
    with np.errstate(over="ignore"):
        scores = scores.astype(np.float32, copy=False)
    if not np.isfinite(scores).all():
        raise ValueError("scores hold a number that is not finite")
    return scores
