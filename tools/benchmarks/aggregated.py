"""Search by aggregated local features beside votes, on drawn photos: building, memory, disk, time of a query, recall.

Each searcher is built and searched in processes of their own, one after the other. Nothing is verified here: of a query
the shortlist is timed. Rows of more photos are computed: what grows with them is scaled, the words of a query are not.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import argparse
import multiprocessing
import re
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from statistics import mean
from typing import Any, List, NamedTuple, Optional, Sequence
from unittest import mock

from src.commands.command_line import Command, run_command
from src.config import Config, RetrievalConfig
from src.errors import UserError
from src.retrieval_config import INDEX_KEYS, REGION_KEYS

SEARCHERS = ("votes", "asmk_star", "asmk", "vlad")
TOP = 10


class Built(NamedTuple):
    """What building took: seconds, of them to learn the codebook or to train, and peak memory in bytes."""

    seconds: float
    train_seconds: float
    peak_bytes: int


class Searched(NamedTuple):
    """Of a query: seconds, of them to find its words, of both also of all cores; bytes; share of planted photos found.

    ``own_bytes`` is memory without pages of mapped files, which the system may drop; ``recall`` is among the first ten.
    """

    seconds: float
    cpu_seconds: float
    word_seconds: float
    own_bytes: int
    recall: float


def build(made: Any, folder: Path, searcher: str, config: Config) -> Built:
    """Build the index in this process."""
    from src.retrieval import build as room

    fit: List[float] = []
    new_index = room.new_index

    def timed(*arguments: Any) -> Any:
        start = time.perf_counter()
        index = new_index(*arguments)
        fit.append(time.perf_counter() - start)
        return index

    start, retrieval = time.perf_counter(), config.retrieval
    with mock.patch.object(room, "new_index", timed):
        room.build_index(made.photos, folder, retrieval.index_type, config.run.seed, True, searcher, retrieval)
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Built(time.perf_counter() - start, sum(fit), peak)


def search(made: Any, folder: Path, searcher: str, config: Config) -> Searched:
    """Search for all queries in this process."""
    from src.features.encoder import Encoded
    from src.features.feature_file import FeatureFile
    from src.records import Ranking
    from src.retrieval.asmk_searcher import assignments_of
    from src.retrieval.index import load_index
    from src.retrieval.vote_search import open_search
    from src.retrieval.votes import search_pool
    from src.retrieval.word_index import load_asmk_index, load_vlad_index
    from src.retrieval.word_search import open_word_search
    from tools.benchmarks.planted import recall_at

    load = {"votes": load_index, "vlad": load_vlad_index}.get(searcher, load_asmk_index)
    index, retrieval = load(folder), config.retrieval.replace(rerank="none")
    opened, of_words = (open_search, False) if searcher == "votes" else (open_word_search, True)
    with FeatureFile(made.queries) as file, opened(index, retrieval, config.matching, config.run.seed) as found:
        queries = [(name, Encoded(local) if of_words else local) for name, local in file]
        found.rank(queries[0][1])  # warm; ties are ordered
        start, used = time.perf_counter(), time.process_time()
        ranked = [found.rank(query) for _, query in queries]
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - used
        start = time.perf_counter()
        with search_pool(retrieval.search_threads) as pool:
            for _, query in queries if of_words else ():
                index.encode(query.local, assignments_of(retrieval, getattr(index, "family", "")), pool)
        word_seconds, count = time.perf_counter() - start, len(queries)
    ranks = [each.photos[:TOP] for each in ranked]
    ranking = Ranking([name for name, _ in queries], index.names, ranks, [each.scores[:TOP] for each in ranked])
    recall = mean(recall_at(ranking, made.planted, TOP).values())
    return Searched(seconds / count, cpu_seconds / count, word_seconds / count, own_memory(), recall)


def own_memory() -> int:
    """Bytes of this process that belong to no file."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return 1024 * int(found[1]) if found else 0


