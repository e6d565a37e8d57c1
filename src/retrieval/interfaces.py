"""The interfaces of retrieval: another way to search or re-rank is a class with these methods; no caller changes."""

from typing import Any, Callable, Iterable, Iterator, Optional, Protocol, Sequence, Tuple, TypeVar

import numpy as np

from ..records import Candidates, GlobalDescriptor, LocalFeatures, Matches

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

    An answer follows from the data and the arguments alone: it may be asked for again, of another process.

    Attributes:
        names: of its photos, without extension.
    """

    names: Sequence[str]

    def nearest(self, query: LocalFeatures) -> Any:
        """How near the neighbours of each of the query's descriptors are here; see ``votes.Nearest``."""

    def vote(self, query: LocalFeatures, k: int, shares: Optional[np.ndarray]) -> Tuple[np.ndarray, np.ndarray]:
        """The ``k`` photos of most votes, fewer where fewer have one, and their votes; see ``votes.shares_of``."""

    def rerank(self, query: LocalFeatures, photos: np.ndarray, scores: np.ndarray, shares: Optional[np.ndarray]) -> Any:
        """What a ``Reranker`` says of some photos, in their order; see ``shard.Reranked``."""

    def putative(self, query: LocalFeatures, photo: int, shares: Optional[np.ndarray]) -> Matches:
        """The correspondences of a photo (A) and the query (B) behind its votes."""

    def points(self, photo: int) -> np.ndarray:
        """[n, 2] float32, (x, y) of one photo's local features in its pixels."""

    def features(self, photo: int) -> LocalFeatures:
        """One photo's local features, from its feature file."""


class Executor(Protocol):
    """Runs shards side by side; Python's own ThreadPoolExecutor is one."""

    def map(self, function: Callable[..., Any], *iterables: Iterable[Any]) -> Iterator[Any]:
        """``function(shard, ...)`` of each shard and, from the other iterables, its arguments, in order."""
