"""Rank the photos of an index for each query, from files to a ranking file."""

import logging
import time
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple

import numpy as np
from tqdm import tqdm

from ..artifacts import PathLike, is_made, sha256_of
from ..config import MatchingConfig, RetrievalConfig
from ..features.feature_file import FeatureFile
from ..features.kinds import LOCAL
from ..records import Candidates, Provenance, Ranking
from .comparable import require_comparable, require_same_meaning
from .graph import VerifyingSearch
from .index_folder import read_manifest, read_sources, searcher_of
from .index_search import compared_features, open_index_search
from .ranking_file import PairMatches, RankedMatches, load_ranking, require_ranking_name, save_ranking
from .rerank import search_settings, steps_of

logger = logging.getLogger(__name__)


def rank_queries(
    search: VerifyingSearch, queries: Iterable[Tuple[str, Any]], keep_matches: int = 0, num_ranked: int = 0
) -> Tuple[Ranking, Optional[RankedMatches]]:
    """Rank all photos, or the best ``num_ranked``, for each (name, query) that the search takes, one at a time.

    Returns:
        The ranking, and the matches of each query's best ``keep_matches`` photos; None for 0.
    """
    names: List[str] = []
    ranks, scores, kept = [], [], _Kept(search)
    start = time.perf_counter()
    for name, query in tqdm(queries, desc="retrieval", unit="query", disable=None):
        found = search.rank(query)
        kept.add(len(names), query, found, keep_matches)
        names.append(name)
        ranks.append(found.photos[: num_ranked or None].astype(np.int32))
        scores.append(found.scores[: num_ranked or None].astype(np.float32))
    seconds = time.perf_counter() - start
    logger.info("%d queries in %.1f s, %.2f s each", len(names), seconds, seconds / max(1, len(names)))
    nothing = sum(bool(row.max(initial=-1) == -1) for row in scores)
    if nothing:
        logger.warning("%d of %d queries find nothing: the photos stand in a random order there", nothing, len(names))
    shape = (len(names), min(num_ranked or len(search.names), len(search.names)))
    ranking = Ranking(names, search.names, np.reshape(ranks, shape), np.reshape(scores, shape))
    return ranking, kept.matches() if keep_matches else None


class _Kept:
    """Collects the matches of the best photos, and where one was found through another, both steps to it."""

    def __init__(self, search: VerifyingSearch) -> None:
        self._search = search
        self._pairs: Dict[Tuple[int, int], PairMatches] = {}
        self._through: Dict[Tuple[int, int], int] = {}
        self._steps: Dict[Tuple[int, int], PairMatches] = {}

    def add(self, row: int, query: Any, found: Candidates, count: int) -> None:
        """The best ``count`` photos of a query."""
        best = found.photos[:count].tolist()
        through = {photo: found.through[photo] for photo in best if photo in found.through}
        for photo in dict.fromkeys([*best, *through.values()]):
            self._pairs[row, photo] = self._search.pair(query, found, photo)
        for photo, other in through.items():
            self._through[row, photo] = other
            if (other, photo) not in self._steps:
                self._steps[other, photo] = self._search.step(other, photo)

    def matches(self) -> RankedMatches:
        """All of them."""
        pairs = [(*place, found) for place, found in self._pairs.items()]
        through = [self._through.get(place, -1) for place in self._pairs]
        return RankedMatches.from_pairs(pairs, through, [(*place, found) for place, found in self._steps.items()])


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
    steps = steps_of(retrieval, searcher)
    with FeatureFile(query_features, "query_features") as queries:
        require_comparable(index, manifest, queries)
        compared = compared_features(index, manifest, queries, steps)
        settings = search_settings(retrieval, matching, seed, searcher)
        if searcher != "global" and compared.of_global:
            settings["graph_cosines"] = True
        wanted = describe_ranking(settings, manifest.provenance, queries)
        if is_made(output, wanted, lambda path: load_ranking(path)[1], overwrite):
            return output
        if searcher == "global" and compared.local:
            require_same_meaning(queries, read_sources(Path(index)).provenance, LOCAL)
        kept = retrieval.keep_matches if "ransac" in steps else 0
        with open_index_search(index, retrieval, matching, seed, compared.of_global) as search:
            ranking, matches = rank_queries(search, compared.read(queries), kept, retrieval.num_ranked)
    save_ranking(output, ranking, wanted, matches)
    logger.info("%s: %d queries, %d photos", output, len(ranking.query_names), len(ranking.index_names))
    return output


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
