"""Times retrieval on a drawn set beside an exact search and, if annoy is installed, the model zoo's way."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import argparse
from importlib.util import find_spec
from statistics import mean
from typing import Any, NamedTuple, Optional, Sequence

from src.commands.command_line import Command, run_command
from src.config import Config, RetrievalConfig, keys_of
from src.errors import UserError
from src.retrieval_config import GLOBAL_KEYS
from tools.benchmarks.commands import Cost, run_measured

MOST_SECONDS, MOST_GIGABYTES, MOST_POINTS_LOST, LEAST_RATIO = 180, 4, 1, 100  # promised of the full set on two cores
MODEL_ZOO_QUERIES, MODEL_ZOO_PHOTOS, TOP = 2, 100, 10


class Retrieved(NamedTuple):
    """Timings of the two commands, what they made, and whether the index was there before."""

    build: Cost
    search: Cost
    ranking: Any
    index_type: str
    was_there: bool


def retrieve(folder: Path, photos: Path, queries: Path, index_type: str, name: str, config: Config) -> Retrieved:
    """Build an index, unless it is there, and search it anew, by the real commands."""
    from src.retrieval.index_folder import read_manifest
    from src.retrieval.ranking_file import load_ranking

    index, ranks = folder / f"index_{name}", folder / f"ranks_{name}.npz"
    was_there = index.exists() and not config.run.overwrite
    wanted = [f"--index_type={index_type}", f"--overwrite={config.run.overwrite}", f"--seed={config.run.seed}"]
    build = run_measured("eval/build_index.py", f"--features={photos}", f"--output={index}", *wanted)
    keys = keys_of(RetrievalConfig, but=("index_type", *GLOBAL_KEYS))
    options = [f"--{key}={value}" for key, value in config.retrieval.values().items() if key in keys]
    files = [f"--index={index}", f"--query_features={queries}", f"--output={ranks}"]
    search = run_measured("eval/perform_retrieval.py", *files, "--overwrite", f"--seed={config.run.seed}", *options)
    return Retrieved(
        build, search, load_ranking(ranks)[0], read_manifest(index).provenance.settings["index_type"], was_there
    )


def say(text: str, met: Optional[bool] = None, promise: str = "") -> None:
    """Print a result, and whether it is what is promised."""
    print(text if met is None else f"{text}  [{'met' if met else 'MISSED'}: {promise}]", flush=True)


def measure_ours(made: Any, folder: Path, config: Config) -> Retrieved:
    """Time this project and print what it takes."""
    ours = retrieve(folder, made.photos, made.queries, config.retrieval.index_type, "ours", config)
    built = "was there" if ours.was_there else f"made in {ours.build.seconds:.0f} s, peak {ours.build.gigabytes:.2f} GB"
    say(f"index: {ours.index_type}, {built}")
    count, (seconds, _, gigabytes) = len(ours.ranking.query_names), ours.search
    each = f"{count} queries in {seconds:.1f} s, {seconds / count:.2f} s each"
    say(f"search and verification: {each}", seconds < MOST_SECONDS, f"under {MOST_SECONDS} s")
    say(f"peak memory of the search: {gigabytes:.2f} GB", gigabytes < MOST_GIGABYTES, f"under {MOST_GIGABYTES} GB")
    return ours


def print_profile(made: Any, folder: Path, few: int, config: Config) -> None:
    """Print what the parts of a query take, with one thread and with all."""
    from src.features.feature_file import FeatureFile
    from src.retrieval.index import load_index
    from src.retrieval.votes import num_cores
    from tools.benchmarks.query_profile import profile_query

    index = load_index(folder / "index_ours")
    with FeatureFile(made.queries) as source:
        queries = [source.read(name) for name in source.names[: few + 1]]
    for threads in dict.fromkeys((1, num_cores())):
        say(f"a query, {profile_query(index, queries, config.retrieval, config.matching, threads)}")


def compare_with_flat(made: Any, ranking: Any, folder: Path, few: int, config: Config) -> None:
    """Print how much of what an exact search finds is found; the exact search is slow: a few queries."""
    from tools.benchmarks.planted import inliers_of, recall_at, write_few_queries

    flat = retrieve(folder, made.photos, write_few_queries(made, few), "Flat", "flat", config)
    say(f"Flat: {few} queries in {flat.search.seconds:.1f} s, {flat.search.seconds / few:.2f} s each")
    ours, exact = (recall_at(each, made.planted, TOP) for each in (ranking, flat.ranking))
    percent, of_flat = (100 * mean(shares[name] for name in exact) for shares in (ours, exact))
    promise = f"within {MOST_POINTS_LOST} point"
    text = f"recall of planted photos in the top {TOP}, {few} queries: {percent:.1f} %, Flat {of_flat:.1f} %"
    say(text, percent >= of_flat - MOST_POINTS_LOST, promise)
    percent = 100 * mean(ours.values())
    text = f"recall of planted photos in the top {TOP}, all {len(ours)} queries: {percent:.1f} %, Flat 100 % at most"
    say(text, percent >= 100 - MOST_POINTS_LOST, promise)
    ours, exact = (inliers_of(each, made.planted) for each in (ranking, flat.ranking))
    percent, of_flat = (mean(inliers[name] for name in exact) for inliers in (ours, exact))
    say(f"inliers of a planted photo, {few} queries: {percent:.1f}, Flat {of_flat:.1f}")


def measure_model_zoo(made: Any, threads: int, seed: int) -> float:
    """Time the model zoo's way; returns seconds a query."""
    from src.features.feature_file import FeatureFile
    from tools.benchmarks.model_zoo import NUM_TREES, time_model_zoo

    with FeatureFile(made.photos) as photos, FeatureFile(made.queries) as queries:
        few = [queries.read(name) for name in queries.names[:MODEL_ZOO_QUERIES]]
        timing = time_model_zoo(photos, few, MODEL_ZOO_PHOTOS, threads, seed)
    say(f"model-zoo way: Annoy with {NUM_TREES} trees made in {timing.build:.0f} s (not counted below)")
    say(
        f"model-zoo way: look-up {timing.look_up:.2f} s a query; scikit-image RANSAC {timing.ransac:.3f} s a photo, "
        f"{timing.candidates:.0f} candidates a query: {timing.query:.0f} s a query (scaled)"
    )
    return timing.query


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--work_dir", default="benchmark_retrieval", help="folder of the drawn set (%(default)s)")
    parser.add_argument("--num_photos", type=int, default=5000, help="index photos (default: %(default)s)")
    parser.add_argument("--num_queries", type=int, default=55, help="queries (default: %(default)s)")
    parser.add_argument("--num_features", type=int, default=1000, help="features of each (default: %(default)s)")
    parser.add_argument("--dimension", type=int, default=40, help="of the descriptors (default: %(default)s)")
    parser.add_argument("--planted", type=int, default=8, help="photos of each query (default: %(default)s)")
    parser.add_argument("--flat_queries", type=int, default=4, help="queries searched exactly too (%(default)s)")


