"""The searchers of aggregated local features: photos by the words they share with a query, or by their VLAD vectors."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, Optional, Sequence, Tuple, Union

import faiss
import numpy as np

from ..config import RetrievalConfig
from ..records import Candidates, LocalFeatures, Provenance
from .aggregation import JENICEK, Kernel, Words, code_bits, idf, similarities_by_distance
from .codebook import learn
from .global_searcher import DECIMALS, Found, GlobalSearcher, no_matches
from .index_folder import tie_order
from .word_index import AsmkIndex, VladIndex, encode_all

_CODE_BYTES = 8  # whose multiples faiss compares
_QUERY_ASSIGNMENTS = 5  # of jenicek


class AsmkSearcher:
    """Ranks the photos of an index by ASMK or ASMK*.

    A query reads the postings of its own words. Codes are compared by faiss, 40 to 200 times as fast as by tables of
    bit counts in NumPy; most of the time goes into adding to the photos' scores.

    Args:
        index: photos are added to it.
        settings: the keys of aggregation are used.
        pool: threads that find the query's words. None = this thread.
        seed: of the codebook, and of the order of ties; see ``tie_order``.
    """

    def __init__(
        self,
        index: AsmkIndex,
        settings: Optional[RetrievalConfig] = None,
        pool: Optional[ThreadPoolExecutor] = None,
        seed: int = 0,
    ) -> None:
        self.index, self._settings = index, settings or RetrievalConfig()
        self._pool, self._seed = pool, seed
        self._kernel = Kernel(index.family, self._settings.asmk_alpha, self._settings.asmk_threshold)
        self._kernel.require_defined()
        self._ties, self._norms = TieOrder((), seed), (b"", np.zeros(0))

    @property
    def ties(self) -> np.ndarray:
        """[N] place of each photo among those of equal similarity."""
        return self._ordering().places

    def _ordering(self) -> "TieOrder":
        if len(self._ties.places) != len(self.index):
            self._ties = TieOrder(self.index.names, self._seed)
        return self._ties

    def fit(self, sample: np.ndarray) -> None:
        """Learn the codebook from descriptors [R, D]."""
        fit_codebook(self.index, sample)

    def add(self, names: Sequence[str], items: Sequence[LocalFeatures]) -> None:
        """Add photos behind the others."""
        self.index.add(names, items)
        self._norms = b"", np.zeros(0)

    def search(self, query: LocalFeatures, k: int) -> Candidates:
        """The ``k`` most similar photos; scores are similarities, -1 where query or photo has no feature."""
        photos, similarities = self.find(query)
        return Candidates(photos[:k], similarities[:k], no_matches)

    def find(self, query: LocalFeatures) -> Found:
        """All photos and their similarities, falling."""
        return self._ordering().ranked(self.similarities(self.words(query), self.weights()))

    def words(self, query: LocalFeatures) -> Words:
        """The words of a query."""
        return self.index.encode(query, assignments_of(self._settings, self.index.family), self._pool)

    def weights(self) -> Optional[np.ndarray]:
        """[K], what each word weighs by the photos of this index; None where all weigh the same."""
        return idf(*self.counts()) if self._settings.asmk_idf else None

    def counts(self) -> Tuple[np.ndarray, int]:
        """[K] int64, photos or regions that have each word, and how many there are."""
        return np.diff(self.index.postings.starts), len(self.index.word_counts)

    def similarities(self, words: Words, weights: Optional[np.ndarray]) -> np.ndarray:
        """[N] float64, similarity of every photo to a query's words, -1 where either has none.

        Args:
            words: as ``encode`` gives them.
            weights: [K], of all words, of all photos where this index is one shard; None = all weigh the same.
        """
        similarities = self._compare(words, weights)
        if self.index.searches_regions and len(self.index):
            return np.maximum.reduceat(similarities, self.index.region_starts[:-1])
        return similarities

    def _compare(self, words: Words, all_weights: Optional[np.ndarray]) -> np.ndarray:
        """[E] float64, similarity of every photo, or region."""
        weights = np.ones(len(words.numbers)) if all_weights is None else all_weights[words.numbers]
        postings, all_norms = self.index.postings, self._norms_by(all_weights)
        compare, scores = self._comparison(words, weights), np.zeros(len(self.index.word_counts), np.float32)
        all_photos, all_codes = np.asarray(postings.photos), np.asarray(postings.codes)
        bounds = zip(postings.starts[words.numbers].tolist(), postings.starts[words.numbers + 1].tolist())
        for place, (start, end) in enumerate(bounds):
            if end > start:
                np.add.at(scores, all_photos[start:end], compare(place, all_codes[start:end]))
        norms = np.sqrt(all_norms * weights.sum())
        known = (self.index.word_counts > 0) & bool(len(words.numbers))
        return np.round(np.where(known, scores / np.where(norms > 0, norms, 1), -1), DECIMALS)

    def _comparison(self, words: Words, weights: np.ndarray) -> Callable[[int, np.ndarray], np.ndarray]:
        """Gives the weighed kernel [n] float32 of the query's word at a place and photos' vectors or codes [n, C]."""
        if not self.index.is_binary:  # of each the same bits wherever it stands; see ``GlobalIndex.similarities``
            dot = lambda place, theirs: np.einsum("nd,d->n", theirs, words.vectors[place])  # noqa: E731
            return lambda place, theirs: np.float32(weights[place] * self._kernel(dot(place, theirs)))
        bits = code_bits(self.index.codebook.dimension, self.index.family, self._settings.asmk_bits)
        table, ours = similarities_by_distance(bits, self._kernel), padded(words.vectors)

        def compare(place: int, theirs: np.ndarray) -> np.ndarray:
            return np.float32(weights[place] * table).take(distances(ours[place], padded(theirs)))

        return compare

    def _norms_by(self, weights: Optional[np.ndarray]) -> np.ndarray:
        """[E], what each entry's similarity is divided by; those of the last weights are kept."""
        if weights is None:
            return self.index.word_counts
        key, (known, norms) = hashlib.blake2b(weights.tobytes()).digest(), self._norms
        if key != known:
            postings, norms = self.index.postings, np.zeros(len(self.index.word_counts))
            for word in np.flatnonzero(np.diff(postings.starts)).tolist():
                norms[postings.of(word)[0]] += weights[word]
            self._norms = key, norms
        return norms


