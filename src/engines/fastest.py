"""Which engine and precision are fastest on this machine: measured once, and remembered in the user's cache folder.

No table could tell: bfloat16 halves the time of one processor and trebles that of another.
"""

import logging
import os
import platform
import time
from importlib import metadata
from pathlib import Path
from typing import Callable, Dict, Optional, Sequence, Tuple

import numpy as np

from ..artifacts import digest
from ..errors import UserError
from ..sealed import read_sealed, write_sealed
from .network import BatchedNetwork

logger = logging.getLogger(__name__)

Option = Tuple[str, str]  # engine and precision
IMAGE = (1, 3, 384, 512)
_TURNS = 5  # after one that does not count; the least time of each counts, as other work only adds
_FORMAT = 1


def fastest(
    options: Sequence[Option], load: Callable[[Option], BatchedNetwork], network: str, folder: Optional[Path]
) -> Tuple[Option, Dict[Option, float]]:
    """The fastest of ``options``, and the milliseconds of an image of 512 x 384 with each that runs here.

    Args:
        options: at least one; one that this processor cannot run is left out.
        load: makes the network of an option.
        network: what all of them run, such as the name of its architecture.
        folder: where the times are kept; None = nowhere.

    Raises:
        UserError: none of them runs.
    """
    versions = {engine: _version(engine) for engine, _ in options}
    machine = {"processor": processor_name(), "cores": os.cpu_count(), "network": network, "versions": versions}
    path = folder and folder / f"speed-{digest(machine)}.json"
    known = _read(path) if path else {}
    missing = [option for option in options if option not in known]
    if missing:
        logger.info("measuring which engine is fastest here, once")
        known.update(measure({option: load_or_none(load, option) for option in options}))
        if path:
            _keep(path, machine, known)
    times = {option: known[option] for option in options if known[option] < float("inf")}
    if not times:
        raise UserError(f"{network}: no engine runs it on this processor; give `engine` mindspore")
    return min(times, key=times.get), times


def load_or_none(load: Callable[[Option], BatchedNetwork], option: Option) -> Optional[BatchedNetwork]:
    """The network, or None where this processor cannot run it."""
    try:
        return load(option)
    except UserError as error:
        logger.debug("%s: %s", " ".join(option), error)
        return None


def measure(networks: Dict[Option, Optional[BatchedNetwork]]) -> Dict[Option, float]:
    """Least milliseconds of each network on the same image, in turns; infinity of None."""
    times = dict.fromkeys(networks, float("inf"))
    image = np.random.default_rng(0).uniform(-1, 1, IMAGE).astype(np.float32)
    for turn in range(1 + _TURNS):
        for option, network in networks.items():
            if network is None:
                continue
            started = time.perf_counter()
            network(image)
            if turn:
                times[option] = min(times[option], 1000 * (time.perf_counter() - started))
    return times


def processor_name() -> str:
    """As the system calls it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            return next(line.split(":", 1)[1].strip() for line in stream if line.startswith("model name"))
    except (OSError, StopIteration):  # not Linux, or an ARM
        return platform.processor() or platform.machine()


def _version(engine: str) -> str:
    try:
        return metadata.version(engine)
    except metadata.PackageNotFoundError:  # under another name, such as onnxruntime-gpu
        return ""


def _read(path: Path) -> Dict[Option, float]:
    """The times at ``path``; none where there is no such file, or no use in it."""
    if not path.is_file():
        return {}
    try:
        return {(engine, precision): float(each) for engine, precision, each in read_sealed(path, _FORMAT, "")["times"]}
    except (UserError, KeyError, TypeError, ValueError) as error:
        logger.warning("%s: not used, and made again (%s)", path, error)
        return {}


def _keep(path: Path, machine: Dict[str, object], times: Dict[Option, float]) -> None:
    """Write them; one line says why they are not kept, where they cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_sealed(path, _FORMAT, {**machine, "times": [[*option, each] for option, each in times.items()]})
    except (OSError, UserError) as error:
        logger.warning("%s: not kept, so each run measures again (%s)", path, error)
