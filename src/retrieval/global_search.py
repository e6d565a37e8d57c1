"""Search by global descriptors and the steps that re-rank, in the order of ``rerank``."""

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Callable, Iterator, List, Mapping, Optional, Protocol, Sequence, Tuple

import numpy as np

from ..config import MatchingConfig, RetrievalConfig
from ..errors import UserError
from ..features.encoder import Encoded
from ..records import Candidates, LocalFeatures, Matches
from .expansion import expand
from .global_index import GlobalIndex
from .global_searcher import DECIMALS, GlobalSearcher, no_matches, put_behind
from .interfaces import Reranker
from .local_photos import LocalPhotos
from .ranking_file import PairMatches
from .rerank import steps_of
from .shard import SearchSettings, make_reranker
from .superglobal import refine_scores
from .votes import search_pool


@dataclass(frozen=True, eq=False)
class Ranked:
    """A query on its way through the steps.

    Attributes:
        vector: [D] global descriptor of the query, expanded or not; empty where photos have no vectors.
        photos: [C] int64, best first.
        scores: [C] float64, falling.
        local: the query's local features, if it has any.
        verified: matches of photos that RANSAC looked at.
        before: what the photos were before RANSAC looked at them.
    """

    vector: np.ndarray
    photos: np.ndarray
    scores: np.ndarray
    local: Optional[LocalFeatures] = None
    verified: Mapping[int, Matches] = field(default_factory=dict)
    before: Optional["Ranked"] = None

    def ranked_anew(self, scores: np.ndarray, ties: np.ndarray) -> "Ranked":
        """The first photos in the order of new scores [M], the others behind them."""
        first, count = self.photos[: len(scores)], len(scores)
        order = np.lexsort((ties[first], -scores))
        photos, scores = put_behind((first[order], scores[order]), (self.photos[count:], self.scores[count:]))
        return replace(self, photos=photos, scores=scores)


Step = Callable[[Ranked], Ranked]


class Photos(Protocol):
    """The photos that are ranked, as their index has them.

    Attributes:
        names: without extension.
    """

    names: Sequence[str]


