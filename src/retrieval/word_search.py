"""Search by aggregated local features, and the steps that re-rank."""

from contextlib import contextmanager
from typing import Any, Iterator, Optional, Union

import numpy as np

from ..config import MatchingConfig, RetrievalConfig
from ..features.encoder import Encoded
from .asmk_searcher import AsmkSearcher, VladSearcher
from .global_search import GlobalSearch, Ranked, fusion, open_global_search, verification
from .interfaces import Reranker
from .local_photos import LocalPhotos
from .rerank import steps_of
from .shard import SearchSettings, make_reranker
from .votes import search_pool
from .word_index import AsmkIndex, VladIndex


@contextmanager
def open_word_search(
    index: Union[AsmkIndex, VladIndex], retrieval: RetrievalConfig, matching: MatchingConfig, seed: int = 0
) -> Iterator[GlobalSearch]:
    """A search of one index for queries' local features: VLAD vectors with all steps, ASMK with some."""
    if isinstance(index, VladIndex):
        vlad = VladSearcher(index, retrieval, seed)
        with open_global_search(index, retrieval, matching, seed, lambda query: vlad.vector(query.local)) as search:
            yield search
        return
    with search_pool(retrieval.search_threads) as pool:
        names = steps_of(retrieval, index.provenance.settings["searcher"])
        reranker = make_reranker(index, names, SearchSettings(retrieval, matching, seed), pool)
        yield search_by_words(index, AsmkSearcher(index, retrieval, pool, seed), reranker, retrieval)


def search_by_words(
    index: Any, searcher: Any, reranker: Optional[Reranker], retrieval: RetrievalConfig
) -> GlobalSearch:
    """A search by ASMK.

    Args:
        index: its photos.
        searcher: gives all of them for a query, with ``find`` and ``ties`` as of ``AsmkSearcher``.
        reranker: verifies the first ones; None = nothing does.
        retrieval: says which steps there are.
    """
    names, steps = steps_of(retrieval, index.provenance.settings["searcher"]), []
    local_photos = LocalPhotos(index) if names else None
    if names:
        steps.append(verification(reranker, retrieval.num_rerank))
    if "fusion" in names:
        steps.append(fusion(retrieval, searcher.ties))

    def begin(query: Encoded) -> Ranked:
        return Ranked(np.zeros(0), *searcher.find(query.local), query.local)

    return GlobalSearch(index, searcher.ties, begin, steps, local_photos, retrieval.num_ranked)