class TieOrder:
    """The order of all photos where their similarities are equal; see ``tie_order``.

    Attributes:
        places: [N] of each photo in it.
    """

    def __init__(self, names: Sequence[str], seed: int) -> None:
        self.places = tie_order(names, seed)
        self._photos = np.argsort(self.places)

    def ranked(self, similarities: np.ndarray) -> Found:
        """All photos and their similarities [N], falling."""
        order = self._photos[np.argsort(-similarities[self._photos], kind="stable")]  # a third of lexsort's time
        return order, similarities[order]


class VladSearcher:
    """Ranks the photos of an index by the inner product of VLAD vectors.

    Args:
        index: photos are added to it.
        settings: ``query_assignments`` is used.
        seed: of the codebook, and of the order of ties.
    """

    def __init__(self, index: VladIndex, settings: Optional[RetrievalConfig] = None, seed: int = 0) -> None:
        self.index, self._settings, self._seed = index, settings or RetrievalConfig(), seed

    def fit(self, sample: np.ndarray) -> None:
        """Learn the codebook from descriptors [R, D]."""
        fit_codebook(self.index, sample)

    def add(self, names: Sequence[str], items: Sequence[LocalFeatures]) -> None:
        """Add photos behind the others."""
        self.index.add(names, np.stack(encode_all(self.index, names, items)))

    def search(self, query: LocalFeatures, k: int) -> Candidates:
        """The ``k`` most similar photos; scores are inner products."""
        photos, similarities = GlobalSearcher(self.index, self._settings, self._seed).find(self.vector(query))
        return Candidates(photos[:k], similarities[:k], no_matches)

    def vector(self, query: LocalFeatures, pool: Optional[ThreadPoolExecutor] = None) -> np.ndarray:
        """The VLAD vector of a query."""
        return self.index.encode(query, assignments_of(self._settings), pool)


def fit_codebook(index: Union[AsmkIndex, VladIndex], sample: np.ndarray) -> None:
    """Learn the codebook of an index from descriptors [R, D], by its settings."""
    made = index.provenance
    settings = {name: made.settings[name] for name in ("codebook_size", "seed")}
    how = Provenance(made.weights, made.encoder, settings, made.sources, made.notes)
    index.codebook = learn(sample, settings["codebook_size"], settings["seed"], how)


def assignments_of(settings: RetrievalConfig, family: str = "") -> int:
    """Nearest words in which each descriptor of a query counts."""
    return settings.query_assignments or (_QUERY_ASSIGNMENTS if family == JENICEK else 1)


def padded(codes: np.ndarray) -> np.ndarray:
    """Codes [n, B] uint8 with zeros behind, up to a number of bytes that faiss compares."""
    missing = -codes.shape[1] % _CODE_BYTES
    if not missing:
        return codes
    longer = np.zeros((len(codes), codes.shape[1] + missing), np.uint8)
    longer[:, : codes.shape[1]] = codes
    return longer


def distances(code: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """[n] int32, Hamming distances of a code [B] to others [n, B], as ``padded`` gives them."""
    found = np.empty(len(codes), np.int32)
    pointers = (faiss.swig_ptr(array) for array in (code, codes))
    faiss.hammings(*pointers, 1, len(codes), codes.shape[1], faiss.swig_ptr(found))
    return found
