"""Memory, disk, build and query time of an index by its number of photos: measured for some, computed for more."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Dict, List, Optional, Sequence

from src.commands.command_line import Command, run_command
from src.config import RetrievalConfig, keys_of
from src.errors import UserError
from src.retrieval_config import GLOBAL_KEYS

TARGETS = (5_000, 100_000, 1_000_000)  # photos


def table_row(target: int, part: int, index_type: str, cost: Any, feature_bytes: int) -> str:
    """One line of the table in Markdown; all but what is fixed grows with the number of photos."""
    ratio, timing = target / part, cost.timings[target]
    memory = cost.fixed_bytes + (cost.memory_bytes - cost.fixed_bytes) * ratio
    disk = memory + (cost.disk_bytes - cost.memory_bytes) * ratio
    build = _duration(cost.train_seconds + cost.add_seconds * ratio)
    query = timing.query_seconds + timing.search_seconds * (1 / timing.share - 1)
    sizes = " | ".join(f"{size / 1e9:.2f} GB" for size in (memory, disk, feature_bytes * ratio))
    kind = "measured" if ratio == 1 else f"computed from {part:,}"
    return f"| {target:,} | `{index_type}` | {sizes} | {build} | {_duration(query)} | {kind} |"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--work_dir", default="benchmark_index", help="folder of the drawn photos (%(default)s)")
    parser.add_argument("--num_photos", type=int, default=5000, help="photos that are really indexed (%(default)s)")
    parser.add_argument("--num_features", type=int, default=1000, help="features of each (default: %(default)s)")
    parser.add_argument("--dimension", type=int, default=40, help="of the descriptors (default: %(default)s)")
    parser.add_argument("--targets", type=int, nargs="+", default=TARGETS, help="photos of each row %(default)s")


COMMAND = Command(
    summary=__doc__,
    example="--num_photos 5000 --targets 5000 100000 1000000",
    keys=("seed", *keys_of(RetrievalConfig, but=("keep_matches", *GLOBAL_KEYS))),
    shown=("work_dir", "num_photos", "num_features", "dimension", "targets", "index_type", "search_threads"),
    add_arguments=_arguments,
)


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Measure and print the table."""
    config, arguments = COMMAND.parse(argv)
    from src.retrieval.index_types import choose_index_type
    from tools.benchmarks.index_cost import NUM_QUERIES, measure
    from tools.benchmarks.planted import SetSize, write_planted_set

    part, features = arguments.num_photos, arguments.num_features
    if part < NUM_QUERIES or min(arguments.targets) < part:
        most = min(arguments.targets)
        raise UserError(f"--num_photos is {part}; give {NUM_QUERIES} to {most}, the least of --targets")
    size = SetSize(part, NUM_QUERIES, features, arguments.dimension, planted=1, seed=config.run.seed)
    made = write_planted_set(arguments.work_dir, size)
    targets_of: Dict[str, List[int]] = {}
    for target in arguments.targets:
        index_type = config.retrieval.index_type or choose_index_type(target * features, arguments.dimension)
        targets_of.setdefault(index_type, []).append(target)
    print("| photos | index | memory | disk: index | disk: features | build | query | |")
    print("|---|---|---|---|---|---|---|---|")
    for index_type, targets in targets_of.items():
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:  # a peak memory of its own
            cost = process.submit(measure, made, index_type, targets, config.retrieval, config.run.seed).result()
        for target in targets:
            print(table_row(target, part, index_type, cost, made.photos.stat().st_size), flush=True)
        print(
            f"{index_type} of {part} photos: trained in {cost.train_seconds:.0f} s, "
            f"filled in {cost.add_seconds:.0f} s, "
            f"peak {cost.peak_bytes / 1e9:.2f} GB, {cost.memory_bytes / (part * features):.2f} bytes a descriptor",
            file=sys.stderr,
        )


if __name__ == "__main__":
    run_command(main)
