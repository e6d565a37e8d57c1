"""`run.py all`: every benchmark, one after the other, and the page of what they printed."""

import argparse
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import List, NamedTuple, Tuple

from src.artifacts import atomic_write_bytes
from src.commands.command_line import Command
from src.errors import UserError
from tools.benchmarks.commands import ROOT

HELP = """Run every benchmark, one after the other, and write the page of what they printed.

What a benchmark printed is kept in --work_dir: a run that was stopped goes on with the next one, and --overwrite begins
anew. It takes an hour or two on two cores."""

LIBRARIES = ("numpy", "mindspore", "openvino", "onnxruntime", "faiss-cpu", "opencv-python-headless", "h5py")


class Section(NamedTuple):
    """A benchmark: its title on the page, its command line from the root of the repository, what it must be given."""

    title: str
    command: Tuple[str, ...]
    needs: Tuple[str, ...] = ()


def sections(checkpoint: str, int8: str, pytorch_python: str) -> List[Section]:
    """All benchmarks, in the order of the page; optional inputs may be empty."""
    peers = ("--pytorch", "--pytorch_python", pytorch_python) if pytorch_python else ()
    extract = ("tools/benchmarks/run.py", "extract", "--checkpoint_path", checkpoint, "--model_zoo", *peers)
    extract += (("--compile",) if peers else ()) + (("--int8", int8) if int8 else ())
    train = ("tools/benchmarks/run.py", "train", "--batch_size", "8", "--image_size", "224", *peers)
    return [
        Section("Extraction", extract, ("--checkpoint_path",)),
        Section("Training steps", train),
        Section("Memory of large steps", ("tools/benchmarks/large_steps.py",)),
        Section("Data set builder", ("tools/benchmarks/builder.py",)),
        Section("Search", ("tools/benchmarks/retrieval.py", "--work_dir", "{work}/search")),
        Section("Search by aggregated features", ("tools/benchmarks/aggregated.py", "--work_dir", "{work}/aggregated")),
        Section("Growth", ("tools/benchmarks/growth.py",)),
    ]


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", default="docs/benchmarks.md", help="page to write (default: %(default)s)")
    parser.add_argument("--work_dir", default="benchmark_all", help="what each benchmark printed (%(default)s)")
    parser.add_argument("--int8", default="", metavar="FILE", help="also this 8-bit export of the checkpoint")
    parser.add_argument(
        "--pytorch_python", default="", metavar="PATH", help="Python of an environment that has PyTorch, for its times"
    )
    parser.add_argument("--titles", nargs="+", metavar="TITLE", help="only these, such as Search (default: all)")


ALL = Command(
    summary=HELP,
    example="--checkpoint_path net.ckpt --pytorch_python ../torch/bin/python",
    keys=("checkpoint_path", "overwrite"),
    shown=("checkpoint_path", "int8", "pytorch_python", "titles", "output", "work_dir", "overwrite"),
    add_arguments=_arguments,
)


def write_page(argv: List[str]) -> None:
    """Run the benchmarks that have not been run yet, and write the page."""
    config, arguments = ALL.parse(argv)
    checkpoint, work = str(config.model.checkpoint_path), Path(arguments.work_dir)
    every = sections(checkpoint, arguments.int8, arguments.pytorch_python)
    unknown = set(arguments.titles or ()) - {section.title for section in every}
    if unknown:
        raise UserError(f"--titles: no {min(unknown)}; give some of {', '.join(section.title for section in every)}")
    parts = [f"# Benchmarks\n\nWritten by `python tools/benchmarks/run.py all`. {machine()}\n"]
    for section in every:
        if arguments.titles and section.title not in arguments.titles:
            parts.append(f"## {section.title}\n\nNot run for this page.\n")
        elif section.needs and not checkpoint:
            parts.append(f"## {section.title}\n\nNot run: it needs {section.needs[0]}.\n")
        else:
            parts.append(run_section(section, work, config.run.overwrite))
    atomic_write_bytes(arguments.output, "\n".join(parts).encode())


def run_section(section: Section, work: Path, overwrite: bool) -> str:
    """The part of the page of one benchmark; what it printed is kept under ``work``.

    Raises:
        UserError: it fails.
    """
    command = [part.format(work=work) for part in section.command]
    shown = f"python {shlex.join(command)}"
    kept = work / f"{section.title.lower().replace(' ', '_')}.md"
    if kept.exists() and not overwrite:
        text = kept.read_text(encoding="utf-8")
        if f"\n{shown}\n" in text:
            return text
    print(f"{section.title}: {shown}", flush=True)
    found = subprocess.run([sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if found.returncode:
        raise UserError(f"{shown}: ended with status {found.returncode}; what it said stands above")
    output = found.stdout.strip()
    body = output if "\n|" in f"\n{output}" else f"```\n{output}\n```"
    text = f"## {section.title}\n\n```shell\n{shown}\n```\n\n{body}\n"
    work.mkdir(parents=True, exist_ok=True)
    atomic_write_bytes(kept, text.encode())
    return text


def machine() -> str:
    """Processor, cores, memory and versions, as a sentence."""
    from src.engines.fastest import processor_name

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30 if hasattr(os, "sysconf") else 0
    libraries = []
    for name in LIBRARIES:
        try:
            libraries.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return (
        f"Machine: {processor_name()}, {cores} cores, {memory:.0f} GB; {platform.system()}, "
        f"Python {platform.python_version()}; {', '.join(libraries)}. Ratios within a benchmark were taken in turns."
    )
