"""Search over the shards of an index: what a searcher asks of one index, asked of them all."""

from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, List, Optional, Tuple, Union

import numpy as np

from ..names import bare_name
from ..records import LocalFeatures
from .aggregation import idf
from .asmk_searcher import AsmkSearcher, TieOrder, VladSearcher
from .global_search import GlobalSearch, open_global_search
from .global_searcher import Found
from .index_folder import TRAINED_FOLDER, Manifest, read_names, read_sources
from .index_kinds import kind_of
from .shard import SearchSettings
from .shards import Shards
from .vote_search import Search
from .votes import search_pool
from .word_search import search_by_words


class IndexOfShards:
    """The photos of all shards, asked as one index of global descriptors is; features are read by their shards.

    Args:
        shards: opened.
        folder, manifest: of the index.

    Attributes:
        image_names, names, provenance, sources: as of any index.
        trained: an index without photos, which has what the shards have in common.
    """

    def __init__(self, shards: Shards, folder: Path, manifest: Manifest) -> None:
        self.shards, self.provenance, self.sources = shards, manifest.provenance, read_sources(folder)
        self.image_names = read_names(folder, manifest)
        self.names = [bare_name(name) for name in self.image_names]
        self.trained = kind_of(manifest.provenance).load(folder / TRAINED_FOLDER)

    def __len__(self) -> int:
        """Number of photos."""
        return len(self.names)

    @property
    def is_exact(self) -> bool:
        """As of ``GlobalIndex``."""
        return self.trained.is_exact

    @property
    def vectors(self) -> "_Rows":
        """The photos' vectors; a row or some are sent by the shards that have them."""
        return _Rows(self.shards)

    def features(self, photo: int) -> LocalFeatures:
        """A photo's local features, from its feature file; UserError when that is gone or has none."""
        return self.shards.at_owner(lambda shard, own: shard.features(own), photo)

    def similarities(self, vector: np.ndarray, photos: Optional[np.ndarray] = None) -> np.ndarray:
        """As of ``GlobalIndex``."""
        if photos is None:
            return np.concatenate(self.shards.map(lambda shard: shard.index.similarities(vector)))
        found = np.empty(len(photos), np.float32)
        ask = lambda shard, own: shard.index.similarities(vector, own)  # noqa: E731
        for places, similarities in self.shards.at_owners(ask, photos):
            found[places] = similarities
        return found

    def nearest(self, vector: np.ndarray, count: int) -> Tuple[np.ndarray, np.ndarray]:
        """As of ``GlobalIndex``."""
        found = self.shards.map(lambda shard: shard.index.nearest(vector, min(count, len(shard.names))))
        photos = np.concatenate([part + start for (part, _), start in zip(found, self.shards.starts)])
        similarities = np.concatenate([part for _, part in found])
        order = np.lexsort((photos, -similarities))[:count]
        return photos[order], similarities[order]

    def set_nprobe(self, nprobe: int) -> None:
        """Nothing: each shard was opened with it."""


class _Rows:
    """Vectors of photos by their numbers, as of an array [N, D]."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards

    def __getitem__(self, photos: Union[int, np.ndarray]) -> np.ndarray:
        if np.ndim(photos) == 0:
            return self[np.array([photos])][0]
        found = self._shards.at_owners(lambda shard, own: shard.index.vectors[own], photos)
        rows = np.empty((len(photos), found[0][1].shape[1] if found else 0), np.float32)
        for places, vectors in found:
            rows[places] = vectors
        return rows


class AsmkOfShards:
    """Ranks the photos of all shards by ASMK or ASMK*; as of ``AsmkSearcher``.

    Args:
        index: of words.
        encoder: a searcher of the index without photos, which finds the words of a query.
        settings: of the search.
    """

    def __init__(self, index: IndexOfShards, encoder: AsmkSearcher, settings: SearchSettings) -> None:
        self._shards, self._encoder = index.shards, encoder
        self._ties = TieOrder(index.names, settings.seed)
        self._weights = None
        if settings.retrieval.asmk_idf:
            counts = self._shards.map(lambda shard: shard.searcher.counts())
            self._weights = idf(sum(words for words, _ in counts), sum(total for _, total in counts))

    @property
    def ties(self) -> np.ndarray:
        """[N] place of each photo among those of equal similarity."""
        return self._ties.places

    def find(self, query: LocalFeatures) -> Found:
        """All photos and their similarities, falling."""
        words, weights = self._encoder.words(query), self._weights
        parts: List[Any] = self._shards.map(lambda shard: shard.searcher.similarities(words, weights))
        return self._ties.ranked(np.concatenate(parts))


@contextmanager
def open_shard_search(index: IndexOfShards, settings: SearchSettings) -> Iterator[Union[Search, GlobalSearch]]:
    """A search of an index of shards, as the index of one piece has it, with the steps of ``rerank``."""
    retrieval, seed, searcher = settings.retrieval, settings.seed, index.provenance.settings.get("searcher", "votes")
    if searcher == "votes":
        yield Search(index.shards, retrieval, seed)
        return
    if searcher.startswith("asmk"):
        with search_pool(retrieval.search_threads) as pool:
            encoder = AsmkSearcher(index.trained, retrieval, pool, seed)
            yield search_by_words(index, AsmkOfShards(index, encoder, settings), index.shards, retrieval)
        return
    more = ()
    if searcher == "vlad":
        vlad = VladSearcher(index.trained, retrieval, seed)
        more = (lambda query: vlad.vector(query.local),)
    with open_global_search(index, *settings, *more, shards=index.shards) as search:
        yield search