class GlobalSearch:
    """Ranks the photos of an index for one query, as a whole and in steps.

    Args:
        index: its photos.
        ties: [N] place of each photo among those of equal similarity.
        begin: finds photos for a query.
        steps: what follows.
        local_photos: where photos have their local features; None where no step needs them.
        num_ranked: photos that are ranked for a query, 0 = all.
    """

    def __init__(
        self,
        index: Photos,
        ties: np.ndarray,
        begin: Callable[[Encoded], Ranked],
        steps: List[Step],
        local_photos: Optional[LocalPhotos] = None,
        num_ranked: int = 0,
    ) -> None:
        self.names, self._ties, self._begin, self._steps = index.names, ties, begin, steps
        self._local = local_photos
        self._num_ranked = min(num_ranked or len(self.names), len(self.names))

    def rank(self, query: Encoded) -> Candidates:
        """The best photos for one query.

        Photos that an approximate search has not found stand last, in the order of ties. A score is the inner product
        of the expanded query with the photo, or what the last step makes of it: see docs/global.md.

        Raises:
            UserError: RANSAC is a step, and a photo's local features are gone.
        """
        state = self._begin(query)
        for step in self._steps:
            state = step(state)
        photos, scores, wanted = state.photos, state.scores, self._num_ranked
        if len(photos) < wanted:
            photos, scores = put_behind((photos, scores), self._not_found(photos))
        return Candidates(photos[:wanted], scores[:wanted], no_matches, state.verified)

    def pair(self, query: Encoded, candidates: Candidates, photo: int) -> PairMatches:
        """The matches of one of the candidates with the query, as points of both photos; none without RANSAC."""
        matches = candidates.matches(photo)
        if not len(matches):
            return PairMatches(np.zeros((0, 4), np.float32), 0, matches.inliers is not None)
        return PairMatches.of(matches, query.local.keypoints, self._local.points(photo))

    def _not_found(self, photos: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        others = np.setdiff1d(np.arange(len(self.names)), photos)
        return others[np.argsort(self._ties[others])], np.full(len(others), -1.0)


@contextmanager
def open_global_search(
    index: GlobalIndex,
    retrieval: RetrievalConfig,
    matching: MatchingConfig,
    seed: int = 0,
    vector_of: Callable[[Encoded], np.ndarray] = lambda query: query.global_descriptor.vector,
    shards: Optional[Reranker] = None,
) -> Iterator[GlobalSearch]:
    """A search of one index with the steps of ``rerank``; the first ones that change the index do so now.

    Args:
        index: of the photos' vectors.
        retrieval, matching: settings of search and verification.
        seed: of RANSAC and of the order of ties.
        vector_of: gives a query's vector [D].
        shards: verify their own photos, where the index has some.

    Raises:
        UserError: a step that compares the photos with each other, and an index of shards.
    """
    searcher = GlobalSearcher(index, retrieval, seed)
    names, steps = list(steps_of(retrieval, "global")), []
    whole = next((name for name in names if name in ("dba", "diffusion")), None)
    if whole and shards is not None:
        raise UserError(f"`rerank`: {whole} compares all photos with each other, which takes an index without shards")
    while names[:1] == ["dba"]:
        searcher = searcher.augmented(retrieval.dba_k, retrieval.dba_alpha)
        names.pop(0)
    first, local_photos = searcher, LocalPhotos(index) if {"ransac", "learned"} & set(names) else None
    with search_pool(retrieval.search_threads) as pool:
        reranker = shards or make_reranker(index, names, SearchSettings(retrieval, matching, seed), pool)
        for name in names:
            if name == "dba":
                searcher = searcher.augmented(retrieval.dba_k, retrieval.dba_alpha)
                steps.append(_search_again(searcher))
            elif name in ("ransac", "learned"):
                steps.append(verification(reranker, retrieval.num_rerank))
            elif name == "fusion":
                steps.append(fusion(retrieval, searcher.ties))
            else:
                steps.append(_STEPS[name](searcher, retrieval))

        def begin(query: Encoded) -> Ranked:
            vector = vector_of(query)
            return Ranked(vector, *first.find(vector), query.local)

        yield GlobalSearch(index, first.ties, begin, steps, local_photos, retrieval.num_ranked)


def _search_again(searcher: GlobalSearcher) -> Step:
    def step(state: Ranked) -> Ranked:
        photos, scores = searcher.find(state.vector)
        return replace(state, photos=photos, scores=scores)

    return step


def _expansion(searcher: GlobalSearcher, k: int, alpha: float) -> Step:
    """Query expansion by the first ``k`` photos, and the search for the expanded query."""
    again = _search_again(searcher)

    def step(state: Ranked) -> Ranked:
        nearest = searcher.index.vectors[state.photos[:k]]
        return again(replace(state, vector=expand(state.vector, nearest, nearest @ state.vector, alpha)))

    return step


def _diffusion(searcher: GlobalSearcher, retrieval: RetrievalConfig) -> Step:
    """Photos that diffusion reaches come first, by what reaches them; the others follow as they stood."""
    from .diffusion import NeighbourGraph  # SciPy's part of it takes a second to import

    k, limit = retrieval.diffusion_k, retrieval.diffusion_photos
    graph = NeighbourGraph(*searcher.neighbours(k), k)

    def step(state: Ranked) -> Ranked:
        photos, rest = state.photos[:limit], state.photos[limit:]
        reached = graph.diffuse(photos, searcher.compare(photos, state.vector))
        far = reached == 0
        order = np.concatenate([photos[~far], photos[far], rest])
        scores = np.concatenate([state.scores[:limit][far], state.scores[limit:]])
        begun = replace(state, photos=order, scores=np.concatenate([reached[~far], scores]))
        return begun.ranked_anew(_significant(reached[~far]), searcher.ties)

    return step


def _superglobal(searcher: GlobalSearcher, retrieval: RetrievalConfig) -> Step:
    limit, settings = retrieval.superglobal_photos, (retrieval.superglobal_k, retrieval.superglobal_beta)

    def step(state: Ranked) -> Ranked:
        scores = refine_scores(state.vector, searcher.index.vectors[state.photos[:limit]], *settings)
        return state.ranked_anew(np.round(scores.astype(np.float64), 6), searcher.ties)

    return step


def verification(reranker: Reranker, num_rerank: int) -> Step:
    """Local features of the first photos: a verified one has the score inliers + s, another s - 1, with s in [0, 1).

    ``Learned`` gives its own scores, all of them 0 or higher.
    """

    def step(state: Ranked) -> Ranked:
        if state.local is None:
            raise UserError("`rerank`: a query has no local features to compare; extract it with `features` both")
        low, high = (float(state.scores[place]) if len(state.scores) else 0.0 for place in (-1, 0))
        scores = (state.scores - low) / (high - low + 1) - 1
        limit = num_rerank or len(scores)
        best = reranker.rerank(state.local, Candidates(state.photos[:limit], scores[:limit], no_matches))
        photos, scores = put_behind((best.photos, best.scores), (state.photos[limit:], scores[limit:]))
        return replace(state, photos=photos, scores=scores, verified=best.verified, before=state)

    return step


def fusion(retrieval: RetrievalConfig, ties: np.ndarray) -> Step:
    """The verified photos by ``fused_scores`` of what they were before; the others follow."""

    def step(state: Ranked) -> Ranked:
        before, count = state.before, len(state.verified)
        inliers = np.array([state.verified[photo].num_inliers for photo in before.photos[:count].tolist()])
        scores = fused_scores(before.scores[:count], inliers, retrieval.fusion_weight, retrieval.fusion_inliers)
        ranked = before.ranked_anew(np.round(scores, DECIMALS), ties)
        return replace(state, photos=ranked.photos, scores=ranked.scores)

    return step


def fused_scores(similarities: np.ndarray, inliers: np.ndarray, weight: float, most: int) -> np.ndarray:
    """Scores [M] of photos by both kinds of features: similarity + ``weight`` min(inliers, ``most``) / ``most``.

    With a weight of 1 and 70 inliers the baseline of Google Landmark Recognition 2020, which is DELG's.
    """
    return similarities + weight * np.minimum(inliers, most) / most


def _significant(values: np.ndarray, digits: int = 6) -> np.ndarray:
    """Values above 0 rounded to so many significant digits, so that photos alike have equal ones."""
    scale = 10.0 ** (digits - 1 - np.floor(np.log10(values)))
    return np.round(values * scale) / scale


_STEPS: Mapping[str, Callable[[GlobalSearcher, RetrievalConfig], Step]] = {
    "aqe": lambda searcher, settings: _expansion(searcher, settings.qe_k, 0),
    "alpha_qe": lambda searcher, settings: _expansion(searcher, settings.qe_k, settings.qe_alpha),
    "diffusion": _diffusion,
    "superglobal": _superglobal,
}
