"""The re-ranker by a learned matcher: photos in the order of its soft votes; see ``matching.matcher``."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Optional, Protocol

import numpy as np

from ..config import RetrievalConfig
from ..matching.matcher import Matcher
from ..matching.matcher_file import fitting_matcher
from ..records import Candidates, LocalFeatures, Provenance
from .feature_sources import FeatureSources
from .ransac import LocalStore

_KEPT_PHOTOS = 2000  # projected; of 300 descriptors 0.3 GB
_DECIMALS = 3  # of soft votes; what the search says decides between equal ones
_SHARE = 1e-3  # of a soft vote that the search counts for


class Learned:
    """Ranks candidates by the soft votes of a matcher.

    Args:
        store: descriptors of the candidates.
        matcher: trained on descriptors such as these.
        pool: threads that compare.
    """

    def __init__(self, store: LocalStore, matcher: Matcher, pool: ThreadPoolExecutor) -> None:
        self._matcher, self._pool = matcher, pool
        self._projected = lru_cache(_KEPT_PHOTOS)(lambda photo: matcher.project(store.descriptors(photo)))

    def rerank(self, query: LocalFeatures, candidates: Candidates) -> Candidates:
        """Compare every candidate; its score becomes its soft votes, and a thousandth at most for the score it had.

        Raises:
            UserError: the photos' descriptors are gone.
        """
        ours = self._matcher.project(query.descriptors)

        def votes_of(photo: int) -> float:
            return self._matcher.soft_votes(self._matcher.probabilities(self._projected(photo), ours))

        votes = np.array(list(self._pool.map(votes_of, candidates.photos.tolist())), np.float64)
        scores = np.round(votes, _DECIMALS) + (1 + candidates.scores) * _SHARE
        order = np.argsort(-scores, kind="stable")
        return dataclasses.replace(candidates, photos=candidates.photos[order], scores=scores[order])


class _Index(Protocol):
    """An index of photos with local features."""

    provenance: Provenance
    sources: Optional[FeatureSources]


def open_learned(index: _Index, store: LocalStore, retrieval: RetrievalConfig, pool: ThreadPoolExecutor) -> Learned:
    """The re-ranker of a search.

    Args:
        index: says how its features were made.
        store: of its photos.
        retrieval: ``matcher_path`` is used.
        pool: threads that compare.

    Raises:
        UserError: no matcher there, or one that was trained on other descriptors.
    """
    made = index.sources.provenance if index.sources else index.provenance
    return Learned(store, fitting_matcher(retrieval.matcher_path, made), pool)
