"""Whatever stands in the way of a command: one sentence, exit status 2, and nothing that a terminal would obey."""

import errno
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from src.commands.command_line import run_command
from src.errors import Interrupted, LogFormatter, UserError

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
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == status and (said in done.stderr if said else not done.stderr), done.stderr
    assert "Traceback" not in done.stderr and "ignored" not in done.stderr


def test_names_that_are_no_unicode_can_be_printed(tmp_path):
    name = os.fsdecode(b"caf\xe9.npz")
    code = "import sys; from src.commands.command_line import run_command; run_command(lambda: print(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, name], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "caf\\udce9.npz\n", "")
