"""Pairs of photos for programs of structure from motion: read, matched, and verified."""

from functools import lru_cache
from typing import Iterable, Iterator, List, NamedTuple, Tuple

import numpy as np
from tqdm import tqdm

from ..artifacts import PathLike
from ..config import MatchingConfig
from ..data.pairs_file import named_pairs
from ..errors import UserError
from ..features.feature_file import FeatureFile
from ..names import NameTable
from ..outside import read_bounded
from ..values import short
from .match import match_features

_KEPT_PHOTOS = 200
PairOfNames = Tuple[str, str]


class VerifiedPair(NamedTuple):
    """Two photos and what of them agrees with one affine map, each feature at most once.

    Attributes:
        first, second: names.
        indices: [M, 2] int64, rows of both photos' features.
        similarities: [M] float32, cosines of the descriptors, from 0 to 1.
        affine: [2, 3] from (x, y, 1) of the first photo to (x, y) of the second.
    """

    first: str
    second: str
    indices: np.ndarray
    similarities: np.ndarray
    affine: np.ndarray


def read_pairs(path: PathLike, names: List[str]) -> List[PairOfNames]:
    """The pairs of a file, each once, as names of a feature file.

    Args:
        path: hloc's text of two names a line (.txt), or a table or a pickle as of ``named_pairs``.
        names: of the features; the file's may lack folder or extension.

    Raises:
        UserError: no such file, a line that is no pair, a name that the features lack, or no pair at all.
    """
    given = _of_text(path) if str(path).lower().endswith(".txt") else named_pairs(path)
    return find_pairs(given, names, path)


def find_pairs(given: Iterable[Tuple[str, str, str]], names: List[str], path: PathLike) -> List[PairOfNames]:
    """Each of the pairs (origin, name, name) of a file once, as ``read_pairs``."""
    table, pairs = NameTable(names), {}
    for origin, *both in given:
        numbers = [table.find(name) for name in both]
        for name, number in zip(both, numbers):
            if number is None:
                raise UserError(f"{origin}: {short(repr(name))} is no photo of the features; give those it is of")
        if numbers[0] != numbers[1]:
            pairs.setdefault(frozenset(numbers), (names[numbers[0]], names[numbers[1]]))
    if not pairs:
        raise UserError(f"{path}: holds no pair of two photos; give `pairs` that does")
    return list(pairs.values())


def _of_text(path: PathLike) -> Iterator[Tuple[str, str, str]]:
    text = read_bounded(path, "pairs").decode("utf-8", "surrogateescape")
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split()
        if fields and len(fields) != 2:
            raise UserError(f"{path}, line {number}: {short(repr(line))} is not two names with a space between them")
        if fields:
            yield f"{path}, line {number}", fields[0], fields[1]


def verified_pairs(
    source: FeatureFile, pairs: List[PairOfNames], matching: MatchingConfig, least_inliers: int, seed: int = 0
) -> Iterator[VerifiedPair]:
    """Match pairs of photos, and verify; those with fewer than ``least_inliers`` are left out.

    Args:
        source: the photos' features.
        pairs: of its names.
        matching: section of the recipe.
        least_inliers: at least 3, which an affine map takes.
        seed: of RANSAC.
    """
    read = lru_cache(_KEPT_PHOTOS)(source.read)
    for first, second in tqdm(pairs, desc="match", unit="pair", disable=None):
        found = match_features(read(first), read(second), **matching.values(), seed=seed)
        if found.num_inliers < max(3, least_inliers) or found.affine is None:
            continue
        kept = each_once(found.indices, np.where(found.inliers, found.distances, np.inf))
        if len(kept) >= least_inliers:
            cosines = np.clip(1 - found.distances[kept] ** 2 / 2, 0, 1).astype(np.float32)
            yield VerifiedPair(first, second, found.indices[kept], cosines, found.affine)


def each_once(indices: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Which of M correspondences [M, 2] remain, rising, where a feature of either photo takes its nearest one alone.

    Args:
        indices: rows of both photos.
        distances: [M]; those of infinite distance do not remain. Of equal ones the first.
    """
    taken: Tuple[set, set] = (set(), set())
    kept = []
    for place in np.argsort(distances, kind="stable").tolist():
        a, b = indices[place].tolist()
        if np.isfinite(distances[place]) and a not in taken[0] and b not in taken[1]:
            taken[0].add(a)
            taken[1].add(b)
            kept.append(place)
    return np.array(sorted(kept), np.int64)
