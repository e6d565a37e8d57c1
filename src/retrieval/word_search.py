"""Search by aggregated local features, and the steps that re-rank."""

from contextlib import contextmanager
from typing import Iterator, Union

import numpy as np

from ..config import MatchingConfig, RetrievalConfig
from ..features.encoder import Encoded
from .asmk_searcher import AsmkSearcher, VladSearcher
from .global_search import GlobalSearch, Ranked, fusion, open_global_search, verification
from .learned import open_learned
from .local_photos import LocalPhotos
from .ransac import Ransac
from .rerank import steps_of
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
        searcher, steps, local_photos = AsmkSearcher(index, retrieval, pool, seed), [], None
        names = steps_of(retrieval, index.provenance.settings["searcher"])
        if names:
            local_photos = LocalPhotos(index)
            reranker = (
                open_learned(index, local_photos, retrieval, pool)
                if "learned" in names
                else Ransac(local_photos, matching, seed, pool, retrieval.search_distance)
            )
            steps.append(verification(reranker, retrieval.num_rerank))
        if "fusion" in names:
            steps.append(fusion(retrieval, searcher.ties))

        def begin(query: Encoded) -> Ranked:
            return Ranked(np.zeros(0), *searcher.find(query.local), query.local)

        yield GlobalSearch(index, searcher.ties, begin, steps, local_photos, retrieval.num_ranked)
