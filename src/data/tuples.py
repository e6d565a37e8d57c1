"""Tuples (query, positive, negatives) of an epoch: pairs and a pool are drawn, and hard negatives found in the pool.

As cirtorch does (addendum B1 of Radenovic et al., TPAMI 2018): each epoch draws pairs and a pool of photos; the
negatives of a query are the photos of the pool that the network finds most similar to it, each of another cluster
(a landmark, or a model of structure from motion), none of the query's own.
"""

from dataclasses import dataclass
from typing import NamedTuple, Optional

import numpy as np

from ..errors import UserError
from .class_samples import photos_by_class

_BLOCK = 256  # queries compared at a time: bounds their similarities to 256 x pool numbers


class Drawn(NamedTuple):
    """What an epoch looks at.

    Attributes:
        pairs: [Q, 2] int64, photos of query and positive.
        pool: [P] int64, photos among which negatives are sought, each once.
    """

    pairs: np.ndarray
    pool: np.ndarray


class Mined(NamedTuple):
    """The negatives of an epoch.

    Attributes:
        places: [Q, N] int64, places in the pool, most similar first.
        distance: mean L2 distance of a query and its negatives; it rises as the network learns.
    """

    places: np.ndarray
    distance: float


@dataclass(frozen=True, eq=False)
class PairSource:
    """The photos that tuples are drawn of.

    Attributes:
        clusters: [N] int64, what each photo shows; -1 = unknown, such a photo is in no tuple.
        pairs: [M, 2] int64, photos of query and positive; None = any two photos of a cluster.
    """

    clusters: np.ndarray
    pairs: Optional[np.ndarray] = None

    @property
    def num_queries(self) -> int:
        """Pairs that an epoch can draw: those given, else one of each photo that is not alone in its cluster."""
        return len(self._queries()) if self.pairs is None else len(self.pairs)

    def draw(self, num_queries: int, pool_size: int, num_negatives: int, rng: np.random.Generator) -> Drawn:
        """The pairs and the pool of an epoch, without replacement; all of them where fewer are there.

        Without given pairs a photo is the query once at most, and its positive any other photo of its cluster.

        Args:
            num_queries: pairs; 0 = all.
            pool_size: photos of the pool; 0 = all.
            num_negatives: that each query needs.
            rng: of this epoch; the same generator gives the same photos.

        Raises:
            UserError: no pair, or the pool has too few clusters; it is drawn before any photo is looked at.
        """
        if self.num_queries == 0:
            raise UserError("no two training photos show the same: training by tuples needs classes of two or more")
        if self.pairs is None:
            queries = rng.permutation(self._queries())[: num_queries or None]
            pairs = np.stack([queries, self._positives(queries, rng)], axis=1)
        else:
            pairs = self.pairs[rng.permutation(len(self.pairs))[: num_queries or None]]
        pool = rng.permutation(np.flatnonzero(self.clusters >= 0))[: pool_size or None]
        _require_clusters(self.clusters[pairs[:, 0]], self.clusters[pool], num_negatives)
        return Drawn(pairs, pool)

    def _queries(self) -> np.ndarray:
        """Photos that are not alone in their cluster, rising."""
        _, place, counts = np.unique(self.clusters, return_inverse=True, return_counts=True)
        return np.flatnonzero((counts[place.reshape(-1)] > 1) & (self.clusters >= 0))

    def _positives(self, queries: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """For each query any other photo of its cluster."""
        order = np.concatenate(photos_by_class(self.clusters))
        _, starts, counts = np.unique(self.clusters[order], return_index=True, return_counts=True)
        cluster = np.searchsorted(self.clusters[order][starts], self.clusters[queries])
        places = np.empty(len(order), np.int64)
        places[order] = np.arange(len(order))
        own = places[queries] - starts[cluster]
        other = (own + rng.integers(1, counts[cluster])) % counts[cluster]
        return order[starts[cluster] + other]


def _require_clusters(query_clusters: np.ndarray, pool_clusters: np.ndarray, num: int) -> None:
    """UserError unless the pool has ``num`` clusters besides the own one of each query."""
    known = np.unique(pool_clusters)
    held = bool(np.isin(query_clusters, known).any())
    if len(known) - held < num:
        raise UserError(
            f"the pool of {len(pool_clusters)} photos holds {len(known)} classes, too few for {num} negatives of "
            "different classes besides the query's: raise `pool_size`, or lower `num_negatives`"
        )


def mine_negatives(
    query_vectors: np.ndarray,
    query_clusters: np.ndarray,
    pool_vectors: np.ndarray,
    pool_clusters: np.ndarray,
    num: int,
) -> Mined:
    """The hard negatives of each query: walking down the pool by dot product, the first of each other cluster.

    A photo whose cluster is the query's, or that of a negative taken before, is passed over. Equal products go to the
    earlier place of the pool.

    Args:
        query_vectors: [Q, D] descriptors, unit length.
        query_clusters: [Q].
        pool_vectors: [P, D].
        pool_clusters: [P].
        num: negatives of a query.

    Raises:
        UserError: the pool has fewer than ``num`` clusters besides a query's, or a vector is not finite.
    """
    _require_clusters(query_clusters, pool_clusters, num)
    if not (np.isfinite(query_vectors).all() and np.isfinite(pool_vectors).all()):
        raise UserError("a training photo's descriptor is not finite, so no negatives can be found: lower `initial_lr`")
    # A cluster's most similar photo is the only one that the walk can take of it: sorted by cluster, one maximum each.
    by_cluster = np.argsort(pool_clusters, kind="stable")
    known, starts = np.unique(np.asarray(pool_clusters)[by_cluster], return_index=True)
    places = np.empty((len(query_vectors), num), np.int64)
    for first in range(0, len(query_vectors), _BLOCK):
        rows = slice(first, first + _BLOCK)
        products = np.asarray(query_vectors[rows]) @ pool_vectors.T
        places[rows] = _walk(products[:, by_cluster], np.asarray(query_clusters)[rows], by_cluster, known, starts, num)
    distances = np.linalg.norm(np.asarray(query_vectors)[:, None] - np.asarray(pool_vectors)[places], axis=2)
    return Mined(places, float(distances.mean(dtype=np.float64)) if distances.size else 0.0)


def _walk(
    products: np.ndarray, own: np.ndarray, by_cluster: np.ndarray, known: np.ndarray, starts: np.ndarray, num: int
) -> np.ndarray:
    """Places [Q, num] in the pool, of ``products`` [Q, P] whose columns are sorted by cluster."""
    best = np.maximum.reduceat(products, starts, axis=1)  # [Q, clusters]
    lengths = np.diff(np.append(starts, products.shape[1]))
    is_best = products == np.repeat(best, lengths, axis=1)
    place = np.minimum.reduceat(np.where(is_best, by_cluster, products.shape[1]), starts, axis=1)
    best[known == own[:, None]] = -np.inf
    return np.take_along_axis(place, np.lexsort((place, -best))[:, :num], axis=1)
