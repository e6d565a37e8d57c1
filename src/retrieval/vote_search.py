"""Search by the votes of local features, and RANSAC: shard by shard, one query at a time."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Iterable, Iterator, Sequence

import numpy as np

from ..config import MatchingConfig, RetrievalConfig
from ..records import Candidates, LocalFeatures, Matches
from .index import DescriptorIndex
from .index_folder import tie_order
from .interfaces import Executor, Reranker, Searcher, Shard
from .learned import open_learned
from .ranking_file import PairMatches
from .ransac import Ransac
from .rerank import steps_of
from .votes import VoteSearcher, search_pool


class IndexShard:
    """The photos of an index in this process; a ``Shard``."""

    def __init__(self, index: DescriptorIndex, searcher: Searcher, reranker: Reranker) -> None:
        self.names, self._index, self._searcher, self._reranker = index.names, index, searcher, reranker

    def search(self, query: LocalFeatures, k: int) -> Candidates:
        """As ``Shard.search``."""
        return self._searcher.search(query, k)

    def rerank(self, query: LocalFeatures, candidates: Candidates) -> Candidates:
        """As ``Shard.rerank``."""
        return self._reranker.rerank(query, candidates)

    def keypoints(self, photo: int) -> np.ndarray:
        """As ``Shard.keypoints``."""
        return self._index.keypoints[self._index.rows(photo)]


class _AsTheyAre:
    """The re-ranker that verifies nothing."""

    def rerank(self, query: LocalFeatures, candidates: Candidates) -> Candidates:
        """As ``Reranker.rerank``."""
        return candidates


class Search:
    """Ranks the photos of some shards, which are numbered through, shard after shard.

    Args:
        shards: all photos, each in one of them.
        executor: runs the shards side by side.
        num_rerank: candidates that are verified, of all shards together; 0 = all.
        seed: of the order of ties; see ``tie_order``.
    """

    def __init__(self, shards: Sequence[Shard], executor: Executor, num_rerank: int, seed: int = 0) -> None:
        self._shards, self._executor, self._num_rerank = list(shards), executor, num_rerank
        self.names = [name for shard in shards for name in shard.names]
        self._starts = np.cumsum([0, *(len(shard.names) for shard in shards)])
        self._ties = tie_order(self.names, seed)

    def rank(self, query: LocalFeatures) -> Candidates:
        """Rank all N photos for one query.

        The ``num_rerank`` photos that the search ranks highest go to the re-ranker. The ones it verifies come first, by
        inliers then votes; the others follow by votes; remaining ties as ``tie_order`` says.

        Returns:
            All photos. Scores are inliers + s for a verified photo and s - 1 for the others, where s = votes / (most
            votes + 1) lies in [0, 1): the whole part of a score that is not negative is the number of inliers.

        Raises:
            UserError: ``correspondences`` is ``exact`` and the index photos' descriptors are gone.
        """
        found = self._merge(self._executor.map(lambda shard: shard.search(query, len(shard.names)), self._shards))
        scores = found.scores / (found.scores.max(initial=0) + 1) - 1
        found = Candidates(found.photos, scores, found.putative)
        limit = self._num_rerank or len(found)
        best, rest = found.part(slice(limit)), found.part(slice(limit, None))
        parts = self._executor.map(lambda shard, part: shard.rerank(query, part), self._shards, self._split(best))
        best = self._merge(parts)
        photos, scores = (np.concatenate(pair) for pair in ((best.photos, rest.photos), (best.scores, rest.scores)))
        return Candidates(photos, scores, found.putative, best.verified)

    def pair(self, query: LocalFeatures, candidates: Candidates, photo: int) -> PairMatches:
        """The matches of one of the candidates with the query, as points of both photos."""
        matches = candidates.matches(photo)
        shard = self._shard_of(photo)
        theirs = self._shards[shard].keypoints(photo - int(self._starts[shard]))
        return PairMatches.of(matches, query.keypoints, theirs)

    def _shard_of(self, photo: int) -> int:
        return int(np.searchsorted(self._starts, photo, "right")) - 1

    def _merge(self, parts: Iterable[Candidates]) -> Candidates:
        """One list, best first, of what the shards gave, each in its own numbers."""
        parts = [part.renumbered(int(start)) for part, start in zip(parts, self._starts)]

        def putative(photo: int) -> Matches:
            return parts[self._shard_of(photo)].putative(photo)

        photos, scores = (np.concatenate([getattr(part, name) for part in parts]) for name in ("photos", "scores"))
        order = np.lexsort((self._ties[photos], -scores))
        verified = {photo: matches for part in parts for photo, matches in part.verified.items()}
        return Candidates(photos[order], scores[order], putative, verified)

    def _split(self, candidates: Candidates) -> Iterator[Candidates]:
        """What of ``candidates`` is each shard's, in its own numbers."""
        for start, end in zip(self._starts.tolist(), self._starts[1:].tolist()):
            own = (candidates.photos >= start) & (candidates.photos < end)
            yield candidates.part(own).renumbered(-start)


@contextmanager
def open_search(
    index: DescriptorIndex, retrieval: RetrievalConfig, matching: MatchingConfig, seed: int = 0
) -> Iterator[Search]:
    """A search of one index by votes, and RANSAC where ``rerank`` does not say otherwise."""
    steps = steps_of(retrieval, "votes")
    exact_distance = retrieval.search_distance if retrieval.correspondences == "exact" else None
    with search_pool(retrieval.search_threads) as pool, ThreadPoolExecutor(1) as executor:
        reranker: Reranker = _AsTheyAre()
        if "ransac" in steps:
            reranker = Ransac(index, matching, seed, pool, exact_distance)
        elif "learned" in steps:
            reranker = open_learned(index, index, retrieval, pool)
        shard = IndexShard(index, VoteSearcher(index, retrieval, pool, seed), reranker)
        yield Search([shard], executor, retrieval.num_rerank, seed)
