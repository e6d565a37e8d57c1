"""Commands of this project as users run them, a process each, and what each of them cost."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple, Optional

from src.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
# A process counts the memory of the one that started it as its own peak: a small one stands between.
_MEASURE = """
import os, resource, subprocess, sys
status = subprocess.call(sys.argv[2:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
os.write(int(sys.argv[1]), f"{used.ru_utime + used.ru_stime} {used.ru_maxrss}".encode())
sys.exit(status if status >= 0 else 128 - status)
"""


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
    read, write = os.pipe()
    command = [sys.executable, "-c", _MEASURE, str(write), sys.executable, str(ROOT / script), *map(str, options)]
    start = time.perf_counter()
    with open(log or os.devnull, "a") as output:
        shown = output if log else None
        status = subprocess.run(command, stdout=shown, stderr=shown, pass_fds=[write], check=False).returncode
    seconds = time.perf_counter() - start
    os.close(write)
    with open(read) as usage:
        cpu_seconds, kilobytes = map(float, usage.read().split())
    if status:
        last = log.read_text().strip().splitlines()[-1:] if log else []
        raise UserError(": ".join([f"{script} ended with status {status}", *last]))
    return Cost(seconds, cpu_seconds, kilobytes / 2**20)
