"""The shards of an index and what runs them, as one set of photos that are numbered through, shard after shard."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, List, Optional, Sequence

import numpy as np

from ..records import Candidates, LocalFeatures
from .index_folder import Manifest
from .interfaces import Executor, Shard
from .shard import SearchSettings, load_shard
from .votes import num_cores, search_pool


class Shards:
    """All photos of an index, each in one shard.

    A function that is sent to a shard captures plain values alone: it may run in another process.

    Args:
        shards: in the order of the photos' numbers.
        executor: runs them side by side.
    """

    def __init__(self, shards: Sequence[Shard], executor: Executor) -> None:
        self._shards, self._executor = list(shards), executor
        self.names = [name for shard in shards for name in shard.names]
        self.starts = np.cumsum([0, *(len(shard.names) for shard in shards)])

    def __len__(self) -> int:
        """Number of shards."""
        return len(self._shards)

    def map(self, function: Callable[..., Any], *arguments: Iterable[Any]) -> List[Any]:
        """``function(shard, ...)`` of each shard and, from ``arguments``, what is meant for it."""
        return list(self._executor.map(function, self._shards, *arguments))

    def split(self, photos: np.ndarray) -> List[np.ndarray]:
        """The places in ``photos`` of each shard's own."""
        owners = np.searchsorted(self.starts, photos, "right") - 1
        return [np.flatnonzero(owners == shard) for shard in range(len(self))]

    def at_owners(self, function: Callable[..., Any], photos: np.ndarray, *arguments: Iterable[Any]) -> List[Any]:
        """``function(shard, its photos, ...)`` of each shard that has some of the photos, in its own numbers.

        Args:
            function: what is asked.
            photos: [n] numbers.
            arguments: of each shard, as of ``map``.

        Returns:
            (places in ``photos``, answer) of each of these shards.
        """
        places = self.split(photos)
        asked = [number for number, own in enumerate(places) if len(own)]
        own = [photos[places[number]] - self.starts[number] for number in asked]
        chosen = [[each[number] for number in asked] for each in map(list, arguments)]
        answers = self._executor.map(function, [self._shards[number] for number in asked], own, *chosen)
        return list(zip((places[number] for number in asked), answers))

    def at_owner(self, function: Callable[[Shard, int], Any], photo: int, *arguments: Iterable[Any]) -> Any:
        """``function(shard, photo, ...)`` of the shard that has a photo, in its own numbers."""
        ask = _OfOne(function)
        return self.at_owners(ask, np.array([photo]), *arguments)[0][1]

    def rerank(
        self, query: LocalFeatures, candidates: Candidates, shares: Optional[Sequence[Optional[np.ndarray]]] = None
    ) -> Candidates:
        """As ``Reranker.rerank``: each shard looks at its own photos."""
        shares = shares or [None] * len(self)
        scores, verified = candidates.scores.copy(), {}
        parts = [scores[places] for places in self.split(candidates.photos)]
        found = self.at_owners(
            lambda shard, photos, old, own: shard.rerank(query, photos, old, own), candidates.photos, parts, shares
        )
        for places, answer in found:
            scores[places] = answer.scores
            verified.update(zip(candidates.photos[places].tolist(), answer.verified))
        order = np.argsort(-scores, kind="stable")  # ties stay in the order they had
        photos = candidates.photos[order]
        verified = {photo: verified[photo] for photo in candidates.photos.tolist() if verified[photo] is not None}
        return Candidates(photos, scores[order], candidates.putative, verified)


class _OfOne:
    """Asks of one photo what is asked of several."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, shard: Shard, photos: np.ndarray, *arguments: Any) -> Any:
        return self._function(shard, int(photos[0]), *arguments)


@contextmanager
def open_shards(folder: Path, manifest: Manifest, settings: SearchSettings) -> Iterator[Shards]:
    """The shards of an index, in this process or, by ``executor``, elsewhere.

    Args:
        folder, manifest: of the index.
        settings: of search and verification.

    Raises:
        UserError: as of ``require_whole``, of any shard.
    """
    folders = [folder / name for name in manifest.shard_names]
    retrieval = settings.retrieval
    if retrieval.executor == "ray":
        from .ray_executor import open_ray  # Ray takes seconds to import

        with open_ray(folders, settings) as (shards, executor):
            yield Shards(shards, executor)
        return
    with search_pool(retrieval.search_threads) as pool, ThreadPoolExecutor(min(len(folders), num_cores())) as executor:
        yield Shards([load_shard(each, settings, pool) for each in folders], executor)
