"""A whole run in this process: a network of one layer on made-up batches, so that what surrounds the steps is seen."""

import json
import logging
import os
import subprocess
import sys
from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops
from runs import ROOT, tensors

from src.config import ModelConfig, RunConfig, TrainingConfig
from src.data.reader import Batch, TrainingStream
from src.device import Device, leads_ranks, set_up_device
from src.errors import UserError
from src.training.run_folder import RunFolder
from src.training.step import TrainStep, average_statistics, load_state, save_state
from src.training.trainer import Trainer

RECIPE = {"batch_size": 2, "initial_lr": 0.5, "save_ckpt": "run", "report_steps": 1, "eval_photos": 0}


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # a run adds one
    monkeypatch.setattr(logging.getLogger(), "level", logging.INFO)
    set_up_device("CPU", 0)


class TinyNet(nn.Cell):
    """BatchNorm and a dense layer."""

    HEADS = ("descriptor",)

    def __init__(self):
        super().__init__()
        self.bn = nn.BatchNorm2d(3)
        self.dense = nn.Dense(12, 3, weight_init="normal")

    def construct(self, images):
        return (self.dense(ops.reshape(self.bn(images), (images.shape[0], -1))),)


class Stream(TrainingStream):
    """Batches that follow from the number of the step."""

    def __init__(self, training):
        super().__init__(training, SimpleNamespace(num_train=8, num_validation=0, num_classes=3, folder="set"))

    def batches(self, steps, start_step=0):
        for step in range(start_step, steps):
            generator = np.random.default_rng(step)
            images = generator.normal(size=(2, 3, 2, 2)).astype(np.float32)
            yield Batch(images, generator.integers(0, 3, 2).astype(np.int32), ["a", "b"], self.epoch_of(step))


def prepare(max_iters, **values):
    """A run as ``stage.train`` makes it: (trainer, or None where the run is finished already; folder)."""
    training = TrainingConfig(**{**RECIPE, "max_iters": max_iters, **values})
    folder = RunFolder(RunConfig(), ModelConfig(), training, {})
    if folder.finished():
        return None, folder
    network = TinyNet()
    return Trainer(network, TrainStep(network, training), Device("CPU"), folder, Stream(training)), folder


def numbers(step_cell):
    """Name -> bytes of weights, statistics and momentum."""
    return {name: each.asnumpy().tobytes() for name, each in step_cell.parameters_and_names()}


def steps_of(folder):
    return [json.loads(line)["step"] for line in folder.metrics_path.read_text().splitlines()]


def test_a_finished_run_goes_on_to_a_later_end_with_its_momentum(caplog):
    first, folder = prepare(3)
    first.run_steps()
    ended = numbers(first.step_cell)
    assert np.abs(first.step_cell.optimizer.moments[0].asnumpy()).max() > 0
    assert prepare(3)[0] is None  # finished
    longer, folder = prepare(6)
    assert longer.steps_done == 3 and numbers(longer.step_cell) == ended
    said = "`max_iters` was 3 and is 6: the learning rate falls linearly to 0 at the new end, so it goes on at 0.25 "
    assert [record.getMessage() for record in caplog.records if said + "instead of 0" in record.getMessage()]
    assert said in (folder.path / "tuning.log").read_text()
    assert longer.run_steps().name == "checkpoint_delf_tuning-2_6.ckpt"
    assert steps_of(folder) == [1, 2, 3, 4, 5, 6]
    rates = [json.loads(line)["learning_rate"] for line in folder.metrics_path.read_text().splitlines()]
    np.testing.assert_allclose(rates, [0.5, 0.5 * 2 / 3, 0.5 / 3, 0.25, 0.5 / 3, 0.5 / 6])
    assert prepare(6)[0] is None
    reference = TrainStep(TinyNet(), TrainingConfig(**{**RECIPE, "max_iters": 6}))  # the state put under the new end
    for name, parameter in reference.parameters_and_names():
        values = np.frombuffer(ended[name], ms.dtype_to_nptype(parameter.dtype))
        parameter.set_data(ms.Tensor(values.reshape(parameter.shape)))
    reference.set_train()
    for batch in Stream(TrainingConfig(**RECIPE)).batches(6, 3):
        reference(ms.Tensor(batch.images), ms.Tensor(batch.labels), ms.Tensor(np.float32(0)))
    assert numbers(reference) == numbers(longer.step_cell)


