"""The verified pairs of index photos that the graph has found: kept in the folder of the index for later runs."""

import logging
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping

import numpy as np

from ..arrays import read_arrays
from ..artifacts import atomic_stream, digest
from ..errors import UserError, reading
from ..records import Matches
from ..stop_signals import StopSignals, held_signals

_FORMAT = 1  # raise it when other pairs, or other similarities, would be found
_ARRAYS = ("photos", "starts", "neighbours", "similarities", "correspondences", "row_starts", "rows")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The photos of an index that one of its photos matches.

    Attributes:
        photos: [n] int32, their numbers.
        similarities: [n] float64, above 0.
        correspondences: [n] int32, putative ones.
        row_starts: [n + 1] int64; neighbour i owns ``row_starts[i]`` to ``row_starts[i + 1]`` of ``rows``.
        rows: [R, 2] whole numbers, of each inlier (row of the neighbour's features, row of the photo's own).
    """

    photos: np.ndarray
    similarities: np.ndarray
    correspondences: np.ndarray
    row_starts: np.ndarray
    rows: np.ndarray

    @classmethod
    def of(cls, verified: Mapping[int, Matches], similarities: Mapping[int, float]) -> "Neighbours":
        """From the matches of verified photos, those that have a similarity."""
        found = [verified[photo] for photo in similarities]
        rows = [matches.indices[matches.inliers] for matches in found]
        return cls(
            np.array([*similarities], np.int32),
            np.array([*similarities.values()], np.float64),
            np.array([*map(len, found)], np.int32),
            np.cumsum([0, *map(len, rows)], dtype=np.int64),
            _compact(np.concatenate([np.zeros((0, 2), np.int64), *rows])),
        )

    def similarity(self, photo: int) -> float:
        """To a photo; 0 to one that is no neighbour."""
        return float(self.similarities[self.photos == photo].sum())

    def inliers(self, photo: int) -> Matches:
        """The inliers of a neighbour (A) and the photo (B)."""
        place = int(np.flatnonzero(self.photos == photo)[0])
        rows = self.rows[self.row_starts[place] : self.row_starts[place + 1]]
        return Matches(rows, np.zeros(len(rows)), np.ones(len(rows), bool))

    def num_correspondences(self, photo: int) -> int:
        """Putative ones of a neighbour and the photo."""
        return int(self.correspondences[self.photos == photo].sum())


KnownPairs = Dict[int, Neighbours]  # by photo of the index


def _compact(rows: np.ndarray) -> np.ndarray:
    return rows.astype(np.uint16 if rows.max(initial=0) < 2**16 else np.int32)


@contextmanager
def kept_pairs(path: Path, made_by: Mapping[str, Any], num_photos: int) -> Iterator[KnownPairs]:
    """The known pairs of an index, which the block adds to; they are written when it ends, by a signal too.

    What another process has written meanwhile stays. A file that is damaged, or was made otherwise, is made anew; where
    none can be written, a warning says so.

    Args:
        path: file in the folder of the index.
        made_by: JSON values of all that pairs depend on.
        num_photos: of the index.
    """
    identity = digest({"format": _FORMAT, **made_by})
    known = _load(path, identity, num_photos)
    count = len(known)
    if count:
        logger.info("%s: pairs of %d photos are known", path, count)
    try:
        with StopSignals("stopped; the pairs of photos that were found are kept with the index"):
            yield known
    finally:
        if len(known) > count:
            try:
                with held_signals():
                    _save(path, identity, {**_load(path, identity, num_photos), **known})
            except OSError as error:
                logger.warning("%s: the pairs of the graph are not kept (%s)", path, error.strerror)


def _load(path: Path, identity: str, num_photos: int) -> KnownPairs:
    """The pairs in a file; none where there is no file, or one that is damaged or of another identity."""
    if not path.is_file():
        return {}
    try:
        with reading(path, "it is made anew"):
            arrays = read_arrays(path, "it is made anew")
            if str(arrays["identity"]) != identity:
                return {}
            return _unpack(*(arrays[name] for name in _ARRAYS), num_photos)
    except UserError as error:
        logger.warning("%s", error)
        return {}


def _unpack(
    photos: np.ndarray,
    starts: np.ndarray,
    neighbours: np.ndarray,
    similarities: np.ndarray,
    correspondences: np.ndarray,
    row_starts: np.ndarray,
    rows: np.ndarray,
    num_photos: int,
) -> KnownPairs:
    """By photo, from arrays as ``_save`` writes them; ValueError where they do not belong together."""
    _require_division(starts, len(photos), len(neighbours))
    _require_division(row_starts, len(neighbours), len(rows))
    numbers = np.concatenate([photos, neighbours])
    if not len(neighbours) == len(similarities) == len(correspondences) or rows.ndim != 2 or rows.shape[1] != 2:
        raise ValueError("arrays of different lengths")
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < num_photos:
        raise ValueError(f"photos of other numbers than 0 to {num_photos - 1}")
    known = {}
    for place, photo in enumerate(photos.tolist()):
        own = slice(starts[place], starts[place + 1])
        bounds = row_starts[own.start : own.stop + 1]
        parts = neighbours[own], similarities[own], correspondences[own], bounds - bounds[0]
        known[photo] = Neighbours(*parts, rows[bounds[0] : bounds[-1]])
    return known


def _require_division(starts: np.ndarray, parts: int, total: int) -> None:
    if starts.shape != (parts + 1,) or starts[0] or starts[-1] != total or (np.diff(starts) < 0).any():
        raise ValueError(f"starts do not divide {total} among {parts}")


def _save(path: Path, identity: str, known: KnownPairs) -> None:
    found: List[Neighbours] = [known[photo] for photo in sorted(known)]
    lengths = [length for each in found for length in np.diff(each.row_starts).tolist()]
    with atomic_stream(path) as stream:
        np.savez(
            stream,
            identity=np.array(identity),
            photos=np.array(sorted(known), np.int32),
            starts=np.cumsum([0, *(len(each.photos) for each in found)], dtype=np.int64),
            neighbours=_joined(found, "photos", np.int32),
            similarities=_joined(found, "similarities", np.float64),
            correspondences=_joined(found, "correspondences", np.int32),
            row_starts=np.cumsum([0, *lengths], dtype=np.int64),
            rows=_compact(np.concatenate([np.zeros((0, 2), np.int64), *(each.rows for each in found)])),
        )


def _joined(found: List[Neighbours], name: str, dtype: type) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype), *(getattr(each, name) for each in found)])
