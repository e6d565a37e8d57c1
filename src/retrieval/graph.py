"""Re-ranking by a graph of verified pairs: a photo that matches photos that match the query moves up.

Local-to-global similarity embedding (arXiv 2509.04351) with SuperGlobal's refinement. The pairs of index photos are
found as a query's are, by search and RANSAC, and kept for the queries that follow.
"""

import dataclasses
import re
from typing import Any, Callable, Dict, Optional, Protocol, Sequence

import numpy as np

from ..config import RetrievalConfig
from ..features.encoder import Encoded
from ..records import Candidates
from .global_searcher import DECIMALS, put_behind
from .graph_pairs import KnownPairs, Neighbours
from .ranking_file import PairMatches
from .superglobal import NUM_EXPANDED, refined_by_nearest

MANY_INLIERS = 60  # a photo with so many stays before the others
_CERTAIN = 3.0  # added to its similarity; above every score of the graph
_CHANCE_SHARE, _CHANCE_RANGE = 0.9, (3, 25)
_EXPANSION = 0.15  # weight of the expanded query

Cosines = Callable[[Any, np.ndarray], np.ndarray]


class VerifyingSearch(Protocol):
    """``Search`` and its like."""

    names: Sequence[str]

    def rank(self, query: Any) -> Candidates:
        """Photos, best first, those that were verified before the others."""

    def pair(self, query: Any, candidates: Candidates, photo: int) -> PairMatches:
        """The matches of a candidate with the query."""


