"""Two CPU ranks against one process that takes their batches apart, averages the gradients, clips and steps."""

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import ops
from runs import ENVIRONMENT, SMALL, run, tensors

from src.artifacts import locked_folder
from src.config import GlobalConfig, MetricConfig, ModelConfig, TrainingConfig
from src.data.reader import TrainingStream
from src.data.summary import dataset_info
from src.device import set_up_device
from src.training.class_losses import ClassLosses
from src.training.networks import AsTrained, build_global_network, build_network
from src.training.step import Losses

pytestmark = pytest.mark.slow
RANKS, STEPS, CLIP_NORM, RATE = 2, 10, 10.0, 7e-5
# Initial values with even gradients: at the usual ones, rounding alone changes a gradient of so few photos by 2 %. The
# smallest network: what ranks exchange does not depend on it.
INITIAL = {"architecture": "resnet18", "kernel_init": "he", "kernel_init_gain": 0.18, "residual_gamma": 0.25}
EVEN = [word for key, value in INITIAL.items() for word in (f"--{key}", value)]
RECIPE = ["--image_size", 65, "--batch_size", 4, "--max_iters", STEPS, "--initial_lr", RATE, "--clip_norm", CLIP_NORM,
          *EVEN, "--report_steps", 5, "--save_ckpt", "run"]  # fmt: skip


def losses_of(stage, training, num_classes):
    """(cell of the losses, its part whose names the state has)."""
    model = ModelConfig(**INITIAL)
    if stage == "tuning":
        network = build_network(model, training, num_classes)
        return Losses(network, training), network
    metric = MetricConfig(gem_power="fixed")
    network = build_global_network(model, training, metric, GlobalConfig())
    losses = ClassLosses(AsTrained(network), network.dimension, num_classes, metric)
    return losses, losses


def reference_weights(shards, stage):
    """Name -> trainable weights before and after STEPS steps: gradients from the network, all that follows in NumPy."""
    set_up_device("CPU", 0)
    training = TrainingConfig(image_size=65, batch_size=4, max_iters=STEPS)
    info = dataset_info(shards)
    losses, named = losses_of(stage, training, info.num_classes)
    losses.set_train()
    losses.network.set_train()
    trained = [(name, p) for name, p in named.parameters_and_names() if p.requires_grad]
    gradient_of = ops.grad(losses, None, [p for _, p in trained], has_aux=True)
    streams = [TrainingStream(training, info, rank=rank, ranks=RANKS).batches(STEPS) for rank in range(RANKS)]
    initial = [p.asnumpy().copy() for _, p in trained]
    velocity = [np.zeros(p.shape) for _, p in trained]
    seen = []
    for step, batches in enumerate(zip(*streams)):
        seen += [file_id for batch in batches for file_id in batch.file_ids]
        of_ranks = [gradient_of(ms.Tensor(b.images), ms.Tensor(b.labels), ms.Tensor(np.float32(1)))[0] for b in batches]
        mean = [sum(g.asnumpy().astype(np.float64) for g in parts) / RANKS for parts in zip(*of_ranks)]
        norm = np.sqrt(sum((gradient**2).sum() for gradient in mean))
        for place, (_, parameter) in enumerate(trained):
            velocity[place] = 0.9 * velocity[place] + mean[place] * min(1.0, CLIP_NORM / norm)
            moved = parameter.asnumpy() - RATE * (1 - step / STEPS) * velocity[place]
            ops.assign(parameter, ms.Tensor(moved.astype(np.float32)))  # set_data does not reach a compiled graph
    per_epoch = info.num_train // (4 * RANKS) * 4 * RANKS
    assert len(set(seen[:per_epoch])) == per_epoch  # no photo twice in an epoch
    return {name: (before, p.asnumpy()) for before, (name, p) in zip(initial, trained)}


