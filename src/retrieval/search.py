"""Rank the photos of an index for each query: search, then re-ranking of the best.

``Search`` does so for the local features of one query, shard by shard, ``GlobalSearch`` for its global descriptor,
``perform_retrieval`` from files to a ranking file.
"""

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterable, Iterator, Mapping, Optional, Sequence, Tuple, Union

import numpy as np
from tqdm import tqdm

from ..artifacts import PathLike, is_made, sha256_of
from ..config import MatchingConfig, RetrievalConfig
from ..features.encoder import Encoded
from ..features.feature_file import FeatureFile
from ..features.kinds import LOCAL
from ..records import Candidates, GlobalDescriptor, LocalFeatures, Matches, Provenance, Ranking
from .comparable import require_comparable, require_same_meaning
from .global_index import load_global_index
from .global_search import GlobalSearch, open_global_search
from .graph import GraphSearch, with_graph, without_graph
from .index import DescriptorIndex, load_index
from .index_folder import read_manifest, searcher_of, tie_order
from .interfaces import Executor, Reranker, Searcher, Shard
from .ranking_file import PairMatches, RankedMatches, load_ranking, require_ranking_name, save_ranking
from .ransac import Ransac
from .rerank import search_settings, steps_of
from .votes import VoteSearcher, search_pool
from .word_index import load_asmk_index, load_vlad_index
from .word_search import open_word_search

logger = logging.getLogger(__name__)


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
    verifies = "ransac" in steps_of(retrieval, "votes")
    exact_distance = retrieval.search_distance if retrieval.correspondences == "exact" else None
    with search_pool(retrieval.search_threads) as pool, ThreadPoolExecutor(1) as executor:
        reranker = Ransac(index, matching, seed, pool, exact_distance) if verifies else _AsTheyAre()
        shard = IndexShard(index, VoteSearcher(index, retrieval, pool, seed), reranker)
        yield Search([shard], executor, retrieval.num_rerank, seed)


def rank_queries(
    search: Union[Search, GlobalSearch, GraphSearch],
    queries: Iterable[Tuple[str, Union[LocalFeatures, Encoded]]],
    keep_matches: int = 0,
    num_ranked: int = 0,
) -> Tuple[Ranking, Optional[RankedMatches]]:
    """Rank all photos, or the best ``num_ranked``, for each (name, features) query, one query at a time.

    Returns:
        The ranking, and the matches of each query's best ``keep_matches`` photos; None for 0.
    """
    names, ranks, scores, pairs = [], [], [], []
    start = time.perf_counter()
    for name, features in tqdm(queries, desc="retrieval", unit="query", disable=None):
        if isinstance(features, LocalFeatures) and not len(features):
            logger.warning("query %s has no features", name)
        found = search.rank(features)
        for photo in found.photos[:keep_matches].tolist():
            pairs.append((len(names), photo, search.pair(features, found, photo)))
        names.append(name)
        ranks.append(found.photos[: num_ranked or None].astype(np.int32))
        scores.append(found.scores[: num_ranked or None].astype(np.float32))
    seconds = time.perf_counter() - start
    logger.info("%d queries in %.1f s, %.2f s each", len(names), seconds, seconds / max(1, len(names)))
    voteless = sum(bool(row.max(initial=-1) == -1) for row in scores) if isinstance(search, Search) else 0
    if voteless:
        logger.warning("%d of %d queries have no vote: the photos stand in a random order there", voteless, len(names))
    shape = (len(names), min(num_ranked or len(search.names), len(search.names)))
    ranking = Ranking(names, search.names, np.reshape(ranks, shape), np.reshape(scores, shape))
    return ranking, RankedMatches.from_pairs(pairs) if keep_matches else None


