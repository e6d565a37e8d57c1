"""Time and memory of every long job as the photos grow: once, 2, 4 and 8 times as many, by the real commands.

Time is that of all cores, which other work on the machine disturbs least; memory is the peak of one process. Both hold
what a command costs before it begins, so exponents of small sets are low; those of the last doubling say more.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import argparse
import tempfile
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from src.commands.command_line import Command, run_command
from src.errors import UserError
from tools.benchmarks.commands import Cost, run_measured

TIMES = (1, 2, 4, 8)
NUM_QUERIES, NUM_FEATURES, DIMENSION, PLANTED = 20, 200, 40, 4
NETWORK = ("--architecture", "resnet18")


class Sized(NamedTuple):
    """What one size is measured in: its folder, and the number of photos."""

    folder: Path
    photos: int

    @property
    def lists(self) -> int:
        """Inverted lists that an index of so many descriptors has when they are chosen by size."""
        return 2 ** round(np.log2(4 * np.sqrt(self.photos * NUM_FEATURES)))


Job = Callable[[Sized, Path], Cost]


def extract(size: Sized, log: Path) -> Cost:
    """Features of the photos, by a small network at one scale."""
    network = size.folder / "network.ckpt"
    run_measured("tools/make_untrained_checkpoint.py", *NETWORK, "--output", network, log=log)
    return run_measured(
        "eval/extract_features.py", "--checkpoint_path", network, *NETWORK, "--images_path", size.folder / "train",
        "--output", size.folder / "extracted.h5", "--image_scales", "1", "--max_image_size", 128, log=log,
    )  # fmt: skip


def build_dataset(size: Sized, log: Path) -> Cost:
    """Shards of the photos."""
    return run_measured(
        "build_image_dataset.py", "--train_clean_csv_path", size.folder / f"clean_{size.photos}.csv",
        "--train_directory", size.folder / "train", "--output_directory", size.folder / "shards", "--num_shards", 4,
        log=log,
    )  # fmt: skip


def read_dataset(size: Sized, log: Path) -> Cost:
    """Every photo of the shards once, decoded and cropped."""
    return run_measured(
        "tools/benchmarks/run.py", "read", "--traindata_path", size.folder / "shards", "--threads", 2, "--batch_size",
        16, "--steps", size.photos // 16, "--image_size", 97, log=log,
    )  # fmt: skip


def train(size: Sized, log: Path) -> Cost:
    """Stage tuning, every photo once."""
    return run_measured(
        "train.py", *NETWORK, "--train_state", "tuning", "--traindata_path", size.folder / "shards", "--image_size", 65,
        "--batch_size", 16, "--max_iters", size.photos // 16, "--eval_steps", 10**6, "--save_ckpt_step", 10**6,
        "--save_ckpt", size.folder / "run", log=log,
    )  # fmt: skip


def index_job(name: str, *options: str) -> Job:
    """Building an index ``name``; {lists} and {words} of the options are filled in."""

    def build(size: Sized, log: Path) -> Cost:
        own = (option.format(lists=size.lists, words=size.folder / "words.npz") for option in options)
        where = ("--features", size.folder / "photos.h5", "--output", size.folder / name)
        return run_measured("eval/build_index.py", *where, *own, log=log)

    return build


def search_job(name: str) -> Job:
    """Ranking all photos of the index ``name`` for every query, the best of them verified."""

    def search(size: Sized, log: Path) -> Cost:
        files = ("--index", size.folder / name, "--query_features", size.folder / "queries.h5")
        return run_measured("eval/perform_retrieval.py", *files, "--output", size.folder / f"ranks_{name}.npz", log=log)

    return search


def codebook_job(size: Sized, log: Path) -> Cost:
    """Visual words of a part of the photos, as many for every size."""
    return run_measured(
        "tools/learn_codebook.py", "--features", size.folder / "photos.h5", "--output", size.folder / "words.npz",
        "--codebook_size", 512, log=log,
    )  # fmt: skip


JOBS: Dict[str, Job] = {
    "data set builder": build_dataset,
    "data set reader, one epoch": read_dataset,
    "training (tuning), one epoch": train,
    "extraction": extract,
    "index by votes, inverted lists": index_job("lists", "--index_type", "IVF{lists},Flat"),
    "search in it": search_job("lists"),
    "index by votes, exact": index_job("flat", "--index_type", "Flat"),
    "search in it, exact": search_job("flat"),
    "visual words": codebook_job,
    "index of ASMK*": index_job("words", "--searcher", "asmk_star", "--codebook_path", "{words}"),
    "search in it, ASMK*": search_job("words"),
}


def exponents(values: Sequence[float]) -> Tuple[float, float]:
    """The power of the size by which ``values``, one for each of ``TIMES``, grow: of all of them, of the last doubling.

    The first is the slope of a line fitted to the logarithms (least squares).
    """
    logarithms = np.log2(values)
    return float(np.polyfit(np.log2(TIMES), logarithms, 1)[0]), float(logarithms[-1] - logarithms[-2])


def table_row(name: str, costs: Sequence[Cost]) -> str:
    """One line of the table in Markdown."""
    seconds, gigabytes = ([getattr(cost, each) for cost in costs] for each in ("cpu_seconds", "gigabytes"))
    cells = [name, " / ".join(f"{value:.1f}" for value in seconds), "{:.2f} | {:.2f}".format(*exponents(seconds))]
    cells += [" / ".join(f"{value:.2f}" for value in gigabytes), "{:.2f} | {:.2f}".format(*exponents(gigabytes))]
    return f"| {' | '.join(cells)} |"


def _prepare(folder: Path, photos: int, seed: int) -> Sized:
    from tools.benchmarks.builder import draw_photos, write_list
    from tools.benchmarks.planted import SetSize, write_planted_set

    folder.mkdir()
    draw_photos(folder, photos)
    write_list(folder, photos)
    write_planted_set(folder, SetSize(photos, NUM_QUERIES, NUM_FEATURES, DIMENSION, PLANTED, seed))
    return Sized(folder, photos)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--num_photos", type=int, default=400, help="photos of the smallest set (default: %(default)s)")
    parser.add_argument("--jobs", nargs="+", default=list(JOBS), choices=JOBS, metavar="JOB", help="which (all)")


COMMAND = Command(
    summary=__doc__,
    example="--num_photos 400",
    keys=("seed",),
    shown=("num_photos", "jobs"),
    add_arguments=_arguments,
)


def main(argv: Optional[List[str]] = None) -> None:
    """Measure and print the table."""
    config, arguments = COMMAND.parse(argv)
    if arguments.num_photos < PLANTED * NUM_QUERIES:
        raise UserError(f"--num_photos is {arguments.num_photos}; it must be {PLANTED * NUM_QUERIES} or more")
    with tempfile.TemporaryDirectory() as name:
        sizes = [_prepare(Path(name) / str(times), times * arguments.num_photos, config.run.seed) for times in TIMES]
        counts = " / ".join(str(size.photos) for size in sizes)
        print(f"photos: {counts}; {NUM_FEATURES} features of {DIMENSION} numbers each, {NUM_QUERIES} queries\n")
        print("| job | CPU seconds | exponent | last doubling | peak GB | exponent | last doubling |")
        print("|" + "---|" * 7, flush=True)
        for job in arguments.jobs:
            costs = [JOBS[job](size, Path(name) / "log.txt") for size in sizes]
            print(table_row(job, costs), flush=True)


if __name__ == "__main__":
    run_command(main)
