"""Measure speed: `run.py train` a training step, `read` the data reader, `extract` the engines of extraction.

`all` runs these and the other benchmarks and writes a page. `run.py train --help` and the like say more.
"""

import argparse
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Dict, List, Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from src.commands.command_line import Command, run_command
from src.config import TrainingConfig
from src.errors import UserError
from tools.benchmarks.extract import benchmark_extraction
from tools.benchmarks.page import write_page

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


TRAIN = Command(
    summary=TRAIN_HELP,
    example="--batch_size=8 --steps=10",
    keys=(
        "device_target", "seed", "num_workers", "architecture", "weights_style", "kernel_init", "kernel_init_gain",
        "residual_gamma", "attention_init", "batch_norm_momentum", "traindata_path", "amp_level", "batch_size",
        "max_iters", "image_size", "use_augmentation", "min_crop_area", "initial_lr", "momentum", "clip_norm",
    ),
    shown=("steps", "num_classes", "pytorch", "pytorch_python", "traindata_path", "batch_size", "image_size"),
    add_arguments=_add_train_arguments,
)  # fmt: skip


def benchmark_training(argv: List[str]) -> None:
    """Print the times of both stages."""
    config, arguments = TRAIN.parse(argv)
    if min(arguments.steps, arguments.num_classes) < 1:
        raise UserError(f"--steps {arguments.steps}, --num_classes {arguments.num_classes}: both must be 1 or more")
    from src.data.summary import dataset_info
    from src.device import set_up_training_device
    from tools.benchmarks.training_steps import StageBenchmark, pytorch_yardstick, time_in_turns

    run, training = config.run, config.training
    info = dataset_info(training.traindata_path) if training.traindata_path else None
    set_up_training_device(run.device_target, run.seed, training.amp_level)
    num_classes = info.num_classes if info else arguments.num_classes
    print(f"steps of {training.batch_size} photos of {training.image_size} px, {num_classes} classes")
    stages, runners = {}, {}
    with ExitStack() as processes:
        for name in STAGES:
            of_stage = training.replace(train_state=name)
            stages[name] = StageBenchmark(config.model, of_stage, num_classes, run.seed, run.num_workers)
            print(f"  {name:6}  first step, which compiles {stages[name].compile_seconds:8.1f} s", flush=True)
            runners[name] = stages[name].time_step
            if arguments.pytorch:
                command = _pytorch_command(arguments.pytorch_python, name, num_classes, training)
                runners[f"{name}, PyTorch"] = processes.enter_context(pytorch_yardstick(command))
        _print_times(time_in_turns(runners, arguments.steps), training.batch_size)
    if info is None:
        print("no --traindata_path: random photos only, waiting for data is not measured")
    for name in STAGES if info else ():
        speed, wait = stages[name].train_on(info, arguments.steps)
        print(f"  {name:6}  on the photos of {info.folder.name}: {speed:.1f} photos/s, {wait:.1%} waiting for data")


def _pytorch_command(python: str, stage: str, num_classes: int, training: TrainingConfig) -> List[str]:
    sizes = {"num_classes": num_classes, "batch_size": training.batch_size, "image_size": training.image_size}
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


READ = Command(
    summary=READ_HELP,
    example="--traindata_path=mindrecord/train.mindrecord000 --threads=1,2,4",
    keys=("traindata_path", "batch_size", "image_size", "use_augmentation", "min_crop_area", "seed"),
    shown=("threads", "steps", "traindata_path", "batch_size", "image_size"),
    add_arguments=_add_read_arguments,
)


def benchmark_reading(argv: List[str]) -> None:
    """Print photos per second for each number of threads."""
    config, arguments = READ.parse(argv)
    if arguments.steps < 1 or not all(part.isdigit() and int(part) for part in arguments.threads.split(",")):
        raise UserError(f"--steps {arguments.steps}, --threads {arguments.threads}: numbers of 1 or more, as in 1,2,4")
    from src.data.reader import TrainingStream
    from src.data.summary import dataset_info

    training = config.training
    info = dataset_info(training.traindata_path)
    print(f"{info.num_train} photos, crops of {training.image_size} px, batches of {training.batch_size}")
    for threads in map(int, arguments.threads.split(",")):
        stream = TrainingStream(training, info, config.run.seed, threads)
        batches = stream.batches(arguments.steps + 1)
        next(batches)  # opening the shards
        started = time.monotonic()
        photos = sum(len(batch.labels) for batch in batches)
        print(f"  {threads} threads {photos / (time.monotonic() - started):8.1f} photos/s", flush=True)


COMMANDS = {"train": benchmark_training, "read": benchmark_reading, "extract": benchmark_extraction, "all": write_page}


def main(argv: Optional[List[str]] = None) -> None:
    """Hand the arguments to the command that the first one names."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=sorted(COMMANDS))
    COMMANDS[parser.parse_args(argv[:1]).command](argv[1:])


if __name__ == "__main__":
    run_command(main)
