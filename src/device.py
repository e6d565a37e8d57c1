"""The only place that chooses the device, the ranks, the precision, the execution mode and the CPU kernels."""

import importlib.metadata
import logging
import os
import re
import sys
from dataclasses import dataclass
from typing import List, Optional, Tuple

import numpy as np

from .errors import UserError, install_command
from .values import short

logger = logging.getLogger(__name__)

_READ_AT_IMPORT = {
    "GLOG_v": ("0", "1", "2", "3", "4"),
    "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": ("python", "cpp", "upb"),
}


def _version(package: str) -> Tuple[int, ...]:
    try:
        text = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError as error:
        raise UserError(f"{package} is not installed: run {install_command()}") from error
    return tuple(int(part) for part in text.split(".")[:2])


def prepare_process() -> None:
    """Set what MindSpore reads when it is imported; every command calls this first.

    From MindSpore 2.9 on, convolutions on AVX-512 CPUs fall into a reference kernel, 30 to 100 times slower, unless
    oneDNN is limited to AVX2. MindSpore logs errors only.

    Raises:
        UserError: a variable with a value that its import would answer with a traceback.
    """
    os.environ.setdefault("GLOG_v", "3")
    for name, values in _READ_AT_IMPORT.items():
        text = os.environ.get(name)
        if text is not None and text not in values:
            fix = f"unset it, or give one of {', '.join(values)}"
            raise UserError(f"the environment variable {name} is {short(repr(text))}: {fix}")
    try:
        newer = _version("mindspore") >= (2, 9)
    except UserError:  # a command that needs MindSpore says so itself
        return
    if newer:
        os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")


def check_versions() -> None:
    """Raise a UserError for a Python, NumPy or MindSpore that this project cannot work with."""
    if not (3, 9) <= sys.version_info[:2] <= (3, 12):
        found = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise UserError(f"Python {found} is not supported: make the virtual environment with Python 3.9 to 3.12")
    if _version("numpy") >= (2, 0):
        raise UserError("NumPy 2 breaks MindSpore's tensor arithmetic: run 'pip install \"numpy<2\"'")
    if not (2, 7) <= _version("mindspore") <= (2, 10):
        raise UserError(f"this MindSpore is not supported: run {install_command()} (2.8 is the tested one)")


def choose_target(requested: str) -> str:
    """The device target: the requested one if it is present, or the best one present for "auto"."""
    import mindspore as ms

    present = [target for target in ("Ascend", "GPU") if ms.hal.is_available(target)] + ["CPU"]
    if requested == "auto":
        return present[0]
    if requested not in present:
        fix = "use `device_target` CPU, or install the driver and the MindSpore build for it"
        raise UserError(f"`device_target` {requested}: no such device here (present: {', '.join(present)}); {fix}")
    return requested


def set_up_device(device_target: str, seed: int, device_id: int = 0) -> str:
    """Prepare MindSpore: graph mode on the chosen device, seeded. Call it once, before any network is built.

    Args:
        device_target: "auto", "CPU", "GPU" or "Ascend".
        seed: of the initial weights.
        device_id: which of several GPUs or Ascends; a CPU has only 0.

    Returns:
        The device target in use.

    Raises:
        UserError: a version that does not work, or a device that is not there.
    """
    check_versions()
    import mindspore as ms

    target = choose_target(device_target)
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device(target, 0 if target == "CPU" else device_id)
    ms.set_seed(seed)
    logger.info("device %s, graph mode, MindSpore %s", target, ms.__version__)
    return target


def parse_devices(text: str) -> List[int]:
    """Device ids from digits, one each ('03'), or from numbers between commas ('0,10,11'; '10,' is one alone).

    Raises:
        UserError: anything else.
    """
    if not re.fullmatch(r"[0-9]+|[0-9]{1,4}(,[0-9]{1,4})*,?", text, re.ASCII):
        raise UserError(f"`devices` is {text!r}; give digits such as 0, 01 or 03, or numbers such as 0,10,11")
    return [int(number) for number in (text.strip(",").split(",") if "," in text else text)]


def network_threads(engine: str, workers: int) -> int:
    """CPU threads for the network of each of several worker processes on this machine; 0 = all cores.

    Cores are shared out, but not for MindSpore: its convolutions add in another order on another number of threads, and
    features must not depend on the number of workers. ONNX Runtime and OpenVINO give the same bits on any number.
    """
    if workers == 1 or engine == "mindspore":
        return 0
    return max(len(os.sched_getaffinity(0)) // workers, 1)


@dataclass(frozen=True)
class Device:
    """Where this process trains: the device target, and which of how many ranks it is."""

    target: str
    rank: int = 0
    ranks: int = 1

    @property
    def is_first(self) -> bool:
        """True on the one rank that writes files."""
        return self.rank == 0

    def sum_over_ranks(self, values: np.ndarray) -> np.ndarray:
        """The sum of every rank's ``values`` (float32); waits until all ranks are here."""
        if self.ranks == 1:
            return values
        import mindspore as ms

        return ms.ops.AllReduce()(ms.Tensor(values.astype(np.float32))).asnumpy()

    def wait_for_ranks(self) -> None:
        """Return when all ranks have come to this place."""
        self.sum_over_ranks(np.zeros(1, np.float32))


def ranks_started() -> int:
    """How many training processes ``msrun`` has started; 1 without it."""
    return _number_of_environment("MS_WORKER_NUM", 1, least=1)


def leads_ranks() -> bool:
    """Whether this process is the first of the ranks that ``msrun`` has started, or the only one without it."""
    role = os.environ.get("MS_ROLE")
    return not role or (role != "MS_SCHED" and _number_of_environment("RANK_ID", 0) == 0)


def _number_of_environment(name: str, default: int, least: int = 0) -> int:
    """The whole number of an environment variable; UserError when it is none, or below ``least``."""
    text = os.environ.get(name, str(default))
    if not re.fullmatch("[0-9]{1,6}", text) or int(text) < least:
        fix = f"unset it, or give a whole number of at least {least}"
        raise UserError(f"the environment variable {name} is {short(repr(text))}: {fix}")
    return int(text)


def set_up_training_device(device_target: str, seed: int, amp_level: str) -> Optional[Device]:
    """As ``set_up_device``, and join the ranks that ``msrun`` has started.

    Returns:
        The device; None in msrun's scheduler process, once the ranks have ended.

    Raises:
        UserError: as ``set_up_device``, ``amp_level`` O2 on a CPU, no numbers where msrun sets them, or ranks that do
            not meet.
    """
    ranks, rank = ranks_started(), _number_of_environment("RANK_ID", 0)
    target = set_up_device(device_target, seed, _number_of_environment("DEVICE_ID", 0))
    if target == "CPU" and amp_level != "O0":
        raise UserError(
            f"`amp_level` {amp_level} is for Ascend and GPU: on a CPU MindSpore has no dynamic loss scaling, and "
            "float16 is slower than float32; leave `amp_level` O0"
        )
    role = os.environ.get("MS_ROLE")
    if not role:
        return Device(target)
    from mindspore import communication

    try:
        communication.init()
    except (RuntimeError, ValueError, TypeError) as error:
        fix = "start training with scripts/run_distribute_train.sh, or unset MS_ROLE for one process"
        raise UserError(f"the processes of a distributed training cannot meet ({short(error)}): {fix}") from error
    return None if role == "MS_SCHED" else Device(target, rank, ranks)