def train_on_two(folder, shards, *options, env=ENVIRONMENT):
    """Train in a folder on two ranks, which keep their states."""
    with socket.socket() as free:  # another process may be running another of these tests
        free.bind(("", 0))
        port = free.getsockname()[1]
    msrun = [str(Path(sys.executable).with_name("msrun")), "--worker_num=2", "--local_worker_num=2", "--join=True",
             "--log_dir=logs", f"--master_port={port}"]  # fmt: skip
    program = str(Path(__file__).with_name("keep_rank_state.py"))
    done = subprocess.run([*msrun, program, *map(str, [*RECIPE, *options]), "--traindata_path", str(shards)],
                          cwd=folder, env=env, capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, "".join(path.read_text() for path in (folder / "logs").glob("worker_*.log"))
    return folder


@pytest.fixture(scope="module")
def two_ranks(shards, tmp_path_factory):
    """The folder of a run of stage tuning on two ranks."""
    return train_on_two(tmp_path_factory.mktemp("two"), shards)


def require_one_process(folder, shards, stage, prefix):
    """The states of both ranks, whose weights must be those of one process with both batches."""
    ranks = [ms.load_checkpoint(str(folder / f"rank{rank}.ckpt")) for rank in range(RANKS)]
    off, moved = [], []
    for name, (initial, weights) in reference_weights(shards, stage).items():
        of_ranks = [state[f"{prefix}{name}"].asnumpy() for state in ranks]
        assert of_ranks[0].tobytes() == of_ranks[1].tobytes(), name
        np.testing.assert_allclose(of_ranks[0], weights, rtol=0, atol=1e-5, err_msg=name)
        off.append(np.square(of_ranks[0] - weights).sum())
        moved.append(np.square(weights - initial).sum())
    assert np.sqrt(sum(moved)) > 2e-3 and np.sqrt(sum(off) / sum(moved)) < 0.05  # both went the same way
    return ranks


def test_two_ranks_learn_descriptors_as_one_process(shards, tmp_path, small_resnet):
    folder = train_on_two(tmp_path, shards, "--train_state=global", "--gem_power=fixed", env=SMALL)
    require_one_process(folder, shards, "global", "losses.")
    lines = [json.loads(line) for line in (folder / "run/global_metrics.jsonl").read_text().splitlines()]
    assert 0 < lines[-1]["validation_map"] < 1 and lines[-1]["validation_losses"]["descriptor"] > 0


def test_two_ranks_are_one_process_with_both_batches(shards, two_ranks):
    ranks = require_one_process(two_ranks, shards, "tuning", "losses.network.")
    statistics = [name for name in ranks[0] if "moving_" in name]
    own = [np.load(two_ranks / f"rank{rank}_own.npz") for rank in range(RANKS)]  # as they were before the mean
    assert len(statistics) > 30
    for name in statistics:
        assert (own[0][name] != own[1][name]).any(), name  # each rank has batches of its own
        mean = (own[0][name] + own[1][name]) / 2
        for state in ranks:  # and both go on from what the first one saves
            np.testing.assert_allclose(state[name].asnumpy(), mean, rtol=1e-6, err_msg=name)


def test_script_leaves_the_logs_of_a_job_that_runs_there(shards, tmp_path):
    (tmp_path / "run/tuning_ranks").mkdir(parents=True)
    (tmp_path / "run/tuning_ranks/worker_0.log").write_text("step 7")
    with locked_folder(tmp_path / "run", tmp_path / "run"):
        said = run("scripts/run_distribute_train.sh", 2, "tuning", *RECIPE, "--traindata_path", shards, cwd=tmp_path,
                   status=2)  # fmt: skip
    assert "run: another process is making it; wait for it, or give another --save_ckpt" in said
    assert (tmp_path / "run/tuning_ranks/worker_0.log").read_text() == "step 7"


def test_script_runs_both_ranks_and_shows_the_failing_one(shards, two_ranks, tmp_path):
    (start,) = (two_ranks / "run").glob("checkpoint_delf_tuning-*.ckpt")
    attn = ["scripts/run_distribute_train.sh", "2", "attn", start, *RECIPE, "--traindata_path", shards,
            "--eval_photos", 0, "--save_ckpt", "attn"]  # fmt: skip
    said = run(*attn, "--batch_size", 13, cwd=tmp_path, status=2)
    assert "24 training photos are too few" in said and "on 2 devices" in said
    shutil.rmtree(tmp_path / "attn")
    run(*attn, "--max_iters", 2, cwd=tmp_path)
    folder = tmp_path / "attn"
    assert {path.name for path in (folder / "attn_ranks").iterdir()} >= {"worker_0.log", "worker_1.log"}
    assert (folder / "attn_loss.png").exists()
    alone, trained = tensors(start), tensors(folder / "checkpoint_delf_attn-1_2.ckpt")
    backbone = [name for name in trained if name.startswith("backbone.")]
    assert len(backbone) > 80 and all(trained[name] == alone[name] for name in backbone)


@pytest.mark.parametrize(
    "arguments,said",
    [([], "number of devices"), (["2"], "regional_attention or how"), (["0", "attn"], "number of devices")],
)
def test_wrong_arguments_are_one_sentence(arguments, said, tmp_path):
    assert said in run("scripts/run_distribute_train.sh", *arguments, cwd=tmp_path, status=2)
    assert not list(tmp_path.iterdir())
