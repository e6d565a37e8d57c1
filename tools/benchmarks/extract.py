"""`run.py extract`: the engines of extraction side by side."""

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Sequence

import numpy as np

from src.commands.command_line import NETWORK_KEYS, Command
from src.config import Config, ExtractionConfig, keys_of
from src.errors import UserError

HELP = """Time the extraction of one photo of 1024 x 768 in every engine installed, in turns, a process each.

Prints milliseconds, photos a second and peak memory, and how far the features are from those of the first line."""


PYTORCH, COMPILED = "PyTorch, eager", "PyTorch, compiled"
UNFOLDED = "MindSpore, unfolded"  # its BatchNorm apart, as trained and as the model zoo extracts


class Engine(NamedTuple):
    """An engine at a precision, and what it extracted in each turn."""

    name: str
    extract: Callable
    measured: List

    def time(self) -> float:
        """Milliseconds of one more extraction."""
        self.measured.append(self.extract())
        return self.measured[-1].milliseconds


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--image", default="", help="photo to extract (default: one that is drawn)")
    parser.add_argument("--turns", type=int, default=5, help="extractions that count (default: %(default)s)")
    parser.add_argument(
        "--model_zoo",
        action="store_true",
        help="also the model zoo's way: all levels padded to 2048 x 2048, one batch for the unfolded network (8 GB)",
    )
    parser.add_argument("--int8", default="", metavar="FILE", help="also this 8-bit export of the checkpoint")
    parser.add_argument("--pytorch", action="store_true", help="also the network alone in eager PyTorch")
    parser.add_argument("--compile", action="store_true", help="also by torch.compile, which needs a C++ compiler")
    parser.add_argument(
        "--pytorch_python", default=sys.executable, metavar="PATH",
        help="Python of an environment that has PyTorch (default: this one)",
    )  # fmt: skip


EXTRACT = Command(
    summary=HELP,
    example="--checkpoint_path net.ckpt",
    keys=(
        *(name for name in NETWORK_KEYS if name not in ("engine", "precision")),
        *keys_of(ExtractionConfig, but=("half",)),
    ),
    shown=(
        "image", "turns", "model_zoo", "int8", "pytorch", "compile", "checkpoint_path", "pca_path", "image_scales",
        "max_image_size",
    ),
    add_arguments=_add_arguments,
)  # fmt: skip


def benchmark_extraction(argv: List[str]) -> None:
    """Print what each engine costs and how far its features are from the first one's."""
    config, arguments = EXTRACT.parse(argv)
    if arguments.turns < 1:
        raise UserError(f"--turns is {arguments.turns}; it must be 1 or more")
    peers = {name for name, wanted in ((PYTORCH, arguments.pytorch), (COMPILED, arguments.compile)) if wanted}
    from src.images import load_image
    from tools.benchmarks.extraction_processes import draw_photo
    from tools.benchmarks.training_steps import pytorch_yardstick, time_in_turns

    photo = load_image(arguments.image) if arguments.image else draw_photo()
    print(
        f"a photo of {photo.shape[1]} x {photo.shape[0]} pixels at {len(config.extraction.image_scales)} scales",
        flush=True,
    )
    with ExitStack() as processes:
        engines = _start_engines(config, photo, processes, arguments.int8)
        runners = {engine.name: engine.time for engine in engines}
        command = _pytorch_command(arguments.pytorch_python, photo, config.extraction.image_scales)
        for peer in sorted(peers, reverse=True):
            own = [*command, *(["--compile"] if peer == COMPILED else [])]
            runners[peer] = processes.enter_context(pytorch_yardstick(own))
        times = time_in_turns(runners, arguments.turns)
    for engine in engines:
        _print_engine(engine, engines, times, arguments.turns)
    for peer in sorted(peers, reverse=True):
        print(f"  {peer:21} {np.median(times[peer]):6.0f} ms, the network alone")
        for engine in engines:
            ratio = np.median(times[peer] / times[engine.name])
            print(f"  {'':21} {engine.name} is {ratio:.2f} times as fast")
    if arguments.model_zoo:
        _compare_with_zoo(config, photo, {name: float(np.median(found)) for name, found in times.items()})


