"""Codebooks: visual words learnt by k-means from local descriptors, kept in a file that several indexes may share."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Optional

import faiss
import numpy as np

from ..arrays import read_arrays
from ..artifacts import PathLike, atomic_stream, is_made, require_file, sha256_of
from ..errors import UserError, reading
from ..features.feature_set import FeatureSet
from ..records import Provenance
from .neighbours import find_neighbours

VLAD_WORDS = 64  # of a vector of 64 D numbers
_MOST_WORDS, _LEAST_DESCRIPTORS, _WORDS_PER_ROOT = 2**15, 32, 8  # of a size that is chosen
_SAMPLE_PER_WORD, _SAMPLE_BYTES = 40, 2**30  # faiss wants 39 at least
_ITERATIONS = 10  # of k-means; as faiss trains inverted lists
_EXACT_WORDS = 2**13  # more are found by a graph: of 65,536 four times as fast, 99.95 % of them the nearest
_LINKS, _EF_CONSTRUCTION, _EF_SEARCH = 32, 100, 64  # of that graph (HNSW)
_FIX = "give one made with the command learn_codebook"


@dataclass(frozen=True, eq=False)
class Codebook:
    """Visual words.

    Attributes:
        words: [K, D] float32.
        provenance: of the descriptors they were learnt from; with how.

    Raises:
        ValueError: no such array.
    """

    words: np.ndarray
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        words = np.asarray(self.words)
        if words.ndim != 2 or not words.size or words.dtype.kind != "f":
            raise ValueError(f"words are {words.dtype} {words.shape}, not numbers [K, D]")
        object.__setattr__(self, "words", np.ascontiguousarray(words, np.float32))
        if not np.isfinite(self.words).all():
            raise ValueError("a word holds a number that is not finite")

    def __len__(self) -> int:
        """Number of words."""
        return len(self.words)

    @property
    def dimension(self) -> int:
        """Numbers of a word."""
        return self.words.shape[1]

    @property
    def identity(self) -> str:
        """SHA-256 of the words, in hex."""
        return hashlib.sha256(self.words.tobytes()).hexdigest()

    @cached_property
    def finder(self) -> faiss.Index:
        """What finds the nearest words: exact, or a graph where there are many. To be made before threads use it."""
        if len(self) <= _EXACT_WORDS:
            found = faiss.IndexFlatL2(self.dimension)
        else:
            found = faiss.IndexHNSWFlat(self.dimension, _LINKS)
            found.hnsw.efConstruction, found.hnsw.efSearch = _EF_CONSTRUCTION, _EF_SEARCH
        threads = faiss.omp_get_max_threads()
        try:
            faiss.omp_set_num_threads(1)  # links depend on the order of work
            found.add(self.words)
        finally:
            faiss.omp_set_num_threads(threads)
        return found

    def use_finder(self, finder: faiss.Index) -> None:
        """Take a finder that was made of these words before; a graph of many takes seconds to make."""
        self.__dict__["finder"] = finder

    def assign(self, descriptors: np.ndarray, count: int, pool: Optional[ThreadPoolExecutor] = None) -> np.ndarray:
        """[N, A] int64, the ``count`` nearest words of each descriptor [N, D], or all words if there are fewer."""
        count = min(count, len(self))
        if not len(descriptors):
            return np.zeros((0, count), np.int64)
        return find_neighbours(self.finder, descriptors, count, pool)[1]


def choose_size(num_descriptors: int) -> int:
    """Words by the number of descriptors they are learnt from: a power of two, 32,768 at most.

    Quality grows with them as long as a word has descriptors enough, time of k-means too.
    """
    wanted = min(num_descriptors / _LEAST_DESCRIPTORS, _WORDS_PER_ROOT * np.sqrt(num_descriptors), _MOST_WORDS)
    return 2 ** int(np.log2(max(1, wanted)))


def training_rows(size: int, dimension: int) -> int:
    """Descriptors that so many words are learnt from."""
    return max(size, min(_SAMPLE_PER_WORD * size, _SAMPLE_BYTES // (4 * dimension)))


def learn(sample: np.ndarray, size: int, seed: int, provenance: Optional[Provenance] = None) -> Codebook:
    """Words by k-means.

    Args:
        sample: [R, D] descriptors.
        size: number of words K.
        seed: of the first words.
        provenance: of the sample.

    Raises:
        UserError: fewer descriptors than words.
    """
    if len(sample) < size:
        fact = f"{len(sample)} descriptors are too few for a codebook of {size} words"
        raise UserError(f"{fact}; give a smaller `codebook_size`, or `codebook_path` a codebook of other photos")
    sample = np.ascontiguousarray(sample, np.float32)
    means = faiss.Kmeans(
        sample.shape[1],
        size,
        niter=_ITERATIONS,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=2**31 - 1,
    )
    means.train(sample)
    return Codebook(means.centroids, provenance or Provenance())


def learn_codebook(features: PathLike, output: PathLike, size: int = 0, seed: int = 0, overwrite: bool = False) -> Path:
    """Learn a codebook from a feature file and write it; one of the same features and settings is kept.

    Args:
        features: feature file with local features.
        output: file to write (.npz).
        size: number of words; 0 = chosen by the number of descriptors.
        seed: of the sample and of k-means.
        overwrite: replace another file.

    Raises:
        UserError: no local features, fewer descriptors than words, or another file stands at ``output``.
    """
    with FeatureSet([features]) as photos:
        size = size or choose_size(int(photos.counts.sum()))
        made = describe_codebook(photos, size, seed)
        if not is_made(output, made, lambda path: load_codebook(path).provenance, overwrite):
            sample = photos.sample(training_rows(size, photos.dimension), seed)
            save_codebook(output, learn(sample, size, seed, made))
    return Path(output)


def describe_codebook(photos: FeatureSet, size: int, seed: int) -> Provenance:
    """How a codebook of some photos is made."""
    made, sources = photos.provenance, {"features": [sha256_of(path) for path in photos.paths]}
    return Provenance(made.weights, made.encoder, {"codebook_size": size, "seed": seed}, sources, made.notes)


def save_codebook(path: PathLike, codebook: Codebook) -> None:
    """Write ``words`` and ``provenance`` (JSON text) to an .npz file, atomically."""
    with atomic_stream(path) as stream:
        np.savez(stream, words=codebook.words, provenance=np.array(json.dumps(codebook.provenance.as_json())))


def load_codebook(path: PathLike) -> Codebook:
    """Read a file of ``save_codebook``; UserError when there is none, or it is damaged or something else."""
    with reading(require_file(path, "codebook_path"), _FIX):
        stored = read_arrays(path, _FIX)
        if not {"words", "provenance"} <= set(stored):
            raise UserError(f"{path}: not a codebook (no words in it); {_FIX}")
        try:
            return Codebook(stored["words"], Provenance.from_json(json.loads(str(stored["provenance"]))))
        except (ValueError, TypeError) as error:
            raise UserError(f"{path}: not a codebook ({error}); {_FIX}") from error
