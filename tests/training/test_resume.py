"""A killed or stopped run that goes on ends bit for bit where an undisturbed one does."""

import json
import random
import signal
import time
from functools import partial

import mindspore as ms
import numpy as np
import pytest
import runs
from runs import SMALL, tensors

from src.config import Config
from src.features.encoder import load_encoder

pytestmark = pytest.mark.slow
run, start = partial(runs.run, env=SMALL), partial(runs.start, env=SMALL)
STEPS = 8
# The small network: what a run keeps and takes up does not depend on it.
RECIPE = ["--architecture", "resnet18", "--image_size", 65, "--batch_size", 4, "--max_iters", STEPS,
          "--kernel_init", "he", "--initial_lr", 0.05, "--save_ckpt_step", 2, "--report_steps", 2, "--eval_steps", 4,
          "--min_crop_area", 0.3]  # fmt: skip


def wait_for(condition, process, seconds=1800):
    """Poll until ``condition`` holds; fail when the process ends or time runs out first."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline, "the run has ended too early, or stands still"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory, shards):
    """An undisturbed run of stage tuning; more than one epoch (6 steps), so that shuffling and crops change."""
    folder = tmp_path_factory.mktemp("tuned")
    run("train.py", *RECIPE, "--traindata_path", shards, "--save_ckpt", "run", cwd=folder)
    return folder / "run"


def recipe_of(stage, tuned, shards):
    start_of = ["--checkpoint_path", tuned / f"checkpoint_delf_tuning-2_{STEPS}.ckpt"] if stage == "attn" else []
    return [*RECIPE, "--train_state", stage, "--traindata_path", shards, *start_of, "--save_ckpt", "run"]


@pytest.mark.parametrize("stage", ["tuning", "attn"])
def test_killed_run_goes_on_bit_for_bit(stage, tuned, shards, tmp_path):
    command = recipe_of(stage, tuned, shards)
    whole = tuned
    if stage == "attn":
        (tmp_path / "whole").mkdir()
        run("train.py", *command, cwd=tmp_path / "whole")
        whole = tmp_path / "whole/run"
    process = start(*command, cwd=tmp_path)
    wait_for((tmp_path / f"run/{stage}_state.ckpt").exists, process)
    time.sleep(random.uniform(0, 0.6))  # anywhere in the steps, reports and writes that follow
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert json.loads((tmp_path / f"run/{stage}.json").read_text())["checkpoint"] is None
    said = run("train.py", *command, cwd=tmp_path)
    assert "going on after step" in said
    state = tensors(tmp_path / f"run/{stage}_state.ckpt")
    assert any("moments" in name for name in state) and any("moving_mean" in name for name in state)
    assert state == tensors(whole / f"{stage}_state.ckpt")
    name = f"checkpoint_delf_{stage}-2_{STEPS}.ckpt"
    assert tensors(tmp_path / "run" / name) == tensors(whole / name)
    assert not list((tmp_path / "run").glob(".*"))

    def lines(folder):  # without what the clock decides
        timed = ("images_per_second", "data_wait", "seconds_left", "seconds", "peak_memory_gb")
        rows = [json.loads(line) for line in (folder / f"{stage}_metrics.jsonl").read_text().splitlines()]
        return [{key: value for key, value in row.items() if key not in timed} for row in rows]

    assert lines(tmp_path / "run") == lines(whole)
    assert [line["step"] for line in lines(whole)] == [2, 4, 4, 6, 8, 8]


LEARNERS = {
    "global": ["--loss", "ap", "--batch_size", 8, "--photos_a_class", 2, "--chunk_size", 4, "--initial_lr", 0.1],
    "global mined": ["--loss", "contrastive", "--num_negatives", 2, "--chunk_size", 4, "--initial_lr", 0.01],
    "how": ["--num_negatives", 2, "--chunk_size", 4, "--initial_lr", 0.01, "--head_dim", 4, "--whitening_photos", 12],
    "delg": ["--batch_size", 8, "--initial_lr", 0.01, "--gem_power", "fixed", "--head", "fc"],
}


@pytest.mark.parametrize("learner", LEARNERS)
def test_descriptors_of_a_killed_run_are_those_of_a_whole_one(learner, shards, tmp_path, small_resnet):
    """Contrastive: an epoch has six steps, so that its tuples are first taken up from the state, then made."""
    stage = learner.split()[0]
    command = [*RECIPE, "--train_state", stage, *LEARNERS[learner], "--traindata_path", shards]
    run("train.py", *command, "--save_ckpt", "whole", cwd=tmp_path)
    process = start(*command, "--save_ckpt", "killed", cwd=tmp_path)
    wait_for((tmp_path / f"killed/{stage}_state.ckpt").exists, process)
    process.kill()
    process.wait()
    assert "going on after step" in run("train.py", *command, "--save_ckpt", "killed", cwd=tmp_path)
    whole, killed = (contents(tmp_path / name / f"{stage}_state.ckpt") for name in ("whole", "killed"))
    assert whole == killed and any("moments" in name for name in whole)
    lines = [json.loads(line) for line in (tmp_path / f"killed/{stage}_metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "validation_map" in line] == [4, 8]
    if stage == "delg":  # extraction needs no key to read what was trained
        local, of_global, both = (extracted(tmp_path / f"whole/checkpoint_delf_delg-3_{STEPS}.ckpt", kind) for kind in
                                  ("local", "global", "both"))  # fmt: skip
        np.testing.assert_array_equal(local.local.descriptors, both.local.descriptors)
        np.testing.assert_allclose(of_global.global_descriptor.vector, both.global_descriptor.vector, atol=1e-6)
        assert local.local.descriptors.shape[1] == 128 and of_global.global_descriptor.vector.shape == (64,)


def test_the_attention_of_regions_alone_learns_and_is_extracted(tuned, shards, tmp_path, small_resnet):
    start_of = tuned / f"checkpoint_delf_tuning-2_{STEPS}.ckpt"
    run("train.py", *RECIPE, "--train_state", "regional_attention", "--checkpoint_path", start_of, "--rmac_levels", 2,
        "--traindata_path", shards, "--save_ckpt", "run", cwd=tmp_path)  # fmt: skip
    trained = tmp_path / f"run/checkpoint_delf_regional_attention-2_{STEPS}.ckpt"
    before, after = contents(start_of), contents(trained)
    assert {name for name in after if after[name] != before.get(name)} == {
        "descriptor", *(f"regional_attention.{layer}.{kind}" for layer in ("hidden", "score") for kind in
                             ("weight", "bias")),
    }  # fmt: skip
    assert extracted(trained, "global").global_descriptor.vector.shape == (64,)


def extracted(checkpoint, kind):
    """What extraction gives of a drawn photo."""
    pytest.importorskip("onnxruntime")
    config = Config(checkpoint_path=str(checkpoint), architecture="resnet18", device_target="CPU", engine="onnxruntime")
    encoder = load_encoder(config.run, config.model, config.extraction, kind=kind, descriptor=config.descriptor)
    return encoder.encode(np.random.default_rng(3).integers(0, 256, (96, 128, 3), np.uint8))


def contents(path):
    """Name -> bytes of a tensor, or the text itself, of a state."""
    stored = ms.load_checkpoint(str(path)).items()
    return {name: each if isinstance(each, str) else each.asnumpy().tobytes() for name, each in stored}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_step_saves_and_says_so(number, tuned, shards, tmp_path):
    command = recipe_of("attn", tuned, shards) + ["--max_iters", 400, "--save_ckpt_step", 400]
    process = start(*command, cwd=tmp_path)
    wait_for(lambda: "step 2/" in (tmp_path / "train.out").read_text(), process)
    process.send_signal(number)
    assert process.wait() in (128 + number, 128 + signal.SIGTERM)  # MindSpore turns SIGINT into SIGTERM
    said = (tmp_path / "train.out").read_text()
    assert "run the same command again to go on" in said and "Traceback" not in said
    steps = int(said.split("stopped after step ")[1].split()[0])
    assert (tmp_path / "run/attn_loss.png").exists()
    if number == signal.SIGTERM:  # other settings do not take the state up
        assert "other settings (batch_size)" in run("train.py", *command, "--batch_size", 3, cwd=tmp_path, status=2)
        process = start(*command, cwd=tmp_path)
        wait_for(lambda: f"going on after step {steps}," in (tmp_path / "train.out").read_text(), process)
        process.kill()
        process.wait()
