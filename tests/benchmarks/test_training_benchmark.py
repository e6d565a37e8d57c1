"""The benchmark of training: what is timed, against what, and how the yardstick's process may fail."""

import sys
import time

import numpy as np
import pytest

from src.config import ModelConfig, TrainingConfig
from src.data.reader import Batch
from src.device import set_up_device
from src.errors import UserError
from tools.benchmarks import pytorch as benchmark_pytorch
from tools.benchmarks import run as command
from tools.benchmarks import training_steps as benchmark
from tools.benchmarks.training_steps import StageBenchmark, pytorch_yardstick, time_in_turns

TRAINING = TrainingConfig(train_state="attn", batch_size=2, image_size=37, initial_lr=1e-4)


@pytest.fixture(scope="module")
def stage():
    set_up_device("CPU", 0)
    return StageBenchmark(ModelConfig(kernel_init="he"), TRAINING, 4)


def test_runners_take_turns_and_the_first_two_do_not_count(monkeypatch):
    monkeypatch.setattr(benchmark, "REST", 0)
    calls = []

    def runner(name, factor):
        return lambda: calls.append(name) or factor * len(calls)

    times = time_in_turns({"a": runner("a", 1), "b": runner("b", 10)}, 3)
    assert calls == ["a", "b"] * 5
    assert times["a"].tolist() == [5, 7, 9] and times["b"].tolist() == [60, 80, 100]


def test_a_step_is_timed_in_milliseconds_and_compiles_once(stage):
    started = time.perf_counter()
    measured = stage.time_step()
    assert 0 < measured <= 1000 * (time.perf_counter() - started)
    assert measured < 1000 * stage.compile_seconds


def test_waiting_for_photos_is_a_share_of_the_time(stage, monkeypatch):
    waits = []

    class SlowStream:
        def __init__(self, training, info, seed, num_workers):
            self.shape = (training.batch_size, 3, training.image_size, training.image_size)

        def batches(self, steps):
            for _ in range(steps):
                started = time.monotonic()
                time.sleep(0.2)
                waits.append(time.monotonic() - started)  # longer than asked for on a busy machine
                yield Batch(np.zeros(self.shape, np.float32), np.zeros(2, np.int32), ["a", "b"], 0)

    monkeypatch.setattr(benchmark, "TrainingStream", SlowStream)
    started = time.monotonic()
    speed, share = stage.train_on(None, 4)
    seconds = time.monotonic() - started - 0.2  # the first batch comes before the clock starts
    assert 4 * 2 / seconds <= speed < 2 / 0.2
    assert share == pytest.approx(sum(waits[1:5]) * speed / 8, rel=0.1)  # four waits over the time of eight photos


def python(program):
    return [sys.executable, "-c", program]


def test_yardstick_is_asked_for_one_step_at_a_time():
    program = "import sys\nprint('ready', flush=True)\nfor n, _ in enumerate(sys.stdin): print(10.5 + n, flush=True)"
    with pytorch_yardstick(python(program)) as step:
        assert [step(), step(), step()] == [10.5, 11.5, 12.5]


@pytest.mark.parametrize(
    "program,message",
    [
        ("import no_such_framework", "No module named 'no_such_framework'; give --pytorch_python"),
        ("print('ready', flush=True); input(); raise SystemExit('out of memory')", "has ended: out of memory"),
    ],
)
def test_yardstick_that_ends_early_says_why(program, message):
    with pytest.raises(UserError, match=message), pytorch_yardstick(python(program)) as step:
        step()


def test_bad_input_is_refused_before_anything_is_built(tmp_path):
    with pytest.raises(UserError, match="cannot be run"), pytorch_yardstick([str(tmp_path / "python"), "x.py"]):
        pass
    with pytest.raises(UserError, match="--steps 0"):
        command.main(["train", "--steps", "0"])
    with pytest.raises(SystemExit, match="2"):
        command.main(["trian"])


def test_pytorch_network_has_the_same_parameters():
    pytest.importorskip("torch")
    from src.model.networks import AttentionNet, TuningNet

    backbone, descriptor_head, attention_head = benchmark_pytorch.build_parts(7, 37)
    for network, parts in ((TuningNet, (backbone, descriptor_head)), (AttentionNet, (attention_head,))):
        expected = sorted(p.size for p in network(ModelConfig(), 7).trainable_params())
        assert sorted(p.numel() for part in parts for p in part.parameters()) == expected


def test_reader_speed_by_threads(shards, capsys):
    command.main(["read", "--traindata_path", str(shards), "--batch_size", "8", "--image_size", "33", "--steps", "2",
                    "--threads", "1,2"])  # fmt: skip
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines()] == ["24", "1", "2"] and "photos/s" in printed
    with pytest.raises(UserError, match="--threads"):
        command.main(["read", "--traindata_path", str(shards), "--threads", "0"])
