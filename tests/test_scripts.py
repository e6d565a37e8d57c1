"""The scripts and programs: numbers are checked first, and nothing is imported from the caller's folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
POOL = """
import os, sys
sys.path.insert(0, sys.argv[1])
from src.workers import ordered_map

def where(_):
    return os.getcwd()

if __name__ == "__main__":
    with ordered_map(where, 2) as apply:
        assert set(apply(range(2))) == {os.getcwd()}
"""


@pytest.fixture
def place(tmp_path):
    """A folder whose modules leave a file `ran` when they are imported, beside a `bin` of python and msrun."""
    folder = tmp_path / "folder"
    folder.mkdir()
    installed = ("src", "delf", "yaml", "numpy", "h5py", "faiss", "cv2", "PIL", "tqdm", "pip", "mindspore")
    for name in (*sys.stdlib_module_names, *installed, "sitecustomize", "usercustomize"):
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r} + ' ')")
    (tmp_path / "bin").mkdir()
    for name, line in (("python", f'exec {sys.executable} "$@"'), ("msrun", 'echo "$@" >&2; exit 7')):
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{line}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def run(place, *command):
    """Exit status and standard error of a command in the folder."""
    environment = {**os.environ, "VIRTUAL_ENV": "active", "PATH": f"{place}/bin:{os.environ['PATH']}"}
    environment.pop("PYTHONPATH", None)
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=place / "folder", env=environment, capture_output=True, text=True, timeout=600)
    return done.returncode, done.stderr


def test_nothing_is_imported_from_the_callers_folder(place):
    (place / "pool.py").write_text(POOL)
    assert run(place, sys.executable, place / "pool.py", ROOT) == (0, "")
    index = ("--features", "none.h5", "--output", "index")
    assert "no such file" in run(place, sys.executable, ROOT / "eval/build_index.py", *index)[1]
    train = (ROOT / "scripts/run_distribute_train.sh", 2, "tuning", "--save_ckpt", "run")
    assert run(place, "bash", *train)[0] == 2
    assert "--local_worker_num=2 --master_port=" in (place / "folder/run/tuning_ranks/msrun.log").read_text()
    shell = f"source {ROOT}/scripts/common.sh; supported_python"
    assert run(place, "bash", "-c", shell)[0] == 0
    assert not (place / "ran").exists(), (place / "ran").read_text()


def test_no_script_runs_python_without_a_file_in_the_callers_folder():
    """`-c` and `-m` look into the current folder, but for -I; run_tests.sh has changed to the project's own."""
    for script in [*ROOT.glob("*.sh"), *ROOT.glob("scripts/*.sh")]:
        for line in script.read_text().splitlines() if script.name != "run_tests.sh" else ():
            if "python" in line or "base" in line or "$name" in line:
                assert not any(f'" {option} ' in line for option in ("-c", "-m")), f"{script.name}: {line}"


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("run_distribute_train.sh", "0", "tuning"), "number of devices, from 1 to 9999"),
        (("run_distribute_train.sh", "a[$(touch ran)]", "tuning"), "number of devices, from 1 to 9999"),
        (("run_distribute_train.sh", "9" * 20, "tuning"), "number of devices, from 1 to 9999"),
        (
            ("run_distribute_train.sh", "2", "tuning", "--worker_num", "abc"),
            "--worker_num is 'abc': give a whole number",
        ),
        (("run_distribute_train.sh", "2", "tuning", "--master_port=-1"), "--master_port is '-1': give a whole number"),
        (("run_distribute_train.sh", "2", "tuning", "--node_rank"), "--node_rank needs a value"),
        (("run_distribute_train.sh", "2", "tuning", "--save_ckpt="), "--save_ckpt is empty"),
        (("run_demo.sh", "--seed", "a[$(touch ran)]"), "--seed is 'a[$(touch ran)]': give a whole number"),
        (("run_demo.sh", "--seed=1.5"), "--seed is '1.5': give a whole number"),
        (("run_demo.sh", "--seed"), "--seed needs a number"),
        (("run_demo.sh", "-x"), "unknown option -x"),
        (("run_demo.sh", "one", "two"), "one WORK_DIR, not both one and two"),
        (("run_demo.sh", "--imagenet_checkpoint", "none.h5"), "none.h5: no such file"),
        (("run_eval_retrieval_images.sh", ".", ".", "net.ckpt", "x"), "--devices is 'x'; give digits"),
    ],
)
def test_a_wrong_argument_is_one_sentence_and_leaves_nothing(place, arguments, said):
    for path in (place / "folder").iterdir():
        path.unlink()
    status, errors = run(place, "bash", ROOT / "scripts" / arguments[0], *arguments[1:])
    *usage, last = errors.splitlines()
    assert status == 2 and last.startswith("error: ") and said in last, errors
    assert list((place / "folder").iterdir()) == [] and "Traceback" not in errors
