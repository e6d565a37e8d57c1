"""Measure speed: `run.py train` a training step, `read` the data reader, `extract` the engines of extraction.

`run.py train --help`, `read --help` and `extract --help` say more.
"""

import argparse
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Dict, List, Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from src.commands.command_line import parse_command_line, run_command
from src.config import Config
from src.errors import UserError
from tools.benchmarks.extract import benchmark_extraction

STAGES = ("tuning", "attn")
PYTORCH_SCRIPT = Path(__file__).with_name("pytorch.py")
TRAIN_HELP = """Time a training step of stages tuning and attn: the compilation, then the median of later steps.

The steps are made on random photos. With --traindata_path, steps on its photos follow, which say how much of the time
training waits for them. Random weights serve both stages."""


def _add_train_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--steps", type=int, default=10, help="steps that count (default: %(default)s)")
    parser.add_argument(
        "--num_classes",
        type=int,
        default=64,
        help="classes, where --traindata_path does not say (default: %(default)s)",
    )
    parser.add_argument("--pytorch", action="store_true", help="in turns with the same step in eager PyTorch")
    parser.add_argument(
        "--pytorch_python", default=sys.executable, metavar="PATH",
        help="Python of an environment that has PyTorch (default: this one)",
    )  # fmt: skip


def benchmark_training(argv: List[str]) -> None:
    """Print the times of both stages."""
    config, arguments = parse_command_line(TRAIN_HELP, ["run", "model", "training"], _add_train_arguments, argv)
    if min(arguments.steps, arguments.num_classes) < 1:
        raise UserError(f"--steps {arguments.steps}, --num_classes {arguments.num_classes}: both must be 1 or more")
    from src.data.reader import dataset_info
    from src.device import set_up_training_device
    from tools.benchmarks.training_steps import StageBenchmark, pytorch_yardstick, time_in_turns

    info = dataset_info(config.traindata_path) if config.traindata_path else None
    set_up_training_device(config.device_target, config.seed, config.amp_level)
    num_classes = info.num_classes if info else arguments.num_classes
    print(f"steps of {config.batch_size} photos of {config.image_size} px, {num_classes} classes")
    stages, runners = {}, {}
    with ExitStack() as processes:
        for name in STAGES:
            stages[name] = StageBenchmark(config.replace(train_state=name), num_classes)
            print(f"  {name:6}  first step, which compiles {stages[name].compile_seconds:8.1f} s", flush=True)
            runners[name] = stages[name].time_step
            if arguments.pytorch:
                command = _pytorch_command(arguments.pytorch_python, name, num_classes, config)
                runners[f"{name}, PyTorch"] = processes.enter_context(pytorch_yardstick(command))
        _print_times(time_in_turns(runners, arguments.steps), config.batch_size)
    if info is None:
        print("no --traindata_path: random photos only, waiting for data is not measured")
    for name in STAGES if info else ():
        speed, wait = stages[name].train_on(info, arguments.steps)
        print(f"  {name:6}  on the photos of {info.folder.name}: {speed:.1f} photos/s, {wait:.1%} waiting for data")


def _pytorch_command(python: str, stage: str, num_classes: int, config: Config) -> List[str]:
    sizes = {"num_classes": num_classes, "batch_size": config.batch_size, "image_size": config.image_size}
    return [python, str(PYTORCH_SCRIPT), *(f"--{name}={value}" for name, value in {"stage": stage, **sizes}.items())]


def _print_times(times: Dict[str, Any], batch_size: int) -> None:
    """Medians over the turns; a ratio is the median of the turns' ratios."""
    for name in STAGES:
        median = np.median(times[name])
        print(f"  {name:6}  step {median:8.0f} ms, {1000 * batch_size / median:.1f} photos/s")
        other = times.get(f"{name}, PyTorch")
        if other is not None:
            ratio = np.median(times[name] / other)
            print(f"  {name:6}  the same in eager PyTorch {np.median(other):8.0f} ms: {ratio:.2f} times its time")
    print(f"  attn's step is {np.median(times['tuning'] / times['attn']):.2f} times as fast as tuning's")


READ_HELP = """Time reading, decoding and cropping training photos of --traindata_path, by number of threads."""


def _add_read_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", default="1,2,4", help="numbers of threads to try (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="batches for each of them (default: %(default)s)")


def benchmark_reading(argv: List[str]) -> None:
    """Print photos per second for each number of threads."""
    config, arguments = parse_command_line(READ_HELP, ["run", "training"], _add_read_arguments, argv)
    if arguments.steps < 1 or not all(part.isdigit() and int(part) for part in arguments.threads.split(",")):
        raise UserError(f"--steps {arguments.steps}, --threads {arguments.threads}: numbers of 1 or more, as in 1,2,4")
    from src.data.reader import TrainingStream, dataset_info

    info = dataset_info(config.traindata_path)
    print(f"{info.num_train} photos, crops of {config.image_size} px, batches of {config.batch_size}")
    for threads in map(int, arguments.threads.split(",")):
        stream = TrainingStream(config.replace(num_workers=threads), info)
        batches = stream.batches(arguments.steps + 1)
        next(batches)  # opening the shards
        started = time.monotonic()
        photos = sum(len(batch.labels) for batch in batches)
        print(f"  {threads} threads {photos / (time.monotonic() - started):8.1f} photos/s", flush=True)


COMMANDS = {"train": benchmark_training, "read": benchmark_reading, "extract": benchmark_extraction}


def main(argv: Optional[List[str]] = None) -> None:
    """Hand the arguments to the command that the first one names."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=sorted(COMMANDS))
    COMMANDS[parser.parse_args(argv[:1]).command](argv[1:])


if __name__ == "__main__":
    run_command(main)