def perform_retrieval(
    index: PathLike,
    query_features: PathLike,
    output: PathLike,
    retrieval: RetrievalConfig,
    matching: MatchingConfig,
    seed: int = 0,
    overwrite: bool = False,
) -> Path:
    """Rank the photos of an index for every photo of a feature file of queries, and keep the matches of the best.

    A ranking of the same index, queries and settings is kept.

    Args:
        index: index folder.
        query_features: feature file of the queries.
        output: ranking file.
        retrieval, matching: settings of the search and of verification.
        seed: of RANSAC and of the order of ties.
        overwrite: replace another ranking.

    Returns:
        ``output``.

    Raises:
        UserError: index and queries come from different networks, either has no features at all, or another ranking
            stands at ``output``.
    """
    output, manifest = require_ranking_name(output), read_manifest(index)
    searcher = searcher_of(manifest)
    with FeatureFile(query_features, "query_features") as queries:
        settings = search_settings(retrieval, matching, seed, searcher)
        require_comparable(index, manifest, queries)
        wanted = describe_ranking(settings, manifest.provenance, queries)
        if is_made(output, wanted, lambda path: load_ranking(path)[1], overwrite):
            return output
        rank = {"votes": _rank_by_votes, "global": _rank_globally}.get(searcher, _rank_by_words)
        ranking, matches = rank(index, queries, retrieval, matching, seed)
    save_ranking(output, ranking, wanted, matches)
    logger.info("%s: %d queries, %d photos", output, len(ranking.query_names), len(ranking.index_names))
    return output


def _rank_by_votes(
    index: PathLike, queries: FeatureFile, retrieval: RetrievalConfig, matching: MatchingConfig, seed: int
) -> Tuple[Ranking, Optional[RankedMatches]]:
    kept = retrieval.keep_matches if steps_of(retrieval, "votes") else 0
    photos = load_index(index)
    with open_search(photos, retrieval, matching, seed) as search:
        return rank_queries(with_graph(search, photos.features, retrieval), queries, kept, retrieval.num_ranked)


def _rank_globally(
    index: PathLike, queries: FeatureFile, retrieval: RetrievalConfig, matching: MatchingConfig, seed: int
) -> Tuple[Ranking, Optional[RankedMatches]]:
    verifies, photos = "ransac" in steps_of(retrieval, "global"), load_global_index(index)
    if verifies:
        require_same_meaning(queries, photos.sources.provenance, LOCAL)
    features = (
        (name, Encoded(queries.read(name) if verifies else None, queries.read_global(name))) for name in queries.names
    )

    def query_of(photo: int) -> Encoded:
        local = photos.features(photo)
        return Encoded(local, GlobalDescriptor(photos.vectors[photo], local.image_size))

    def cosines(query: Encoded, shortlist: np.ndarray) -> np.ndarray:
        vectors = np.vstack([query.global_descriptor.vector, photos.vectors[shortlist]])
        return vectors @ vectors.T

    kept = retrieval.keep_matches if verifies else 0
    with open_global_search(photos, without_graph(retrieval), matching, seed) as search:
        search = with_graph(search, query_of, retrieval, cosines)
        return rank_queries(search, features, kept, retrieval.num_ranked)


def _rank_by_words(
    index: PathLike, queries: FeatureFile, retrieval: RetrievalConfig, matching: MatchingConfig, seed: int
) -> Tuple[Ranking, Optional[RankedMatches]]:
    searcher = searcher_of(read_manifest(index))
    kept = retrieval.keep_matches if "ransac" in steps_of(retrieval, searcher) else 0
    photos = load_vlad_index(index) if searcher == "vlad" else load_asmk_index(index)
    with open_word_search(photos, without_graph(retrieval), matching, seed) as search:
        search = with_graph(search, lambda photo: Encoded(photos.features(photo)), retrieval)
        return rank_queries(search, _encoded(queries), kept, retrieval.num_ranked)


def _encoded(queries: FeatureFile) -> Iterator[Tuple[str, Encoded]]:
    for name, features in queries:
        if not len(features):
            logger.warning("query %s has no features", name)
        yield name, Encoded(features)


def describe_ranking(settings: Mapping[str, Any], index: Provenance, queries: FeatureFile) -> Provenance:
    """How a ranking is made: its own settings, and how its index and its queries were made."""
    made = queries.provenance
    return Provenance(
        index.weights,
        index.encoder,
        settings,
        {
            "index": {"settings": index.settings, "sources": index.sources},
            "queries": {"settings": made.settings, "sources": made.sources},
            "query_features": sha256_of(queries.path),
        },
        {"index": index.notes, "queries": made.notes},
    )
