"""One shard of an index, or an index of one piece: searches, votes and verifies where its data lie."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..config import MatchingConfig, RetrievalConfig
from ..records import Candidates, LocalFeatures, Matches
from .asmk_searcher import AsmkSearcher
from .global_searcher import GlobalSearcher, no_matches
from .index import DescriptorIndex
from .index_folder import read_manifest
from .index_kinds import kind_of
from .interfaces import Reranker
from .learned import open_learned
from .local_photos import LocalPhotos
from .ransac import Ransac
from .rerank import steps_of
from .votes import Nearest, VoteSearcher


class Reranked(NamedTuple):
    """What a re-ranker says of photos, in the order they came in.

    Attributes:
        scores: [n] float64, new ones.
        verified: matches of those that were verified, else None.
    """

    scores: np.ndarray
    verified: List[Optional[Matches]]


class SearchSettings(NamedTuple):
    """What the shards of an index are opened with; plain values, which can be sent to another machine."""

    retrieval: RetrievalConfig
    matching: MatchingConfig
    seed: int


class IndexShard:
    """The photos of an index in this process, numbered from 0; a ``Shard``.

    Every answer follows from the index and the arguments alone, so that a question may be asked again.

    Args:
        index: of any kind.
        searcher: of that index.
        reranker: of its photos; None = nothing is verified.
    """

    def __init__(self, index: Any, searcher: Any, reranker: Optional[Reranker] = None) -> None:
        self.names, self.index, self.searcher, self._reranker = index.names, index, searcher, reranker

    def nearest(self, query: LocalFeatures) -> Nearest:
        """As ``Shard.nearest``."""
        return self.searcher.nearest(query)

    def vote(self, query: LocalFeatures, k: int, shares: Optional[np.ndarray]) -> Tuple[np.ndarray, np.ndarray]:
        """As ``Shard.vote``."""
        found = self.searcher.search(query, k, shares)
        return found.photos, found.scores

    def rerank(
        self, query: LocalFeatures, photos: np.ndarray, scores: np.ndarray, shares: Optional[np.ndarray] = None
    ) -> Reranked:
        """As ``Shard.rerank``."""
        if self._reranker is None or not len(photos):
            return Reranked(scores, [None] * len(photos))
        found = self._reranker.rerank(query, Candidates(photos, scores, self._putative(query, shares)))
        places = {photo: place for place, photo in enumerate(found.photos.tolist())}
        order = [places[photo] for photo in photos.tolist()]
        return Reranked(found.scores[order], [found.verified.get(photo) for photo in photos.tolist()])

    def putative(self, query: LocalFeatures, photo: int, shares: Optional[np.ndarray] = None) -> Matches:
        """As ``Shard.putative``."""
        return self._putative(query, shares)(photo)

    def points(self, photo: int) -> np.ndarray:
        """As ``Shard.points``."""
        return self.index.points(photo)

    def features(self, photo: int) -> LocalFeatures:
        """As ``Shard.features``."""
        return self.index.features(photo)

    def _putative(self, query: LocalFeatures, shares: Optional[np.ndarray]) -> Any:
        if not isinstance(self.searcher, VoteSearcher):
            return no_matches
        return self.searcher.search(query, 0, shares).putative


def shard_of(index: Any, settings: SearchSettings, pool: ThreadPoolExecutor) -> IndexShard:
    """An index of one piece that is loaded, with its searcher and what verifies its photos.

    Args:
        index: of any kind.
        settings: of search and verification; of the steps of ``rerank`` those that look at single photos are used.
        pool: threads that search and verify.
    """
    retrieval, seed = settings.retrieval, settings.seed
    searcher = index.provenance.settings.get("searcher", "votes")
    if searcher == "votes":
        found: Any = VoteSearcher(index, retrieval, pool, seed)
    elif searcher.startswith("asmk"):
        found = AsmkSearcher(index, retrieval, pool, seed)
    else:
        found = GlobalSearcher(index, retrieval, seed)
    return IndexShard(index, found, make_reranker(index, steps_of(retrieval, searcher), settings, pool))


def make_reranker(
    index: Any, steps: Sequence[str], settings: SearchSettings, pool: ThreadPoolExecutor
) -> Optional[Reranker]:
    """RANSAC or the learned matcher over the photos of an index; None where ``steps`` has neither."""
    retrieval = settings.retrieval
    is_votes = isinstance(index, DescriptorIndex)
    store = index if is_votes else LocalPhotos(index)
    if "learned" in steps:
        return open_learned(index, store, retrieval, pool)
    if "ransac" not in steps:
        return None
    is_exact = not is_votes or retrieval.correspondences == "exact"
    return Ransac(store, settings.matching, settings.seed, pool, retrieval.search_distance if is_exact else None)


def load_shard(folder: Path, settings: SearchSettings, pool: ThreadPoolExecutor) -> IndexShard:
    """As ``shard_of``, from the folder of an index; errors as of ``require_whole``."""
    index = kind_of(read_manifest(folder).provenance).load(folder)
    return shard_of(index, settings, pool)
