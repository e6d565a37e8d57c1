"""The command lines of extraction and PCA: what they refuse."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _run(script, *arguments):
    command = [sys.executable, str(ROOT / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--devices", "0,x"], "--devices is '0,x'"),
        (["--num_images", "-1"], "--num_images is -1"),
        (["--num_images", "2", "--gt_path", "gt"], "--gt_path and --num_images both choose"),
        (["--protocol", "classic"], "give it together with --gt_path"),
        (["--gt_path", "gt", "--name_prefix", "a/"], "--name_prefix goes with no ground truth"),
        ([], "no such folder"),
    ],
)
def test_extraction_refuses(tmp_path, arguments, message):
    result = _run("eval/extract_features.py", "--images_path", tmp_path / "none", *arguments)
    assert result.returncode == 2 and message in result.stderr and "Traceback" not in result.stderr


def test_learn_pca_refuses(tmp_path):
    for arguments, message in ((["--dim", "0"], "--dim is 0"), ([], "no such file (--features)")):
        result = _run("tools/learn_pca.py", "--features", tmp_path / "none.h5", *arguments)
        assert result.returncode == 2 and message in result.stderr
