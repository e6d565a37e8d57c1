"""The real command, killed at ten moments: no data set or a whole one, and the next run completes."""

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from landmark_sets import make_set

from src.data.verify import verify_dataset
from src.errors import UserError

pytestmark = pytest.mark.slow
COMMAND = [sys.executable, str(Path(__file__).resolve().parents[2] / "build_image_dataset.py")]


def start_writing(command, temporary):
    """Start a build and return once its temporary folder is there."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not temporary.exists():
        time.sleep(0.002)
    return process


def test_a_build_killed_at_ten_moments(tmp_path):
    make_set(tmp_path, {landmark: 30 for landmark in range(40)})
    output, temporary = tmp_path / "out", tmp_path / ".out.tmp"
    build = [
        *COMMAND,
        f"--train_clean_csv_path={tmp_path / 'train_clean.csv'}",
        f"--train_directory={tmp_path / 'train'}",
        f"--output_directory={output}",
        "--num_shards=40",
        "--overwrite",
    ]
    process = start_writing(build, temporary)
    start = time.monotonic()
    assert process.wait() == 0
    span = time.monotonic() - start
    leftovers = 0
    for moment in range(10):
        if moment % 2:  # with and without an older set in the way
            shutil.rmtree(output, ignore_errors=True)
        if moment % 3:  # with and without leftovers in the way
            shutil.rmtree(temporary, ignore_errors=True)
        process = start_writing([*build, f"--seed={moment}"], temporary)
        time.sleep(span * random.Random(moment).uniform(0, 1))
        process.kill()
        if process.wait() == 0:
            span /= 2  # the machine has become faster: the next moments are to be inside the build again
        leftovers += temporary.exists()
        if output.exists():
            assert verify_dataset(output, workers=1).num_classes == 40
        else:
            with pytest.raises(UserError, match="no such data set"):
                verify_dataset(output)
    assert leftovers >= 3  # else the moments were not inside the build
    subprocess.run(build, check=True, capture_output=True)
    assert verify_dataset(output).num_train == 960
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "train", "train_clean.csv"]
