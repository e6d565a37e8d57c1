"""Commands of this project as users run them, a process each, and what each of them cost."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple, Optional

from src.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


class Cost(NamedTuple):
    """What a command took, its start included: wall seconds, seconds of all cores, and peak memory in GB."""

    seconds: float
    cpu_seconds: float
    gigabytes: float


def run_measured(script: str, *options: object, log: Optional[Path] = None) -> Cost:
    """Run a command in a process of its own.

    Processes that it starts count too, for their seconds and, each by itself, for the peak memory.

    Args:
        script: its path, from the repository's root.
        options: of its command line.
        log: file that its output is added to; None = shown.

    Raises:
        UserError: it fails.
    """
    start, command = time.perf_counter(), [sys.executable, str(ROOT / script), *map(str, options)]
    with open(log or os.devnull, "a") as output:
        process = subprocess.Popen(command, stdout=output if log else None, stderr=output if log else None)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        last = log.read_text().strip().splitlines()[-1:] if log else []
        raise UserError(": ".join([f"{script} ended with status {process.returncode}", *last]))
    seconds = time.perf_counter() - start
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20)
