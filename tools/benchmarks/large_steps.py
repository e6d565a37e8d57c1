"""Peak memory of training steps by average precision, whose photos pass the network in chunks.

The photos are noise, drawn anew for each pass, so that they take no memory. Each number of photos has a process of its
own.
"""

import argparse
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Iterator, List, NamedTuple, Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from src.commands.command_line import Command, run_command
from src.config import Config
from src.errors import UserError

if TYPE_CHECKING:
    from src.training.streams import LargeBatch

PHOTOS_A_CLASS = 4
STEPS = 2  # the first compiles


class Cost(NamedTuple):
    """Of a process that made ``STEPS`` steps: the most memory it held, GB, and seconds of the last step."""

    peak_memory: float
    seconds: float


def drawn_batch(photos: int, image_size: int, chunk_size: int) -> "LargeBatch":
    """A step of ``photos`` of noise, four of each class, the same in each pass."""
    from src.training.streams import LargeBatch

    def chunks() -> Iterator[np.ndarray]:
        for first in range(0, photos, chunk_size):
            shape = min(chunk_size, photos - first), 3, image_size, image_size
            yield np.random.default_rng(first).standard_normal(shape, np.float32)

    return LargeBatch(np.arange(photos) // PHOTOS_A_CLASS, [""] * photos, 0, chunks)


def measure(photos: int, config: Config) -> Cost:
    """Make the steps in this process; the network has random weights."""
    from src.device import set_up_training_device
    from src.training.model_card import peak_memory
    from src.training.multi_stage import MultiStageStep
    from src.training.networks import AsTrained, build_global_network
    from src.training.optimizers import metric_groups
    from src.training.schedule import metric_schedule
    from src.training.vector_losses import make_vector_loss

    training, metric = config.training, config.metric
    set_up_training_device(config.run.device_target, config.run.seed, training.amp_level)
    learner = AsTrained(build_global_network(config.model, training, metric, config.descriptor))
    schedule, groups = metric_schedule(training, metric, 1), metric_groups(learner, metric)
    step = MultiStageStep(learner, training, make_vector_loss(metric), metric.chunk_size, schedule, groups)
    step.set_train()
    batch, started = drawn_batch(photos, training.image_size, metric.chunk_size), 0.0
    for _ in range(STEPS):
        started = time.perf_counter()
        step.make(batch, False)
    return Cost(peak_memory(), time.perf_counter() - started)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--photos", type=int, nargs="+", default=[64, 1024], help="numbers of photos of a step (default: 64 1024)"
    )


COMMAND = Command(
    __doc__, "--photos 64 1024 --chunk_size 16 --image_size 97",
    keys=(
        "device_target", "seed", "architecture", "weights_style", "kernel_init", "chunk_size", "image_size",
        "frozen_stages", "ap_bins", "pooling", "descriptor_layer", "head", "head_dim",
    ),
    shown=("photos", "chunk_size", "image_size", "architecture", "frozen_stages"),
    add_arguments=_arguments,
)  # fmt: skip


def main(argv: Optional[List[str]] = None) -> None:
    """Print a row for each number of photos."""
    config, arguments = COMMAND.parse(argv)
    if min(arguments.photos) < 2:
        raise UserError("--photos are numbers of 2 or more")
    config = Config(**{**config.values(), "train_state": "global", "loss": "ap"})
    print(f"| photos a step, {config.metric.chunk_size} at a time | peak memory, GB | seconds a step |\n|---|---|---|")
    for photos in arguments.photos:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as process:
            cost = process.submit(measure, photos, config).result()
        print(f"| {photos} | {cost.peak_memory:.2f} | {cost.seconds:.1f} |", flush=True)


if __name__ == "__main__":
    run_command(main)