COMMAND = Command(
    summary=__doc__,
    example="--num_photos 5000 --num_queries 55",
    keys=("seed", "overwrite", *keys_of(RetrievalConfig, but=GLOBAL_KEYS)),
    shown=("work_dir", "num_photos", "num_queries", "num_features", "planted", "flat_queries", "index_type"),
    add_arguments=_add_arguments,
)


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Measure and print."""
    config, arguments = COMMAND.parse(argv)
    if not 1 <= arguments.planted * arguments.num_queries <= arguments.num_photos or arguments.flat_queries < 1:
        raise UserError("--num_photos must be --num_queries times --planted at least, and all of them 1 at least")
    from src.retrieval.votes import num_cores
    from tools.benchmarks.planted import SetSize, write_planted_set

    folder, threads = Path(arguments.work_dir), config.retrieval.search_threads or num_cores()
    few = min(arguments.flat_queries, arguments.num_queries)
    size = (arguments.num_photos, arguments.num_queries, arguments.num_features, arguments.dimension)
    made = write_planted_set(folder, SetSize(*size, arguments.planted, config.run.seed))
    say("set: {} photos and {} queries of {} features x {}-D, ".format(*size) + f"{threads} threads")
    ours = measure_ours(made, folder, config)
    print_profile(made, folder, few, config)
    compare_with_flat(made, ours.ranking, folder, few, config)
    if find_spec("annoy") is None:
        say("model-zoo way: left out: run 'pip install annoy', which only this comparison needs")
        return
    ratio = measure_model_zoo(made, threads, config.run.seed) / (ours.search.seconds / len(ours.ranking.query_names))
    say(f"this project is {ratio:.0f} times as fast a query", ratio >= LEAST_RATIO, f"at least {LEAST_RATIO} times")


if __name__ == "__main__":
    run_command(main)
