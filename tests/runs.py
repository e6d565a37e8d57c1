"""Runs of the real commands, shared by the end-to-end tests."""

import os
import subprocess
import sys
from pathlib import Path

import mindspore as ms

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {
    **os.environ,
    "VIRTUAL_ENV": sys.prefix,
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    "PYTHONPATH": str(ROOT),
}
SMALL = {**ENVIRONMENT, "PYTHONPATH": f"{ROOT / 'tests/small'}:{ROOT}"}  # resnet18 is that of small/small_resnet.py


def run(*command, cwd, status=0, env=ENVIRONMENT):
    """Run a script or program of the repository to its end; fail with its output at another exit status."""
    program = ["bash"] if str(command[0]).endswith(".sh") else [sys.executable]
    done = subprocess.run([*program, str(ROOT / command[0]), *map(str, command[1:])], cwd=cwd, env=env,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def start(*arguments, cwd, env=ENVIRONMENT):
    """Start train.py and return the process; its output goes to ``train.out`` of ``cwd``."""
    with open(cwd / "train.out", "w") as output:
        return subprocess.Popen([sys.executable, str(ROOT / "train.py"), *map(str, arguments)], cwd=cwd,
                                env=env, stdout=output, stderr=output)  # fmt: skip


def make_shards(folder):
    """32 drawn photos of 4 classes as shards: 24 to train on, 8 held out."""
    run("tools/make_demo_dataset.py", "--output", folder / "data", "--num_classes", 4, "--photos_per_class", 8,
        "--num_eval_landmarks", 1, "--photos_per_eval_landmark", 4, "--queries_per_landmark", 1,
        "--num_distractors", 1, "--train_photo_size", 96, "--eval_photo_size", 96, cwd=folder)  # fmt: skip
    train = folder / "data/gldv2/train"
    run("build_image_dataset.py", f"--train_clean_csv_path={train}/train_clean.csv", f"--train_directory={train}",
        "--output_directory=shards", "--num_shards=2", "--validation_split_size=0.25", cwd=folder)  # fmt: skip
    return folder / "shards"


def tensors(path):
    """Name -> bytes of every tensor of a checkpoint or state."""
    return {name: parameter.asnumpy().tobytes() for name, parameter in ms.load_checkpoint(str(path)).items()}
