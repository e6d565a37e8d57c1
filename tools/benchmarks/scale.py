"""Search over many shards, simulated: the true protocol, its shards asked one after the other on this machine.

Drawn photos are indexed as some shards, and these stand in as many folders of a larger index: of --num_shards shards
every one is asked, but only --distinct differ. Bytes are those of each question and answer as they would be sent;
seconds of a shard are measured. What a cluster would take is computed: a round lasts as long as its slowest actor, each
shard's seconds times a factor drawn from a log-normal distribution (--spread), and ten times that for one in a hundred,
and what is sent goes through one machine's network (--gigabits).
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import argparse
import pickle
import time
from statistics import mean, median
from typing import Any, Callable, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from src.commands.command_line import Command, run_command
from src.errors import UserError
from src.retrieval_config import INDEX_KEYS, REGION_KEYS

_ACTORS = (1, 16, 100, 1000)  # of which the time of a query is computed
_DRAWS = 200  # of the factors
_STRAGGLERS, _STRAGGLER_FACTOR = 0.01, 10.0
_ROUND_SECONDS = 0.002  # a question to all actors and back, besides what is sent


class Asked(NamedTuple):
    """One round of a query: seconds of each shard, bytes to each machine once, bytes to and from all shards."""

    seconds: List[float]
    shared_bytes: int
    own_bytes: int
    answer_bytes: int


class OneAfterAnother:
    """An executor that measures; ``rounds`` has all since it was emptied."""

    def __init__(self) -> None:
        self.rounds: List[Asked] = []

    def map(self, function: Callable[..., Any], shards: Iterable[Any], *iterables: Iterable[Any]) -> Iterator[Any]:
        """As ``Executor.map``."""
        shared = [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
        asked, answers = Asked([], _size_of([each for each in shared if not callable(each)]), 0, 0), []
        own_bytes = answer_bytes = 0
        for shard, *arguments in zip(shards, *iterables):
            start = time.perf_counter()
            answers.append(function(shard, *arguments))
            asked.seconds.append(time.perf_counter() - start)
            own_bytes += _size_of(arguments)
            answer_bytes += _size_of(answers[-1])
        self.rounds.append(asked._replace(own_bytes=own_bytes, answer_bytes=answer_bytes))
        return iter(answers)


def _size_of(value: Any) -> int:
    return len(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))


def computed_seconds(rounds: Sequence[Asked], actors: int, spread: float, gigabits: float, seed: int) -> np.ndarray:
    """[200] seconds of a query among so many actors, one for each draw of the factors.

    Args:
        rounds: of one query.
        actors: which have the shards one after the other.
        spread: standard deviation of the logarithm of a shard's factor.
        gigabits: a second, of the machine that asks.
        seed: of the factors.
    """
    generator, total = np.random.default_rng(seed), np.zeros(_DRAWS)
    for asked in rounds:
        shape = _DRAWS, len(asked.seconds)
        factors = generator.lognormal(0, spread, shape) * np.where(
            generator.random(shape) < _STRAGGLERS, _STRAGGLER_FACTOR, 1
        )
        seconds = factors * asked.seconds
        loads = np.stack([seconds[:, first::actors].sum(axis=1) for first in range(min(actors, shape[1]))])
        sent = asked.shared_bytes * min(actors, shape[1]) + asked.own_bytes + asked.answer_bytes
        total += loads.max(axis=0) + 8e-9 * sent / gigabits + _ROUND_SECONDS
    return total


def report(queries: Sequence[Sequence[Asked]], arguments: argparse.Namespace, seed: int) -> Iterator[str]:
    """Lines of two tables: rounds, and seconds of a query by actors."""
    yield "| round | shards asked | ms of a shard: median | worst | kB to each machine | MB to and from all shards |"
    yield "|---|---|---|---|---|---|"
    for number in range(len(queries[0])):
        asked = [query[number] for query in queries if number < len(query)]
        seconds = [each for one in asked for each in one.seconds]
        sent = mean(one.own_bytes + one.answer_bytes for one in asked)
        yield (
            f"| {number + 1} | {mean(len(one.seconds) for one in asked):.0f} | {1e3 * median(seconds):.2f} | "
            f"{1e3 * max(seconds):.2f} | {mean(one.shared_bytes for one in asked) / 1e3:.1f} | {sent / 1e6:.3f} |"
        )
    yield ""
    yield "| actors | s a query (computed): median | one in ten takes longer than |"
    yield "|---|---|---|"
    for actors in _ACTORS:
        if actors <= arguments.num_shards:
            drawn = [computed_seconds(each, actors, arguments.spread, arguments.gigabits, seed) for each in queries]
            low, high = np.quantile(np.concatenate(drawn), (0.5, 0.9))
            yield f"| {actors} | {low:.3f} | {high:.3f} |"


def simulate(index: Path, queries: Path, config: Any, num_shards: int) -> Tuple[List[List[Asked]], int]:
    """The rounds of each query, and the number of photos that are searched."""
    from src.features.feature_file import FeatureFile
    from src.names import bare_name
    from src.retrieval.index_folder import read_manifest, searcher_of
    from src.retrieval.index_search import Compared, SearchOfLocal
    from src.retrieval.shard import SearchSettings, load_shard, shard_of
    from src.retrieval.shard_search import IndexOfShards, open_shard_search
    from src.retrieval.shards import Shards
    from src.retrieval.votes import search_pool

    manifest, executor = read_manifest(index), OneAfterAnother()
    settings, asked = SearchSettings(config.retrieval, config.matching, config.run.seed), []
    with search_pool(config.retrieval.search_threads) as pool, FeatureFile(queries) as file:
        distinct = [load_shard(index / name, settings, pool).index for name in manifest.shard_names]
        copies = [shard_of(distinct[number % len(distinct)], settings, pool) for number in range(num_shards)]
        for number, shard in enumerate(copies):  # each finds for itself what it is asked
            shard.names = [f"{number}/{name}" for name in shard.names]
        shards = Shards(copies, executor)
        whole = IndexOfShards(shards, index, manifest)
        whole.image_names, whole.names = shards.names, [bare_name(name) for name in shards.names]
        with open_shard_search(whole, settings) as search:
            search = SearchOfLocal(search) if searcher_of(manifest) == "votes" else search
            for _, query in Compared(True, False).read(file):
                executor.rounds.clear()
                search.rank(query)
                asked.append(list(executor.rounds))
    return asked, len(shards.names)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--work_dir", default="benchmark_scale", help="folder of the drawn photos (%(default)s)")
    parser.add_argument("--num_shards", type=int, default=1000, help="shards that are asked (default: %(default)s)")
    parser.add_argument("--distinct", type=int, default=5, help="of them, shards that differ (default: %(default)s)")
    parser.add_argument("--shard_photos", type=int, default=1000, help="photos of each (default: %(default)s)")
    parser.add_argument("--num_queries", type=int, default=3, help="queries (default: %(default)s)")
    parser.add_argument("--num_features", type=int, default=1000, help="features of each (default: %(default)s)")
    parser.add_argument("--spread", type=float, default=0.3, help="of a shard's seconds, log-normal (%(default)s)")
    parser.add_argument("--gigabits", type=float, default=10.0, help="a second, of the network (default: %(default)s)")


COMMAND = Command(
    __doc__, "--searcher votes --index_type IVF1024,PQ20 --num_shards 1000",
    keys=(
        "searcher", "seed", *(name for name in INDEX_KEYS if name not in REGION_KEYS), "query_assignments", "asmk_idf",
        "num_neighbors", "search_distance", "nprobe", "num_rerank", "num_ranked", "search_threads", "shard_search",
    ),
    shown=(
        "work_dir", "num_shards", "distinct", "shard_photos", "num_queries", "num_features", "spread", "gigabits",
        "searcher", "index_type", "num_ranked",
    ),
    add_arguments=_arguments,
    defaults={"searcher": "votes", "num_ranked": 1000},
)  # fmt: skip


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Draw, index, ask, and print the tables."""
    config, arguments = COMMAND.parse(argv)
    if not 1 <= arguments.distinct <= arguments.num_shards or not arguments.num_queries or not arguments.gigabits:
        raise UserError("--distinct must be at least 1 and at most --num_shards, --num_queries and --gigabits above 0")
    if config.retrieval.searcher not in ("votes", "asmk", "asmk_star"):
        raise UserError("--searcher: votes, asmk or asmk_star are simulated")
    from src.retrieval.build import build_index
    from tools.benchmarks.planted import SetSize, write_planted_set

    run, retrieval, photos = config.run, config.retrieval, arguments.distinct * arguments.shard_photos
    size = SetSize(photos, arguments.num_queries, arguments.num_features, 40, 1, run.seed)
    made, start = write_planted_set(arguments.work_dir, size), time.perf_counter()
    index = Path(arguments.work_dir) / f"index_{retrieval.searcher}"
    how = retrieval.index_type, run.seed, True, retrieval.searcher, retrieval, arguments.shard_photos
    build_index(made.photos, index, *how)
    seconds = time.perf_counter() - start
    disk = sum(path.stat().st_size for path in index.rglob("shard_*/*")) / photos
    queries, count = simulate(index, made.queries, config, arguments.num_shards)
    print(
        f"{retrieval.searcher}, {arguments.num_shards} shards, {count:,} photos: {disk / 1e3:.2f} kB a photo on disk, "
        f"{seconds / photos * 1e3:.1f} ms to index one; asked one after the other "
        f"{mean(sum(sum(asked.seconds) for asked in query) for query in queries):.1f} s a query\n"
    )
    for line in report(queries, arguments, run.seed):
        print(line)


if __name__ == "__main__":
    run_command(main)
