"""How long a training step takes, and how much of its time training waits for photos."""

import subprocess
import time
from contextlib import contextmanager
from typing import Callable, Dict, Iterator, List, Mapping, Sequence, Tuple

import numpy as np

from src.config import ModelConfig, TrainingConfig
from src.data.reader import Batch, TrainingStream
from src.data.summary import DatasetInfo
from src.errors import UserError
from src.training.progress import StepTimes

WARM_UP_TURNS = 2
REST = 0.3  # seconds before each runner: a framework's threads spin for a while after their work


def time_in_turns(runners: Mapping[str, Callable[[], float]], turns: int) -> Dict[str, np.ndarray]:
    """Call every runner once a turn, so that other work on the machine slows all of them alike.

    Args:
        runners: functions that do their work once and return how many milliseconds it took.
        turns: that count, after two that do not.

    Returns:
        Milliseconds [turns] of each runner.
    """
    times: Dict[str, List[float]] = {name: [] for name in runners}
    for _ in range(WARM_UP_TURNS + turns):
        for name, run in runners.items():
            time.sleep(REST)
            times[name].append(run())
    return {name: np.array(values[WARM_UP_TURNS:]) for name, values in times.items()}


class StageBenchmark:
    """The network and the training step of a stage, with random weights.

    Args:
        model, training: of the recipe; ``train_state`` is the stage. ``set_up_device`` has been called.
        num_classes: of the head.
        seed: of the random photos.
        num_workers: threads that read photos.

    Attributes:
        compile_seconds: duration of the first step, which compiles.
    """

    def __init__(
        self, model: ModelConfig, training: TrainingConfig, num_classes: int, seed: int = 0, num_workers: int = 2
    ) -> None:
        from src.training.networks import NETWORKS
        from src.training.step import TrainStep

        self.training = training
        self._seed, self._num_workers = seed, num_workers
        network = NETWORKS[training.train_state](model, num_classes)
        self._heads = network.HEADS
        self._step = TrainStep(network, training)
        self._step.set_train()
        generator = np.random.default_rng(seed)
        shape = (training.batch_size, 3, training.image_size, training.image_size)
        labels = generator.integers(0, num_classes, training.batch_size).astype(np.int32)
        self._random_batch = Batch(generator.standard_normal(shape, np.float32), labels, [], 0)
        self.compile_seconds = self.time_step() / 1000

    def _make_step(self, batch: Batch) -> np.ndarray:
        """A step as the trainer makes it, from NumPy to the [2 * heads + 1] figures that it reports."""
        from mindspore import Tensor

        figures, (_, norm) = (
            output.asnumpy() for output in self._step(Tensor(batch.images), Tensor(batch.labels), Tensor(np.float32(0)))
        )
        return np.array([*figures.mean(1), norm])

    def time_step(self) -> float:
        """Milliseconds of one step on random photos."""
        started = time.perf_counter()
        self._make_step(self._random_batch)
        return 1000 * (time.perf_counter() - started)

    def train_on(self, info: DatasetInfo, steps: int) -> Tuple[float, float]:
        """Make steps on a data set's photos; (photos a second, share of the time spent waiting for them, 0 to 1)."""
        stream = TrainingStream(self.training, info, self._seed, self._num_workers)
        times = StepTimes(self._heads, self.training.batch_size, steps)
        for batch in times.waiting_for(stream.batches(steps + 1)):  # the first one starts the clock
            times.add(self._make_step(batch))
        line = times.summary(steps, 0.0)
        return line["images_per_second"], line["data_wait"]


@contextmanager
def pytorch_yardstick(command: Sequence[str]) -> Iterator[Callable[[], float]]:
    """A function that makes one step in eager PyTorch, in a process of its own, and returns its milliseconds.

    Args:
        command: runs tools/benchmarks/pytorch.py.

    Raises:
        UserError: the process cannot be run or ends early.
    """
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    except OSError as error:
        raise UserError(f"{command[0]}: cannot be run ({error.strerror}); check --pytorch_python") from error

    def read_line() -> str:
        line = process.stdout.readline()
        if not line:
            last = (process.communicate()[1].strip().splitlines() or ["no reason given"])[-1]
            raise UserError(
                f"the PyTorch benchmark has ended: {last}; give --pytorch_python an environment that has it"
            )
        return line

    def step() -> float:
        process.stdin.write("\n")
        process.stdin.flush()
        return float(read_line())

    try:
        read_line()  # "ready"
        yield step
    finally:
        if process.poll() is None:
            process.communicate()  # the end of its input ends it