def test_an_end_below_the_steps_done_and_other_changes_are_refused():
    prepare(4)[0].run_steps()
    with pytest.raises(UserError, match="tuning_state.ckpt: 4 steps are done, and `max_iters` is 3; give 4 or more"):
        prepare(3)
    with pytest.raises(UserError, match=r"under other settings \(batch_size, max_iters\)"):
        prepare(8, batch_size=3)
    with pytest.raises(UserError, match=r"under other settings \(max_iters\)"):  # would be lost
        prepare(8, resume=False)
    assert prepare(4)[0] is None


def test_a_finished_run_whose_checkpoint_is_gone_writes_it_again():
    checkpoint = prepare(2)[0].run_steps()
    before = tensors(checkpoint)
    checkpoint.unlink()
    again = prepare(2)[0].run_steps()
    assert again == checkpoint and tensors(again) == before


def test_a_loss_that_is_not_finite_names_step_rate_and_photos():
    trainer, folder = prepare(4)
    batches = list(trainer.stream.batches(4))
    batches[1].images[:] = np.inf
    trainer.stream.batches = lambda steps, start_step: iter(batches)
    said = "step 2: losses and accuracies .*, gradient norm nan at learning rate 0.375, photos a, b: lower `initial_lr`"
    with pytest.raises(UserError, match=said):
        trainer.run_steps()
    assert not folder.checkpoints() and not folder.state_path.exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"rubbish",
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:],
    ],
)
def test_a_damaged_state_is_one_sentence(damage, tmp_path):
    step = TrainStep(TinyNet(), TrainingConfig())
    save_state(step, 5, "state.ckpt")
    data = (tmp_path / "state.ckpt").read_bytes()
    (tmp_path / "state.ckpt").unlink()
    (tmp_path / "state.ckpt").write_bytes(damage(data))
    with pytest.raises(UserError, match=r"^state.ckpt: damaged \([^\n]*\); .*give `resume` false to start anew$"):
        load_state(step, "state.ckpt")


def test_a_run_with_a_damaged_state_starts_anew_where_that_is_asked_for(tmp_path):
    whole = tensors(prepare(2)[0].run_steps())
    ms.set_seed(0)  # the same initial weights
    again = prepare(2, resume=False)[0].run_steps()
    assert tensors(again) == whole
    (tmp_path / "run/tuning_state.ckpt").unlink()
    (tmp_path / "run/tuning_state.ckpt").write_bytes(b"rubbish")
    again.unlink()
    with pytest.raises(UserError, match="tuning_state.ckpt: damaged"):
        prepare(2)
    ms.set_seed(0)
    trainer, folder = prepare(2, resume=False)
    assert trainer.steps_done == 0 and tensors(trainer.run_steps()) == whole
    assert steps_of(folder) == [1, 2]


class WiderNet(TinyNet):
    def __init__(self):
        super().__init__()
        self.dense = nn.Dense(12, 4)


@pytest.mark.parametrize("network,steps", [(WiderNet, 5), (TinyNet, -5)])
def test_a_state_of_another_network_or_of_no_step_is_one_sentence(network, steps):
    save_state(TrainStep(network(), TrainingConfig()), steps, "state.ckpt")
    with pytest.raises(UserError, match="^state.ckpt: damaged .*`resume` false"):
        load_state(TrainStep(TinyNet(), TrainingConfig()), "state.ckpt")


def test_a_pipe_as_state_is_not_waited_for(tmp_path):
    (tmp_path / "run").mkdir()
    os.mkfifo(tmp_path / "run/tuning_state.ckpt")
    with pytest.raises(UserError, match="tuning_state.ckpt: is a pipe or a device"):
        prepare(3)


def folder_of(**values):
    return RunFolder(RunConfig(), ModelConfig(), TrainingConfig(save_ckpt="run", **values), {})


