"""An index of any kind, opened to be searched for what an encoder gives of a query, with all steps of ``rerank``."""

import logging
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator, NamedTuple, Sequence, Tuple, Union

from ..artifacts import PathLike
from ..config import MatchingConfig, RetrievalConfig
from ..features.encoder import Encoded
from ..features.feature_file import FeatureFile
from ..features.kinds import GLOBAL, part_of
from ..records import Candidates, GlobalDescriptor
from .global_index import GlobalIndex
from .global_search import GlobalSearch, open_global_search
from .graph import GraphSearch, cosines_of, without_graph
from .graph_pairs import kept_pairs
from .index import DescriptorIndex
from .index_folder import GRAPH_FILE, Manifest, read_manifest, read_sources, require_whole, searcher_of
from .index_kinds import kind_of
from .ranking_file import PairMatches
from .rerank import search_settings, steps_of
from .shard import SearchSettings
from .shard_search import IndexOfShards, open_shard_search
from .shards import open_shards
from .vote_search import Search, open_search
from .word_index import AsmkIndex
from .word_search import open_word_search

logger = logging.getLogger(__name__)

Index = Union[DescriptorIndex, GlobalIndex, AsmkIndex, IndexOfShards]
IndexSearch = Union["SearchOfLocal", GlobalSearch, GraphSearch]


class SearchOfLocal:
    """A search by votes, asked with what an encoder gives."""

    def __init__(self, search: Search) -> None:
        self.names, self._search = search.names, search

    def rank(self, query: Encoded) -> Candidates:
        """As ``Search.rank``."""
        return self._search.rank(query.local)

    def pair(self, query: Encoded, candidates: Candidates, photo: int) -> PairMatches:
        """As ``Search.pair``."""
        return self._search.pair(query.local, candidates, photo)


@contextmanager
def _open_votes(index: DescriptorIndex, *settings: Any) -> Iterator[SearchOfLocal]:
    with open_search(index, *settings) as search:
        yield SearchOfLocal(search)


_OPEN = {
    "votes": _open_votes, "global": open_global_search, "vlad": open_word_search, "asmk": open_word_search,
    "asmk_star": open_word_search,
}  # fmt: skip


class Compared(NamedTuple):
    """Which features of queries and photos a search compares."""

    local: bool
    of_global: bool

    def read(self, queries: FeatureFile) -> Iterator[Tuple[str, Encoded]]:
        """The names and the features of queries."""
        for name in queries.names:
            local = queries.read(name) if self.local else None
            if local is not None and not len(local):
                logger.warning("query %s has no features", name)
            yield name, Encoded(local, queries.read_global(name) if self.of_global else None)


def compared_features(folder: PathLike, manifest: Manifest, queries: FeatureFile, steps: Sequence[str]) -> Compared:
    """What a search of an index compares.

    The graph of a search of local features compares global descriptors too, where the index's feature files and the
    queries have some, made alike.

    Args:
        folder, manifest: of the index.
        queries: its queries.
        steps: of re-ranking.
    """
    if searcher_of(manifest) == "global":
        return Compared("ransac" in steps or "learned" in steps, True)
    sources = read_sources(Path(folder))
    if "graph" not in steps or not (queries.names and queries.has_global(queries.names[0]) and sources.has_global()):
        return Compared(True, False)
    theirs, ours = (part_of(each, GLOBAL) for each in (queries.provenance, sources.provenance))
    different = ", ".join(ours.differences(theirs, ("weights", "encoder")))
    if different:
        fact = f"global descriptors made otherwise than those of the index ({different})"
        logger.warning("%s: %s; the graph does without them", queries.path, fact)
    return Compared(True, not different)


@contextmanager
def open_index_search(
    folder: PathLike, retrieval: RetrievalConfig, matching: MatchingConfig, seed: int = 0, with_cosines: bool = False
) -> Iterator[IndexSearch]:
    """A search of an index of any kind; the pairs that a graph finds stay in the index folder for later runs.

    Args:
        folder: of the index.
        retrieval, matching: settings of search and verification.
        seed: of RANSAC and of the order of ties.
        with_cosines: the graph compares the global descriptors of queries and photos too.

    Raises:
        UserError: as of ``require_whole``.
    """
    folder, manifest, before = Path(folder), read_manifest(folder), without_graph(retrieval)
    searcher = searcher_of(manifest)
    if searcher == "votes" and "graph" in steps_of(retrieval, searcher):
        before = before.replace(num_ranked=0)  # it looks at all of them
    with _open_index(folder, manifest, before, matching, seed) as (index, search):
        if "graph" not in steps_of(retrieval, searcher):
            yield search
            return
        settings = search_settings(before, matching, seed, searcher)
        settings = {name: value for name, value in settings.items() if name not in ("keep_matches", "num_ranked")}
        with kept_pairs(folder / GRAPH_FILE, {"index": manifest.sha256, "settings": settings}, len(index)) as known:
            query_of, settings = _query_of(index, searcher), (retrieval.graph_k, retrieval.graph_beta)
            if not with_cosines:
                yield GraphSearch(search, query_of, *settings, known=known)
            elif searcher == "global":
                yield GraphSearch(search, query_of, *settings, cosines_of(index.vectors), known=known)
            else:
                vectors = index.sources.read_globals(index.image_names)
                alike = lambda query: vectors @ query.global_descriptor.vector  # noqa: E731
                yield GraphSearch(search, query_of, *settings, cosines_of(vectors), alike, known)


@contextmanager
def _open_index(folder: Path, manifest: Manifest, *settings: Any) -> Iterator[Tuple[Index, IndexSearch]]:
    """An index, of one piece or of shards, and its search without the graph."""
    searcher = searcher_of(manifest)
    if manifest.shards:
        with open_shards(folder, require_whole(folder), SearchSettings(*settings)) as shards:
            index = IndexOfShards(shards, folder, manifest)
            with open_shard_search(index, SearchSettings(*settings)) as search:
                yield index, SearchOfLocal(search) if searcher == "votes" else search
        return
    index = kind_of(manifest.provenance).load(folder)
    with _OPEN[searcher](index, *settings) as search:
        yield index, search


def _query_of(index: Index, searcher: str) -> Callable[[int], Encoded]:
    """Makes a query of a photo of the index."""

    def of_both(photo: int) -> Encoded:
        local = index.features(photo)
        return Encoded(local, GlobalDescriptor(index.vectors[photo], local.image_size))

    return of_both if searcher == "global" else lambda photo: Encoded(index.features(photo))
