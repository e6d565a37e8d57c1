"""Search by global descriptors of drawn photos: memory, time of a query, recall, and what each re-ranking costs.

The vectors lie in clusters of 50 (a landmark), which lie in 100 larger ones: photos of a landmark have a similarity of
about 0.5, of a larger cluster 0.2. Queries are further photos of some landmarks.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Iterator, List, NamedTuple, Optional, Sequence, Tuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import faiss
import numpy as np

from src.commands.command_line import Command, run_command
from src.config import Config
from src.features.encoder import Encoded
from src.records import GlobalDescriptor, Provenance
from src.retrieval.expansion import unit
from src.retrieval.global_index import GlobalIndex
from src.retrieval.global_search import open_global_search
from src.retrieval.global_searcher import GlobalSearcher
from src.retrieval.index_folder import VECTORS_FILE, make_rows
from src.retrieval.index_types import choose_global_type, make_product_index, training_rows

PHOTOS_OF_LANDMARK, NUM_REGIONS, CHUNK = 50, 100, 10_000


class Drawn:
    """Unit vectors of photos and queries, the same ones whenever they are drawn."""

    def __init__(self, num_photos: int, dimension: int, seed: int) -> None:
        self.num_photos, self.dimension, self._seed = num_photos, dimension, seed
        generator = np.random.default_rng([seed, 0])
        self._num_landmarks = max(1, num_photos // PHOTOS_OF_LANDMARK)
        regions = self._noise(generator, NUM_REGIONS)
        own = generator.integers(0, NUM_REGIONS, self._num_landmarks)
        self._centres = np.sqrt(0.2) * regions[own]
        for start in range(0, self._num_landmarks, CHUNK):
            rows = self._centres[start : start + CHUNK]
            rows += np.sqrt(0.3) * self._noise(generator, len(rows))

    def _noise(self, generator: np.random.Generator, count: int) -> np.ndarray:
        return generator.standard_normal((count, self.dimension), np.float32) / np.float32(np.sqrt(self.dimension))

    def draw(self, count: int, key: int) -> Tuple[np.ndarray, np.ndarray]:
        """Vectors [count, D] of landmarks drawn at random, and these [count]."""
        generator = np.random.default_rng([self._seed, key])
        landmarks = generator.integers(0, self._num_landmarks, count)
        noise = np.float32(np.sqrt(0.5)) * self._noise(generator, count)
        return unit(self._centres[landmarks] + noise), landmarks

    def chunks(self) -> Iterator[Tuple[int, np.ndarray, np.ndarray]]:
        """(number of the first, vectors, landmarks) of all photos, some at a time."""
        for start in range(0, self.num_photos, CHUNK):
            yield (start, *self.draw(min(CHUNK, self.num_photos - start), 2 + start // CHUNK))


class Built(NamedTuple):
    """An index, what it took, and the exact answer."""

    index: GlobalIndex
    train_seconds: float
    add_seconds: float
    nearest: np.ndarray  # [Q, 10] photos most like each query
    landmarks: np.ndarray  # [N] of the photos


def build(drawn: Drawn, index_type: str, queries: np.ndarray, folder: Path) -> Built:
    """Train, fill chunk by chunk, and compare each chunk exactly with the queries on the way."""
    provenance = Provenance(settings={"index_type": index_type})
    index = GlobalIndex(make_product_index(index_type, drawn.dimension), provenance=provenance)
    start, rows = time.perf_counter(), training_rows(index.faiss_index)
    if rows:
        GlobalSearcher(index).fit(drawn.draw(min(rows, drawn.num_photos), 1)[0])
    trained, add_seconds = time.perf_counter() - start, 0.0
    if index.stored is not None:
        index.stored = make_rows(folder / VECTORS_FILE, index.stored, drawn.num_photos)
    best = np.full((len(queries), 10), -np.inf, np.float32)
    nearest = np.zeros(best.shape, np.int64)
    names: List[str] = []
    shown: List[np.ndarray] = []
    for first, vectors, landmarks in drawn.chunks():
        begun = time.perf_counter()
        if index.stored is not None:
            index.stored[first : first + len(vectors)] = vectors
        index.faiss_index.add(vectors)
        add_seconds += time.perf_counter() - begun
        shown.append(landmarks)
        names += [f"{number:08d}.jpg" for number in range(first, first + len(vectors))]
        scores = np.concatenate([best, queries @ vectors.T], axis=1)
        numbers = np.concatenate([nearest, np.tile(np.arange(first, first + len(vectors)), (len(queries), 1))], axis=1)
        order = np.argsort(-scores, axis=1)[:, :10]
        best, nearest = np.take_along_axis(scores, order, axis=1), np.take_along_axis(numbers, order, axis=1)
    index.image_names = names
    return Built(index, trained, add_seconds, nearest, np.concatenate(shown))


def size_of(index: faiss.Index) -> int:
    """Bytes of an index, about what it takes in memory."""
    sizes: List[int] = []
    faiss.write_index(index, faiss.PyCallbackIOWriter(lambda data: sizes.append(len(data)) or len(data)))
    return sum(sizes)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--num_photos", type=int, default=10_000, help="photos (default: %(default)s)")
    parser.add_argument("--dimension", type=int, default=2048, help="of the descriptors (default: %(default)s)")
    parser.add_argument("--num_queries", type=int, default=20, help="queries (default: %(default)s)")
    parser.add_argument(
        "--steps", nargs="*", default=[], help="values of rerank to time, such as diffusion or dba,alpha_qe"
    )
    parser.add_argument("--work_dir", default=None, help="folder for the vectors, where the index shortens them")


COMMAND = Command(
    __doc__,
    "--num_photos 10000 --steps none alpha_qe diffusion superglobal",
    keys=("index_type", "nprobe", "qe_k", "dba_k", "diffusion_k", "diffusion_photos", "superglobal_photos", "seed"),
    shown=("num_photos", "dimension", "num_queries", "index_type", "steps", "work_dir"),
    add_arguments=_arguments,
)


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Build, then time each re-ranking; a table on stdout."""
    config, arguments = COMMAND.parse(argv)
    drawn = Drawn(arguments.num_photos, arguments.dimension, config.run.seed)
    queries, landmarks = drawn.draw(arguments.num_queries, 2**31)
    index_type = config.retrieval.index_type or choose_global_type(arguments.num_photos, arguments.dimension)
    with tempfile.TemporaryDirectory(dir=arguments.work_dir) as name:
        built = build(drawn, index_type, queries, Path(name))
        size = f"{arguments.num_photos} x {arguments.dimension}, {index_type}"
        print(
            f"{size}: {size_of(built.index.faiss_index) / 1e6:.0f} MB, trained in {built.train_seconds:.0f} s, "
            f"filled in {built.add_seconds:.0f} s"
        )
        print("| rerank | made ready | s a query (CPU) | of the 10 nearest | first 10 of the landmark | peak memory |")
        print("|---|---|---|---|---|---|", flush=True)
        for steps in arguments.steps or ["none"]:
            print(measure(built, config.replace(rerank=steps, num_ranked=100), queries, landmarks), flush=True)