def row(searcher: str, photos: int, ratio: float, built: Built, searched: Searched, disk_bytes: int) -> str:
    """A line of the table; with ``ratio`` above 1 computed for so many times the photos."""
    made = built.train_seconds + ratio * (built.seconds - built.train_seconds)
    words = searched.word_seconds
    seconds, cpu = (words + ratio * max(0.0, each - words) for each in (searched.seconds, searched.cpu_seconds))
    memory = f"{built.peak_bytes / 1e9:.2f} GB | {searched.own_bytes / 1e9:.2f} GB" if ratio == 1 else " | "
    found = f"{100 * searched.recall:.1f} %" if ratio == 1 else ""
    return (
        f"| {searcher} | {round(photos * ratio):,}{' (computed)' if ratio != 1 else ''} | {made:.0f} s | "
        f"{built.train_seconds:.0f} s | {memory} | {disk_bytes / photos / 1e3:.2f} kB | {1e3 * seconds:.1f} | "
        f"{1e3 * cpu:.1f} | {1e3 * words:.1f} | {found} |"
    )


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--work_dir", default="benchmark_aggregated", help="folder of the drawn photos (%(default)s)")
    parser.add_argument("--num_photos", type=int, default=5000, help="photos (default: %(default)s)")
    parser.add_argument("--num_queries", type=int, default=20, help="queries (default: %(default)s)")
    parser.add_argument("--num_features", type=int, default=300, help="features of each (default: %(default)s)")
    parser.add_argument("--dimension", type=int, default=40, help="of the descriptors (default: %(default)s)")
    parser.add_argument("--planted", type=int, default=8, help="photos of each query (default: %(default)s)")
    parser.add_argument("--searchers", nargs="+", choices=SEARCHERS, default=SEARCHERS[:2], help="(%(default)s)")
    parser.add_argument("--target", type=int, default=0, help="also computed for so many photos (default: none)")


COMMAND = Command(
    __doc__, "--num_photos 100000 --searchers asmk_star votes --target 1000000",
    keys=(
        "seed", *(name for name in INDEX_KEYS if name not in REGION_KEYS), "query_assignments", "asmk_alpha",
        "asmk_threshold", "asmk_bits", "asmk_idf",
        "num_neighbors", "search_distance", "nprobe", "search_threads",
    ),
    shown=(
        "work_dir", "num_photos", "num_queries", "num_features", "dimension", "searchers", "target", "codebook_size",
    ),
    add_arguments=_arguments,
)  # fmt: skip


def _apart(function: Any, *arguments: Any) -> Any:
    """Call a function in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Measure each searcher and print a table."""
    config, arguments = COMMAND.parse(argv)
    count, queries = arguments.num_photos, arguments.num_queries
    if not 1 <= arguments.planted * queries <= count or 0 < arguments.target < count:
        raise UserError(f"--num_photos is {count}; give --num_queries times --planted at least, --target at most")
    from tools.benchmarks.planted import SetSize, write_planted_set

    size = (count, queries, arguments.num_features, arguments.dimension, arguments.planted, config.run.seed)
    made = write_planted_set(arguments.work_dir, SetSize(*size))
    print(
        "| searcher | photos | made in | codebook, training | peak memory | search: own memory | disk a photo | "
        "ms a query | CPU ms | ms for its words | planted in the first 10 |"
    )
    print("|" + "---|" * 11, flush=True)
    for searcher in arguments.searchers:
        folder = Path(arguments.work_dir) / f"index_{searcher}"
        own = config if searcher == "votes" else config.replace(index_type=RetrievalConfig().index_type)
        built = _apart(build, made, folder, searcher, own)
        searched = _apart(search, made, folder, searcher, own)
        disk = sum(path.stat().st_size for path in folder.iterdir())
        for ratio in (1, arguments.target / count) if arguments.target else (1,):
            print(row(searcher, count, ratio, built, searched, disk), flush=True)


if __name__ == "__main__":
    run_command(main)
