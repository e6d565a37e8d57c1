"""Search by the votes of local features, and RANSAC: over all shards of an index, one query at a time.

The ranks are those of one index of all photos. A query takes three rounds: each shard says how near its neighbours are
and is told how many of them are among the nearest of all shards; it votes by these and says which photos have most; the
shards that have the best of these photos verify them.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Iterator, List, Optional

import numpy as np

from ..config import MatchingConfig, RetrievalConfig
from ..records import Candidates, LocalFeatures, Matches
from .index import DescriptorIndex
from .index_folder import tie_order
from .ranking_file import PairMatches
from .shard import SearchSettings, shard_of
from .shards import Shards
from .votes import search_pool, shares_of

Shares = List[Optional[np.ndarray]]


class Search:
    """Ranks the photos of some shards, which are numbered through, shard after shard.

    Args:
        shards: all photos, each in one of them.
        retrieval: ``num_neighbors``, ``num_rerank``, ``num_ranked`` and ``shard_search`` are used.
        seed: of the order of ties; see ``tie_order``.
    """

    def __init__(self, shards: Shards, retrieval: RetrievalConfig, seed: int = 0) -> None:
        self._shards, self._retrieval, self.names = shards, retrieval, shards.names
        self._ties = tie_order(self.names, seed)
        self._by_ties = np.argsort(self._ties)

    def rank(self, query: LocalFeatures) -> Candidates:
        """Rank the photos for one query: all N, or ``num_ranked``, and not fewer than are verified.

        The ``num_rerank`` photos that the search ranks highest go to the re-ranker. The ones it verifies come first, by
        inliers then votes; the others follow by votes; remaining ties as ``tie_order`` says.

        Returns:
            The photos. Scores are inliers + s for a verified photo and s - 1 for the others, where s = votes / (most
            votes + 1) lies in [0, 1): the whole part of a score that is not negative is the number of inliers.

        Raises:
            UserError: ``correspondences`` is ``exact`` and the index photos' descriptors are gone.
        """
        shares = self._shares(query)
        found = self._vote(query, shares)
        limit = self._retrieval.num_rerank or len(found)
        best, rest = found.part(slice(limit)), found.part(slice(limit, None))
        best = self._shards.rerank(query, best, shares)
        photos, scores = (np.concatenate(pair) for pair in ((best.photos, rest.photos), (best.scores, rest.scores)))
        return Candidates(photos, scores, found.putative, best.verified)

    def pair(self, query: LocalFeatures, candidates: Candidates, photo: int) -> PairMatches:
        """The matches of one of the candidates with the query, as points of both photos."""
        matches = candidates.matches(photo)
        theirs = self._shards.at_owner(lambda shard, own: shard.points(own), int(photo))
        return PairMatches.of(matches, query.keypoints, theirs)

    def _shares(self, query: LocalFeatures) -> Shares:
        """How many neighbours of each shard count; all where there is no other shard, or nobody asks the others."""
        if len(self._shards) == 1 or self._retrieval.shard_search == "one_round":
            return [None] * len(self._shards)
        nearest = self._shards.map(lambda shard: shard.nearest(query))
        return shares_of(nearest, self._retrieval.num_neighbors)

    def _vote(self, query: LocalFeatures, shares: Shares) -> Candidates:
        """The photos by votes, as many as are ranked or verified; those without any stand last."""
        count, retrieval = len(self.names), self._retrieval
        wanted = max(retrieval.num_ranked, retrieval.num_rerank or count) if retrieval.num_ranked else count
        found = self._shards.map(lambda shard, own: shard.vote(query, wanted, own), shares)
        photos = np.concatenate([part + start for (part, _), start in zip(found, self._shards.starts)])
        votes = np.concatenate([part for _, part in found])
        order = np.lexsort((self._ties[photos], -votes))[:wanted]
        photos, votes = photos[order], votes[order]
        if len(photos) < wanted:
            others = np.ones(count, bool)
            others[photos] = False
            rest = self._by_ties[others[self._by_ties]][: wanted - len(photos)]
            photos, votes = np.concatenate([photos, rest]), np.concatenate([votes, np.zeros(len(rest))])

        def putative(photo: int) -> Matches:
            return self._shards.at_owner(lambda shard, own, share: shard.putative(query, own, share), photo, shares)

        return Candidates(photos, votes / (votes.max(initial=0) + 1) - 1, putative)


@contextmanager
def open_search(
    index: DescriptorIndex, retrieval: RetrievalConfig, matching: MatchingConfig, seed: int = 0
) -> Iterator[Search]:
    """A search of one index by votes, and RANSAC where ``rerank`` does not say otherwise."""
    with search_pool(retrieval.search_threads) as pool, ThreadPoolExecutor(1) as executor:
        shard = shard_of(index, SearchSettings(retrieval, matching, seed), pool)
        yield Search(Shards([shard], executor), retrieval, seed)
