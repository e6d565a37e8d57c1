"""The interfaces of retrieval: another way to search or re-rank is a class with these methods; no caller changes."""

from typing import Any, Callable, Iterable, Iterator, Protocol, Sequence, TypeVar

import numpy as np

from ..records import Candidates, GlobalDescriptor, LocalFeatures

Features = TypeVar("Features", LocalFeatures, GlobalDescriptor, contravariant=True)


class Searcher(Protocol[Features]):
    """Finds the photos that are most like a query, among those that were added."""

    def fit(self, sample: np.ndarray) -> None:
        """Learn what the search needs to know beforehand from descriptors [R, D] float32."""

    def add(self, names: Sequence[str], items: Sequence[Features]) -> None:
        """Add photos by their file names; they are numbered on."""

    def search(self, query: Features, k: int) -> Candidates:
        """The ``k`` best photos or fewer; scores are votes, or similarities, ties as ``tie_order`` says."""


class Reranker(Protocol):
    """Looks closer at candidates."""

    def rerank(self, query: LocalFeatures, candidates: Candidates) -> Candidates:
        """The same photos in a better order, with the matches of those that were verified.

        Scores that come in lie in [-1, 0); a photo that was verified gets one of 0 or higher.
        """


class Shard(Protocol):
    """A set of photos, numbered from 0, that searches, votes and verifies where its data lie.

    Attributes:
        names: of its photos, without extension.
    """

    names: Sequence[str]

    def search(self, query: LocalFeatures, k: int) -> Candidates:
        """As ``Searcher.search``."""

    def rerank(self, query: LocalFeatures, candidates: Candidates) -> Candidates:
        """As ``Reranker.rerank``, of candidates that this shard has found."""

    def keypoints(self, photo: int) -> np.ndarray:
        """[n, 2] float32, (x, y) of one photo's local features in its pixels."""


class Executor(Protocol):
    """Runs shards side by side; Python's own ThreadPoolExecutor is one."""

    def map(self, function: Callable[..., Any], *iterables: Iterable[Any]) -> Iterator[Any]:
        """``function(shard, ...)`` of each shard and, from the other iterables, its arguments, in order."""