def measure(built: Built, config: Config, queries: np.ndarray, landmarks: np.ndarray) -> str:
    """A row of the table: one value of ``rerank``."""
    start, started, found = time.perf_counter(), time.process_time(), []
    with open_global_search(built.index, config.retrieval, config.matching, config.run.seed) as search:
        search.rank(Encoded(global_descriptor=GlobalDescriptor(queries[0], (1, 1))))  # warm; ties are ordered
        ready = f"{time.perf_counter() - start:.1f} s ({time.process_time() - started:.1f})"
        begun, used = time.perf_counter(), time.process_time()
        for query in queries:
            found.append(search.rank(Encoded(global_descriptor=GlobalDescriptor(query, (1, 1)))).photos[:10])
        seconds, cpu = (time.perf_counter() - begun) / len(queries), (time.process_time() - used) / len(queries)
    right = np.mean([np.mean(built.landmarks[row] == landmark) for row, landmark in zip(found, landmarks)])
    recall = np.mean([len(set(a.tolist()) & set(b.tolist())) / len(b) for a, b in zip(found, built.nearest)])
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9
    steps = config.retrieval.rerank
    return f"| {steps} | {ready} | {seconds:.3f} ({cpu:.3f}) | {recall:.3f} | {right:.3f} | {peak:.2f} GB |"


if __name__ == "__main__":
    run_command(main)