def inliers_by_chance(inliers: np.ndarray) -> float:
    """How many inliers photos of other places have: what 90 % of the lower half of a shortlist [M] stay below.

    It grows with the number of features. Never below 3 or above 25, as a short list may hold one place alone.
    """
    lower = np.sort(inliers)[: (len(inliers) + 1) // 2]
    return float(np.clip(np.quantile(lower, _CHANCE_SHARE), *_CHANCE_RANGE)) if len(lower) else _CHANCE_RANGE[0]


def pair_similarity(inliers: np.ndarray, chance: float) -> np.ndarray:
    """Similarity in [0, 1) of pairs with n inliers where chance gives c: (n - c) / (n + 2 c), and 0 below c."""
    return np.maximum(0, (inliers - chance) / (inliers + 2 * chance))


def embed(similarities: np.ndarray) -> np.ndarray:
    """Vectors [N, N] whose inner products come nearest to ``similarities`` [N, N], symmetric with ones in its diagonal.

    E sqrt(max(lambda, 0)) of the eigenvectors E and the eigenvalues lambda.
    """
    values, vectors = np.linalg.eigh(similarities)
    return vectors * np.sqrt(np.maximum(values, 0))


def graph_scores(similarities: np.ndarray, k: int, beta: float) -> np.ndarray:
    """Scores of photos for a query by the similarities among all of them.

    The photos are embedded and refined by their nearest; S1 is a refined photo's inner product with the query, e the
    sum of the ten refined photos of highest S1, each times its S1.

    Args:
        similarities: [M + 1, M + 1], symmetric, ones in the diagonal; row 0 is the query's.
        k, beta: of ``refined_by_nearest``.

    Returns:
        [M] S1 + 0.15 (refined photo . e).
    """
    query, *photos = embed(similarities)
    refined = refined_by_nearest(np.stack(photos), k, beta)
    first = refined @ query
    best = np.argsort(-first, kind="stable")[:NUM_EXPANDED]
    return first + _EXPANSION * refined @ (first[best] @ refined[best])


class GraphSearch:
    """A search that verifies, and then ranks what it has verified by the graph.

    A photo that is verified for the first time is searched as a query is, whatever the size of the index; its pairs are
    kept.

    Args:
        search: gives candidates with their verified matches; names its photos.
        query_of: makes a query of a photo of the index.
        k, beta: of ``refined_by_nearest``.
        cosines: where photos have global descriptors too, gives those of a query and M photos, [M + 1, M + 1]; the
            similarity of a pair is then the mean of both kinds.
        alike: where the search does not look at these, gives the cosines [N] of a query and all photos: of those that
            were verified and those that are alike the best, by the sum of both similarities, are ranked.
        known: pairs that were found before; those that are found come to it.
    """

    def __init__(
        self,
        search: VerifyingSearch,
        query_of: Callable[[int], Any],
        k: int,
        beta: float,
        cosines: Optional[Cosines] = None,
        alike: Optional[Callable[[Any], np.ndarray]] = None,
        known: Optional[KnownPairs] = None,
    ) -> None:
        self.names, self.pair = search.names, search.pair
        self._search, self._query_of, self._k, self._beta = search, query_of, k, beta
        self._cosines, self._alike = cosines, alike
        self._known: KnownPairs = {} if known is None else known

    def rank(self, query: Any) -> Candidates:
        """The verified photos in the order of ``graph_scores``; those with very many inliers stay before the others.

        Scores become those of the graph, which hold no number of inliers. The other photos follow.
        """
        candidates = self._search.rank(query)
        verified = [photo for photo in candidates.photos.tolist() if photo in candidates.verified]
        if not verified:
            return candidates
        photos, counts = np.array(verified), [candidates.verified[photo].num_inliers for photo in verified]
        inliers, chance = np.zeros(len(self.names), np.int64), inliers_by_chance(np.array(counts))
        inliers[photos] = counts
        if self._alike:
            photos = self._best(candidates, pair_similarity(inliers, chance) + np.maximum(0, self._alike(query)))
        rest = candidates.part(~np.isin(candidates.photos, photos))
        inliers = inliers[photos]
        near = pair_similarity(inliers, chance)
        table = of_inliers = self._similarities(photos, near)
        if self._cosines:
            table = (table + np.maximum(0, self._cosines(query, photos))) / 2
        scores = np.round(graph_scores(table, self._k, self._beta), DECIMALS)
        scores = np.where(inliers >= MANY_INLIERS, _CERTAIN + near, scores)
        order = np.argsort(-scores, kind="stable")  # ties stay in the order they had
        rose = np.argsort(order) < np.arange(len(photos))
        by = strongest_steps(of_inliers, (inliers < MANY_INLIERS) & (rose | (near == 0)))
        through = {int(photos[place]): int(photos[step]) for place, step in by.items()}
        ranked, scores = put_behind((photos[order], scores[order]), (rest.photos, rest.scores))
        return dataclasses.replace(candidates, photos=ranked, scores=scores, through=through)

    def step(self, photo: int, other: int) -> PairMatches:
        """The matches of two photos of the index, as points of both, by which one is found through the other."""
        near, far = self._neighbours(photo), self._neighbours(other)
        if far.similarity(photo) > near.similarity(other):
            found = self.step(other, photo)
            return dataclasses.replace(found, points=found.points[:, [2, 3, 0, 1]])
        inliers = near.inliers(other)
        candidates = Candidates(np.array([other]), np.zeros(1), lambda _: inliers, {other: inliers})
        found = self._search.pair(self._query_of(photo), candidates, other)
        return dataclasses.replace(found, correspondences=near.num_correspondences(other))

    def _best(self, candidates: Candidates, similarities: np.ndarray) -> np.ndarray:
        """As many photos as were verified, by similarities [N], ties in the order of the candidates."""
        places = np.full(len(self.names), len(candidates))
        places[candidates.photos] = np.arange(len(candidates))
        return np.lexsort((places, -np.round(similarities, DECIMALS)))[: len(candidates.verified)]

    def _similarities(self, photos: np.ndarray, near: np.ndarray) -> np.ndarray:
        """[M + 1, M + 1] of the query, to which the photos have the similarities ``near`` [M], and the photos."""
        table = np.eye(len(photos) + 1)
        table[0, 1:] = table[1:, 0] = near
        places = {photo: place for place, photo in enumerate(photos.tolist(), 1)}
        for photo, place in places.items():
            found = self._neighbours(photo)
            for other, similarity in zip(found.photos.tolist(), found.similarities.tolist()):
                if other in places:  # either may have found the other
                    similarity = max(table[place, places[other]], similarity)
                    table[place, places[other]] = table[places[other], place] = similarity
        return table

    def _neighbours(self, photo: int) -> Neighbours:
        """The verified neighbours of a photo."""
        if photo not in self._known:
            found = self._search.rank(self._query_of(photo)).verified
            inliers = np.array([matches.num_inliers for matches in found.values()])
            near = pair_similarity(inliers, inliers_by_chance(inliers)).tolist()
            others = {other: value for other, value in zip(found, near) if value and other != photo}
            self._known[photo] = Neighbours.of(found, others)
        return self._known[photo]


def strongest_steps(similarities: np.ndarray, wanted: np.ndarray) -> Dict[int, int]:
    """By which photo the query reaches others in two steps, where that is nearer than the step from it to them.

    Args:
        similarities: as of ``graph_scores``.
        wanted: [M] bool, photos to look at.

    Returns:
        For places 0 to M - 1 of photos p the place of the photo x of greatest similarity(query, x) similarity(x, p),
        where this is above similarity(query, p).
    """
    direct = similarities[0, 1:]
    products = direct[:, None] * similarities[1:, 1:]
    np.fill_diagonal(products, 0)
    best = products.argmax(axis=0)
    nearer = wanted & (products.max(axis=0) > direct)
    return {place: int(best[place]) for place in np.flatnonzero(nearer).tolist()}


def cosines_of(vectors: np.ndarray) -> Cosines:
    """The cosines of a query's global descriptor and those of photos, out of all the vectors [N, D]."""

    def cosines(query: Encoded, photos: np.ndarray) -> np.ndarray:
        chosen = np.vstack([query.global_descriptor.vector, vectors[photos]])
        return chosen @ chosen.T

    return cosines


def without_graph(retrieval: RetrievalConfig) -> RetrievalConfig:
    """The same with the steps before the graph alone."""
    return retrieval.replace(rerank=re.sub(r",\s*graph\s*$", "", retrieval.rerank))