def test_a_second_training_in_the_folder_is_refused_at_once(tmp_path):
    with folder_of().locked():
        (tmp_path / "run/tuning.json").write_text("of the first")
        program = (
            "from src.training.run_folder import RunFolder; from src.config import *\n"
            "with RunFolder(RunConfig(), ModelConfig(), TrainingConfig(save_ckpt='run'), {}).locked(): pass"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                              env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
        assert "run: another process is making it; wait for it, or give another `save_ckpt`" in done.stderr
        with pytest.raises(UserError, match="another process"), folder_of(train_state="attn").locked():
            pass
    with folder_of().locked():  # free again
        pass
    assert (tmp_path / "run/tuning.json").read_text() == "of the first"


def test_the_lock_of_a_killed_training_is_free_and_bad_input_leaves_no_folder(tmp_path):
    program = (
        "import time; from src.artifacts import locked_folder\n"
        "with locked_folder('run', 'run'): print(flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE,
                               env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
    process.stdout.read(1)
    with pytest.raises(UserError, match="another process"), folder_of().locked():
        pass
    process.kill()
    process.communicate()
    with folder_of().locked():
        pass
    (tmp_path / "run").rmdir()
    with pytest.raises(UserError, match="bad"), folder_of().locked():
        raise UserError("bad")
    assert not (tmp_path / "run").exists()
    (tmp_path / "run").write_text("a file")
    with pytest.raises(UserError, match="run: is no folder; give another `save_ckpt`"), folder_of().locked():
        pass


@pytest.mark.parametrize(
    "environment,leads",
    [
        ({}, True),
        ({"RANK_ID": "1"}, True),  # left over from elsewhere
        ({"MS_ROLE": "MS_WORKER", "RANK_ID": "0"}, True),
        ({"MS_ROLE": "MS_WORKER", "RANK_ID": "1"}, False),
        ({"MS_ROLE": "MS_SCHED"}, False),
    ],
)
def test_one_process_of_a_job_holds_the_lock(monkeypatch, environment, leads):
    for name in ("MS_ROLE", "RANK_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert leads_ranks() is leads


class TwoRanks(Device):
    """The first of two ranks; the other one's numbers are known."""

    def sum_over_ranks(self, values):
        return (values + self.others).astype(np.float32)


def test_statistics_become_their_mean_over_the_ranks_where_they_are_learnt():
    network = TinyNet()
    network.frozen = nn.BatchNorm2d(2)
    network.set_train()
    network.frozen.set_train(False)
    network.bn.moving_mean.set_data(ms.Tensor([1.0, 2.0, 3.0]))
    network.frozen.moving_mean.set_data(ms.Tensor([0.1, 0.2]))
    device = TwoRanks("CPU", 0, 2)
    object.__setattr__(device, "others", np.array([3.0, 2.0, 1.0, 5.0, 5.0, 5.0]))  # means, then variances
    average_statistics(network, device)
    assert network.bn.moving_mean.asnumpy().tolist() == [2.0, 2.0, 2.0]
    assert network.bn.moving_variance.asnumpy().tolist() == [3.0, 3.0, 3.0]
    assert network.frozen.moving_mean.asnumpy().tobytes() == np.float32([0.1, 0.2]).tobytes()


@pytest.mark.parametrize("rate, warned", [(1e-9, True), (0.01, False)])
def test_a_head_that_does_not_learn_is_told(rate, warned, monkeypatch, caplog):
    monkeypatch.setattr("src.training.trainer._STEPS_TO_BEGIN", 40)
    monkeypatch.setattr(Stream, "batches", lambda self, steps, start=0: batches_to_learn(steps))
    trainer, _ = prepare(60, initial_lr=rate, report_steps=20, save_ckpt_step=60)
    trainer.run_steps()
    told = [record.message for record in caplog.records if "still guesses" in record.message]
    assert len(told) == (2 if warned else 0)
    assert all("its loss is log(3 classes) = 1.10" in message for message in told)


def batches_to_learn(steps):
    """The label is the channel that is not zero; a network that ignores it is at log(3) or worse."""
    for step in range(steps):
        labels = np.int32([step % 3, (step + 1) % 3])
        images = np.zeros((2, 3, 2, 2), np.float32)
        images[[0, 1], labels] = 1
        yield Batch(images, labels, ["a", "b"], 0)
