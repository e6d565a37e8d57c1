"""A collection that people search: its photos by number, and for a query photo the best of them with their verdicts."""

import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from ..errors import UserError
from ..features.encoder import Box, Encoded, Encoder
from ..images import upright_size
from ..matching.same_place import ANSWERS, NO, Calibration, Verdict
from ..names import in_either_form
from ..records import Candidates
from ..retrieval.index_search import IndexSearch
from ..retrieval.ranking_file import PairMatches

_NOT_FOUND = -1.0  # score of photos that the search has no opinion of
_KEPT_SIZES = 100_000


class CollectionPhoto(NamedTuple):
    """A photo of the collection; ``size`` (width, height) is None where its file is gone or cannot be read."""

    number: int
    name: str
    size: Optional[Tuple[int, int]]


class Through(NamedTuple):
    """The photo by which the graph has found another one.

    Attributes:
        photo: it.
        first: its matches with the query.
        second: its matches with the photo that was found, whose points come second.
    """

    photo: CollectionPhoto
    first: PairMatches
    second: PairMatches


@dataclass(frozen=True, eq=False)
class Hit:
    """One photo found.

    Attributes:
        rank: from 1.
        photo: it.
        score: of the search.
        matches: of query and photo; None where no local features are compared.
        verdict: whether it is the same place; None without a calibration, or where nothing was verified.
        through: None where the query finds it by itself.
        bar: how good it is, from 0 to 1 on the same scale for every query: the probability of the same place; without a
            calibration the share of the query's features that are inliers, or the similarity.
    """

    rank: int
    photo: CollectionPhoto
    score: float
    matches: Optional[PairMatches]
    verdict: Optional[Verdict]
    through: Optional[Through]
    bar: float


@dataclass(frozen=True, eq=False)
class Answer:
    """What a search has found.

    Attributes:
        size: (width, height) of the query's photo.
        num_features: of the query; None where only global descriptors are compared.
        hits: best first.
        judged: there is a calibration.
        left_out: names of the collection's photos that are the query's own.
        num_searched: photos in the folder that was asked for.
        seconds: that it took.
    """

    size: Tuple[int, int]
    num_features: Optional[int]
    hits: List[Hit]
    judged: bool
    left_out: List[str]
    num_searched: int
    seconds: float

    @property
    def same_place(self) -> Optional[str]:
        """Yes if one result is a yes, perhaps if one is; None if not judged."""
        answers = {hit.verdict.answer for hit in self.hits if hit.verdict}
        return next((answer for answer in ANSWERS if answer in answers), NO) if self.judged else None