def _pytorch_command(python: str, photo: np.ndarray, scales: Sequence[float]) -> List[str]:
    sizes = [f"{round(photo.shape[1] * scale)}x{round(photo.shape[0] * scale)}" for scale in scales]
    return [python, str(Path(__file__).with_name("pytorch.py")), "--stage=extract", f"--sizes={','.join(sizes)}"]


def _start_engines(config: Config, photo: np.ndarray, processes: ExitStack, int8: str) -> List[Engine]:
    """A process for each engine and precision that can run the checkpoint here, MindSpore first, ``int8`` last."""
    from src.engines.choose import NAMES, installed_engines, resolve_engine
    from tools.benchmarks.extraction_processes import extraction_process

    engines: List[Engine] = []

    def start(label: str, own: Config, way: str = "folded") -> None:
        try:
            extract = processes.enter_context(extraction_process(own, photo, way))
            engines.append(Engine(label, extract, []))
        except UserError as error:
            print(f"  {label:21} left out: {error}", flush=True)

    for precision in ("float32", "bfloat16"):
        recipe = config.replace(precision=precision, engine="auto")
        for name in sorted(installed_engines(recipe.run, recipe.model), key=list(NAMES).index):
            own = recipe.replace(engine=resolve_engine(recipe.run, recipe.model.replace(engine=name)).engine)
            start(f"{NAMES[name]} {precision}", own)
            if (name, precision) == ("mindspore", "float32") and Path(config.model.checkpoint_path).suffix != ".mindir":
                start(UNFOLDED, own, "trained")
    if int8:
        own = config.replace(checkpoint_path=int8)
        model = resolve_engine(own.run, own.model)
        start(f"{NAMES[model.engine]} {model.precision}", own.replace(engine=model.engine))
    if not engines:
        raise UserError(f"{config.model.checkpoint_path}: no engine installed here runs it")
    return engines


def _print_engine(engine: Engine, engines: List[Engine], times: Dict[str, np.ndarray], turns: int) -> None:
    from tools.benchmarks.extraction_processes import drift

    milliseconds, last = np.median(times[engine.name]), engine.measured[-1]
    selection = np.median([found.selection for found in engine.measured[-turns:]])
    print(
        f"  {engine.name:21} {milliseconds:6.0f} ms, {1000 / milliseconds:5.2f} photos/s, "
        f"{selection:3.0f} ms of it after the network, peak memory {last.memory:.0f} MB"
    )
    first = engines[0]
    if engine is not first:
        ratios = [
            f"{np.median(times[other.name] / times[engine.name]):.2f} times as fast as {other.name}"
            for other in engines[: 2 if UNFOLDED in times else 1]
            if other is not engine
        ]
        far = drift(last.features, first.measured[-1].features)
        print(
            f"  {'':21} {', '.join(ratios)}; {far.shared:.1%} of {first.name}'s keypoints, descriptors' cosine "
            f"{far.mean_cosine:.6f} on average, {far.least_cosine:.6f} at least"
        )


def _compare_with_zoo(config: Config, photo: np.ndarray, medians: Dict[str, float]) -> None:
    from tools.benchmarks.extraction_processes import extraction_process, fits_zoo_batch

    way = "zoo" if fits_zoo_batch() else "zoo levels"
    with extraction_process(config, photo, way=way) as extract:
        found = extract()
    how = "in one batch" if way == "zoo" else "one by one, for their batch does not fit into the free memory"
    print(f"  the model zoo's way   {found.milliseconds:6.0f} ms, levels {how}, peak memory {found.memory:.0f} MB")
    for name, milliseconds in medians.items():
        print(f"  {'':21} {name} is {found.milliseconds / milliseconds:.1f} times as fast")
