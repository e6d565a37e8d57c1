"""What an index of drawn photos costs, and what queries would cost in a larger one."""

import re
import resource
import tempfile
import time
from pathlib import Path
from typing import Dict, List, NamedTuple, Sequence

import faiss

from src.config import MatchingConfig, RetrievalConfig
from src.features.feature_file import FeatureFile
from src.features.feature_set import FeatureSet
from src.records import LocalFeatures
from src.retrieval.build import describe_index, fill_index, new_index
from src.retrieval.feature_sources import FeatureSources
from src.retrieval.index import DescriptorIndex, load_index
from src.retrieval.index_folder import FAISS_FILE, STARTS_FILE
from src.retrieval.index_types import make_index
from src.retrieval.vote_search import open_search
from src.retrieval.votes import default_nprobe, search_pool, set_nprobe
from tools.benchmarks.planted import PlantedSet

NUM_QUERIES = 2  # timed


class Timing(NamedTuple):
    """Seconds of a query, in an index that makes only ``share`` of the comparisons of the one it stands for."""

    share: float
    search_seconds: float  # the neighbours of its descriptors
    query_seconds: float  # the same, ranked and verified


class Cost(NamedTuple):
    """What an index of the part costs; bytes, seconds."""

    fixed_bytes: int  # trained, empty
    memory_bytes: int  # index and ids, as searched
    disk_bytes: int  # the index folder
    train_seconds: float
    add_seconds: float
    peak_bytes: int  # of the process that built it
    timings: Dict[int, Timing]  # by target


def measure(made: PlantedSet, index_type: str, targets: Sequence[int], retrieval: RetrievalConfig, seed: int) -> Cost:
    """Build an index of the part in this process, and time queries as they would be with each of ``targets`` photos.

    Inverted lists of a larger index are longer. For the timing the part goes into as many fewer lists, so that they
    have that length; what is left out is finding the nearest of more lists, some hundredths of a second a query.
    """
    with tempfile.TemporaryDirectory(dir=made.photos.parent) as name, FeatureSet([made.photos]) as photos:
        folder, start = Path(name) / "index", time.perf_counter()
        index = new_index(photos, describe_index(photos, index_type, seed))
        trained, fixed_bytes = time.perf_counter(), faiss.serialize_index(index.faiss_index).nbytes
        resumed = time.perf_counter()
        _fill(folder, index, photos)
        added, peak_bytes = time.perf_counter(), 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        del index
        memory_bytes = sum((folder / each).stat().st_size for each in (FAISS_FILE, STARTS_FILE))
        disk_bytes = sum(path.stat().st_size for path in folder.iterdir())
        with FeatureFile(made.queries) as source:
            queries = [source.read(name) for name in source.names[:NUM_QUERIES]]
        timings = {}
        for target in targets:
            ratio = target / len(photos.names)
            shorter = _with_fewer_lists(index_type, ratio)
            if shorter != index_type:
                folder = Path(name) / str(target)
                _fill(folder, new_index(photos, describe_index(photos, shorter, seed)), photos)
            timings[target] = _time_queries(load_index(folder), index_type, queries, ratio, retrieval)
    return Cost(fixed_bytes, memory_bytes, disk_bytes, trained - start, added - resumed, peak_bytes, timings)


def _with_fewer_lists(index_type: str, ratio: float) -> str:
    return re.sub(r"IVF(\d+)", lambda found: f"IVF{max(1, round(int(found[1]) / ratio))}", index_type)


def _fill(folder: Path, index: DescriptorIndex, photos: FeatureSet) -> None:
    folder.mkdir()
    index.sources = FeatureSources(folder, FeatureSources.describe(photos.paths, folder))
    fill_index(folder, index, photos)


def _time_queries(
    index: DescriptorIndex, index_type: str, queries: List[LocalFeatures], ratio: float, retrieval: RetrievalConfig
) -> Timing:
    """Time queries with as many lists searched as an index of ``index_type`` would search, or all there are."""
    lists, share = faiss.try_extract_index_ivf(index.faiss_index), 1 / ratio
    if lists is not None:
        whole = faiss.try_extract_index_ivf(make_index(index_type, index.faiss_index.d))
        wanted = min(retrieval.nprobe, whole.nlist) or default_nprobe(whole.nlist)
        retrieval = retrieval.replace(nprobe=min(wanted, lists.nlist))
        share = retrieval.nprobe / wanted
    set_nprobe(index.faiss_index, retrieval.nprobe)
    with search_pool(retrieval.search_threads) as pool:
        near = retrieval.search_distance**2
        index.nearest(queries[0].descriptors[:64], retrieval.num_neighbors, near, pool)  # warm
        start = time.perf_counter()
        for query in queries:
            index.nearest(query.descriptors, retrieval.num_neighbors, near, pool)
        searched = time.perf_counter()
    with open_search(index, retrieval, MatchingConfig()) as search:
        for query in queries:
            search.rank(query)
    return Timing(share, (searched - start) / len(queries), (time.perf_counter() - searched) / len(queries))