class Collection:
    """An index with its photos and its network; used by one thread at a time.

    Args:
        name: for people.
        image_names: of the photos, relative to their folder.
        images_path: that folder.
        search: of the index.
        encoder: loaded; gives what the search compares.
        searcher: what is searched in the index, a choice of the key.
        calibration: of the verdicts, or None.
        no_verdict: a line that says why there is none, else ''.
    """

    def __init__(
        self,
        name: str,
        image_names: Sequence[str],
        images_path: Path,
        search: IndexSearch,
        encoder: Encoder,
        searcher: str,
        calibration: Optional[Calibration],
        no_verdict: str = "",
    ) -> None:
        self.name, self.names, self.searcher, self.no_verdict = name, list(image_names), searcher, no_verdict
        self._images_path, self._search, self._encoder, self._calibration = images_path, search, encoder, calibration
        self._size = lru_cache(_KEPT_SIZES)(_size_of)

    def __len__(self) -> int:
        """Number of photos."""
        return len(self.names)

    @property
    def is_judged(self) -> bool:
        """Whether there are verdicts."""
        return self._calibration is not None

    def folders(self) -> Dict[str, int]:
        """The folders that hold photos, at any depth, sorted, and how many each holds."""
        counts: Dict[str, int] = {}
        for name in self.names:
            parts = name.split("/")[:-1]
            for depth in range(1, len(parts) + 1):
                folder = "/".join(parts[:depth])
                counts[folder] = counts.get(folder, 0) + 1
        return dict(sorted(counts.items()))

    def numbers(self, folder: str = "") -> List[int]:
        """Photos in a folder and below, by name; '' = all."""
        inside = [number for number, name in enumerate(self.names) if not folder or name.startswith(f"{folder}/")]
        return sorted(inside, key=self.names.__getitem__)

    def photo(self, number: int) -> CollectionPhoto:
        """A photo by its number; IndexError when there is none."""
        return CollectionPhoto(number, self.names[number], self._size(self.path(number)))

    def path(self, number: int) -> Path:
        """The file of a photo, which may be gone; IndexError when there is no such number."""
        if not 0 <= number < len(self.names):
            raise IndexError(number)
        return in_either_form(self._images_path / self.names[number])

    def search(self, query: Union[bytes, int], top_k: int = 10, box: Optional[Box] = None, folder: str = "") -> Answer:
        """The best photos for a query; its own photo is left out.

        Args:
            query: bytes of a photo's file, or the number of a photo of the collection.
            top_k: results at most.
            box: (left, top, right, bottom) in pixels of the upright query; None = all of it.
            folder: results are in it or below; '' = anywhere.

        Raises:
            UserError: no photo, or one that cannot be used; no pixel in the box. IndexError: no such number.
        """
        start = time.perf_counter()
        encoded = self._encode(query, box)
        features = len(encoded.local) if encoded.local is not None else None
        size = (encoded.local if encoded.local is not None else encoded.global_descriptor).image_size
        candidates = self._search.rank(encoded)
        wanted, left_out = set(self.numbers(folder)) if folder else None, []
        hits: List[Hit] = []
        for photo, score in zip(candidates.photos.tolist(), candidates.scores.tolist()):
            if len(hits) == top_k or (score <= _NOT_FOUND and photo not in candidates.through):
                break
            if self._is_own(query, photo):
                left_out.append(self.names[photo])
            elif wanted is None or photo in wanted:
                hits.extend(self._hit(encoded, candidates, photo, score, len(hits) + 1, features))
        count = len(wanted) if wanted is not None else len(self)
        return Answer(size, features, hits, self.is_judged, left_out, count, time.perf_counter() - start)

    def _encode(self, query: Union[bytes, int], box: Optional[Box]) -> Encoded:
        """The query's features; errors name a photo of the collection as the collection does, not its place on disk."""
        if isinstance(query, bytes):
            return self._encoder.encode(query, box)
        path = str(self.path(query))
        try:
            return self._encoder.encode(path, box)
        except UserError as error:
            raise UserError(str(error).replace(path, self.names[query])) from error

    def _hit(
        self, query: object, candidates: Candidates, photo: int, score: float, rank: int, features: Optional[int]
    ) -> Iterator[Hit]:
        """The result that a photo is, or none: one without a correspondence is no result of votes."""
        found = self._search.pair(query, candidates, photo) if features is not None else None
        by = candidates.through.get(photo)
        if found is not None and not found.correspondences and self.searcher == "votes" and by is None:
            return
        verdict = None
        if self._calibration is not None and found is not None and found.verified:
            verdict = self._calibration.judge(len(found.points))
        through = None
        if by is not None:
            through = Through(self.photo(by), self._search.pair(query, candidates, by), self._search.step(by, photo))
        yield Hit(rank, self.photo(photo), score, found, verdict, through, _bar(verdict, found, features, score))

    def _is_own(self, query: Union[bytes, int], photo: int) -> bool:
        """Whether a photo is the query itself: its number, or a file of the same bytes."""
        if isinstance(query, int):
            return query == photo
        path = self.path(photo)
        try:
            return path.is_file() and path.stat().st_size == len(query) and path.read_bytes() == query
        except OSError:
            return False


def _bar(verdict: Optional[Verdict], found: Optional[PairMatches], features: Optional[int], score: float) -> float:
    if verdict is not None:
        return verdict.probability
    share = len(found.points) / features if found is not None and found.verified and features else None
    if share is None:
        share = score if found is None else 0.0
    return float(np.clip(share, 0, 1))


def _size_of(path: Path) -> Optional[Tuple[int, int]]:
    try:
        return upright_size(path)
    except UserError:
        return None
