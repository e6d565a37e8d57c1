"""Whatever stands in the way of a command: one sentence, exit status 2, and nothing that a terminal would obey."""

import errno
import importlib
import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from src.commands import compare
from src.commands.command_line import run_command
from src.errors import Interrupted, LogFormatter, UserError
from src.records import Provenance, Ranking
from src.retrieval.ranking_file import save_ranking

ROOT = Path(__file__).resolve().parents[2]
COMPUTE_MAP = f"{sys.executable} {ROOT}/eval/compute_map.py"


def outcome(error, capsys):
    """Exit status and what is said when a command raises ``error``."""

    def main():
        raise error

    with pytest.raises(SystemExit) as end:
        run_command(main)
    return end.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    "error, said",
    [
        (UserError("a.h5: no `overwrite`"), "a.h5: no --overwrite"),
        (OSError(errno.ENOSPC, "No space left on device", "a/b.npz"), "a/b.npz: No space left on device"),
        (OSError(errno.ENOSPC, "No space left on device"), "output: No space left on device"),
        (OSError("line one\nline two"), "line one line two"),
        (PermissionError(errno.EACCES, "Permission denied", b"a\x1b"), "a\\x1b: Permission denied"),
        (OSError(errno.EBADF, "Bad file descriptor", 7), "output: Bad file descriptor"),
        (MemoryError(), "not enough memory: stop other programs, or ask for less"),
        (MemoryError("3 GiB"), "not enough memory (3 GiB): stop other programs, or ask for less"),
        (ModuleNotFoundError("No module named 'yaml'", name="yaml"), "yaml is not installed: run pip install"),
        (UserError("\x1b]0;x\x07a\nerror: b\u202egpj.\udce9"), "\\x1b]0;x\\x07a\\nerror: b\\u202egpj.\\udce9"),
    ],
)
def test_an_error_is_one_printable_line(error, said, capsys):
    status, text = outcome(error, capsys)
    assert status == 2 and text.startswith(f"error: {said}") and text.count("\n") == 1 and text[:-1].isprintable()


def test_a_long_error_keeps_its_two_ends(capsys):
    _, text = outcome(UserError("a.csv: found " + "x" * 100000 + "; give a table"), capsys)
    assert len(text) < 1100 and text.startswith("error: a.csv: found xxx") and text.endswith("xxx; give a table\n")


def test_an_error_of_the_program_keeps_its_traceback():
    def main():
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        run_command(main)


def test_a_stopped_job_says_so(capsys):
    assert outcome(Interrupted("stopped at a\x1b", 143), capsys) == (143, "stopped at a\\x1b\n")


def test_log_lines_stay_lines_and_are_printable():
    record = logging.LogRecord("a", logging.INFO, "", 0, "%s: made", ("a\n12:00:00 b\x1b[2J",), None)
    line = LogFormatter().format(record)
    assert line.isprintable() and line.endswith(" a\\n12:00:00 b\\x1b[2J: made")


@pytest.mark.parametrize(
    "line, status, said",
    [
        (f"{COMPUTE_MAP} --help >&-", 0, ""),
        (f"{COMPUTE_MAP} --help >/dev/full", 2, "error: output: No space left on device\n"),
        (f"set -o pipefail; {COMPUTE_MAP} --help | true", 141, ""),
        (f"{COMPUTE_MAP} --ranks none --gt_path none <&- >&- 2>&-", 2, ""),
        (f"mkdir gone; cd gone; rmdir ../gone; {COMPUTE_MAP} --help", 2, "the current folder has been deleted"),
        (f"{COMPUTE_MAP} --ranks <(echo) --gt_path none", 2, "is a pipe or a device; give a file that can be read"),
    ],
)
def test_streams_and_folders_that_are_gone(tmp_path, line, status, said):
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == status and (said in done.stderr if said else not done.stderr), done.stderr
    assert "Traceback" not in done.stderr and "ignored" not in done.stderr


RIGHTS = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")  # root may read and write anything otherwise


@pytest.mark.skipif(shutil.which(RIGHTS[0]) is None, reason="setpriv is not installed")
@pytest.mark.parametrize(
    "arguments, said",
    [
        ("--ranks hidden.npz --protocol holidays", "hidden.npz: Permission denied"),
        ("--ranks hidden/a.npz --protocol holidays", "hidden/a.npz: Permission denied"),
        (
            "--ranks whole.npz --protocol holidays --output fixed/mAP.txt",
            "cannot be made in .*fixed: no right to write",
        ),
    ],
)
def test_files_and_folders_without_rights(tmp_path, arguments, said):
    ranking = Ranking(["100000"], ["100000", "100001"], [[0, 1]], [[2, 1]])
    save_ranking(tmp_path / "whole.npz", ranking, Provenance("abc"))
    (tmp_path / "hidden.npz").write_bytes(b"x")
    for name, mode in (("hidden.npz", 0), ("hidden", 0), ("fixed", 0o555)):
        if name != "hidden.npz":
            (tmp_path / name).mkdir()
        (tmp_path / name).chmod(mode)
    command = [*RIGHTS, *COMPUTE_MAP.split(), *arguments.split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 2 and re.search(f"(?m)^error: .*{said}.*\n\\Z", done.stderr), done.stderr


def test_names_in_results_are_printable():
    odd = "a\x1b[2J\nb"
    setting = SimpleNamespace(
        difference=0.5, maps=(0.0, 0.5), interval=(0.1, 0.9), wins=1, losses=0, ties=0, queries={odd: (0.0, 0.5)}
    )
    comparison = SimpleNamespace(ground_truth=odd, protocol="classic", index_sizes=(1, 1), settings={odd: setting})
    first, _, *lines = compare._table(comparison, 5).split("\n")
    assert len(lines) == 2 and all(line.isprintable() and "a\\x1b[2J\\nb" in line for line in (first, *lines))


@pytest.mark.parametrize(
    "verb, arguments, option",
    [
        ("match_images", "a.png b.png --checkpoint_path net.ckpt", "output_image"),
        ("visualize_features", "--images_path . --checkpoint_path net.ckpt", "output"),
        ("choose_score_threshold", "--images_path . --checkpoint_path net.ckpt", "output_image"),
        ("show_batch", "--traindata_path none", "output_image"),
        ("evaluate_retrieval", ". . net.ckpt", "output_path"),
        ("search_images", "--index none --query none", "output"),
    ],
)
def test_an_output_that_cannot_be_made_is_told_before_the_work(tmp_path, verb, arguments, option):
    (tmp_path / "file").write_text("mine")
    main = importlib.import_module(f"src.commands.{verb}").main
    with pytest.raises(UserError, match=f"/file/a.*: cannot be made in .*no folder; give another `{option}`"):
        main([*arguments.split(), f"--{option}={tmp_path}/file/a"])
    assert [path.name for path in tmp_path.iterdir()] == ["file"] and (tmp_path / "file").read_text() == "mine"


def test_names_that_are_no_unicode_can_be_printed(tmp_path):
    name = os.fsdecode(b"caf\xe9.npz")
    code = "import sys; from src.commands.command_line import run_command; run_command(lambda: print(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, name], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "caf\\udce9.npz\n", "")
