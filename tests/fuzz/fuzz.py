"""Reads damaged files of every kind in a child process: success or one sentence, and nothing else.

    python tests/fuzz/fuzz.py --count 2000 --kinds pickle,mat

A child reads one mutation after the other, as the real commands do. It may not raise anything but a UserError of one
line, die, take more than 60 s over a file, or leave anything outside its output folder.
"""

import argparse
import importlib
import json
import os
import resource
import select
import subprocess
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter
from pathlib import Path
from typing import Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # as a program: the repository

SECONDS = 60
LONGEST_SENTENCE = 1010
_SECONDS_TO_IMPORT = 600
_MEMORY = 4 << 30  # bytes beyond those of the libraries


Todo = List[Tuple[str, int]]  # kinds, each with the number of its next mutation


class Failure(NamedTuple):
    """A mutation that was not answered as it should be."""

    kind: str
    number: int
    what: str


class Report(NamedTuple):
    """What became of the mutations.

    Attributes:
        read: number of them by kind that were read as sound files are.
        refused: number of them by kind that were answered by a sentence.
        failures: the others.
    """

    read: Counter
    refused: Counter
    failures: List[Failure]


def fuzz(kinds: Sequence[str], count: int, folder: Path, first: int = 0, module: str = "tests.fuzz.kinds") -> Report:
    """Read ``count`` mutations of each of ``kinds`` of ``module``, beginning with number ``first``, in ``folder``."""
    report = Report(Counter(), Counter(), [])
    todo = [(kind, first) for kind in kinds]
    while todo:
        todo = _run_child(todo, first + count, folder, report, module)
    return report


def _run_child(todo: Todo, end: int, folder: Path, report: Report, module: str) -> Todo:
    """One child until it is through or gone; returns what is left to do."""
    read_end, write_end = os.pipe()
    work = Path(tempfile.mkdtemp(dir=folder))
    environment = {**os.environ, "HOME": str(work), "XDG_CACHE_HOME": str(work / "cache"), "GLOG_v": "4"}
    arguments = [sys.executable, __file__, "--child", str(write_end), str(work), str(end), module, json.dumps(todo)]
    with open(work.with_suffix(".log"), "wb") as log:
        child = subprocess.Popen(arguments, stdout=log, stderr=log, pass_fds=[write_end], env=environment)
    os.close(write_end)
    now, what, waited = todo[0], "", _SECONDS_TO_IMPORT
    with os.fdopen(read_end, "rb") as pipe:
        while True:
            if not select.select([pipe], [], [], waited)[0]:
                what = f"no answer within {waited} s"
                break
            line = pipe.readline()
            if not line:
                break
            message = json.loads(line)
            if message["is"] == "begins":
                now, waited = (message["kind"], message["number"]), message.get("wait", SECONDS)
            elif message["is"] == "fails":
                report.failures.append(Failure(*now, message["what"]))
            elif message["is"] == "ends":
                todo = []
            else:
                getattr(report, message["is"])[now[0]] += 1
    if what:
        child.kill()
    status = child.wait()
    if not todo:
        return []
    what = what or f"the process ended with status {status}"
    rest = todo[[kind for kind, _ in todo].index(now[0]) + 1 :]
    report.failures.append(Failure(*now, what))
    return [(now[0], now[1] + 1), *rest] if now[1] + 1 < end else rest


class _Child:
    """Reads mutations and tells of them through a pipe."""

    def __init__(self, pipe: int, work: Path, end: int) -> None:
        self._pipe, self._work, self._end = pipe, work, end
        self.output = work / "output"
        self.output.mkdir()
        os.chdir(self.output)

    def _tell(self, **message) -> None:
        os.write(self._pipe, (json.dumps(message) + "\n").encode())

    def run(self, todo: Todo, module: str) -> None:
        for name, first in todo:
            kind = importlib.import_module(module).KINDS[name]
            self._tell(**{"is": "begins", "kind": name, "number": first, "wait": _SECONDS_TO_IMPORT})
            folder = self._work / f"{name}-{first}"
            folder.mkdir()
            path = kind.make(folder)
            kind.use(path, self.output)  # sound, and everything imported
            usage = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (usage + _MEMORY, resource.RLIM_INFINITY))
            self._run_kind(name, kind, path, first)
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        self._tell(**{"is": "ends"})

    def _run_kind(self, name: str, kind, path: Path, first: int) -> None:
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        sound = {file: file.read_bytes() for file in files}
        before = _listing(self._work, self.output)
        for number in range(first, self._end):
            generator = np.random.default_rng((zlib.crc32(name.encode()), number))
            file = files[generator.integers(len(files))]
            file.write_bytes(kind.mutate(sound[file], generator, kind.tokens))
            self._tell(**{"is": "begins", "kind": name, "number": number})
            answer, what = _answer(kind, path, self.output)
            for other in files:
                if other == file or not other.exists():
                    other.write_bytes(sound[other])
            file.write_bytes(sound[file])
            after = _listing(self._work, self.output)
            if after != before:
                what, before = f"files outside the output: {set(after) ^ set(before)}", after
            self._tell(**({"is": "fails", "what": what} if what else {"is": answer}))


def _answer(kind, path: Path, output: Path) -> Tuple[str, str]:
    """'read' or 'refused', and what is wrong with the answer to a mutated file, '' = nothing."""
    from src.commands.command_line import sentence_of

    try:
        kind.use(path, output)
        return "read", ""
    except Exception as error:
        try:
            sentence = sentence_of(error)
        except Exception:
            return "", traceback.format_exc(limit=-6)
    plain = sentence.isprintable() and len(sentence) <= LONGEST_SENTENCE
    return "refused", "" if plain else f"no plain sentence: {sentence[:300]!r}"


def _listing(folder: Path, but: Path) -> Dict[str, bool]:
    """What lies in ``folder``, but for the folder ``but``: path -> whether it is a folder."""
    found = {}
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if os.path.join(parent, name) != str(but)]
        for names, is_folder in ((folders, True), (files, False)):
            found.update({os.path.join(parent, name): is_folder for name in names})
    return found


def main() -> None:
    """Fuzz kinds, or be the child that does."""
    if sys.argv[1:2] == ["--child"]:
        pipe, work, end, module, todo = sys.argv[2:7]
        _Child(int(pipe), Path(work), int(end)).run(json.loads(todo), module)
        return
    from tests.fuzz.kinds import KINDS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="mutations of each kind")
    parser.add_argument("--first", type=int, default=0, help="number of the first mutation")
    parser.add_argument("--kinds", default=",".join(KINDS), help="default: all of them")
    arguments = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for kind in arguments.kinds.split(","):
            started = time.monotonic()
            read, refused, failures = fuzz([kind], arguments.count, Path(folder), arguments.first)
            wrong += len(failures)
            numbers = f"{read[kind]} read, {refused[kind]} refused, {len(failures)} failures"
            print(f"{kind}: {numbers}, {time.monotonic() - started:.0f} s", flush=True)
            for failure in failures:
                print(f"  {failure.kind} {failure.number}: {failure.what}", flush=True)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
