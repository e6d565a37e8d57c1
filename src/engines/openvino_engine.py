"""The network run by OpenVINO on a CPU."""

from typing import Sequence, Tuple

import numpy as np

from ..artifacts import PathLike
from ..errors import UserError, reading
from .network import DELF_OUTPUTS, BatchedNetwork

_HINTS = {
    "float32": "f32",
    "bfloat16": "bf16",
    "int8": "f32",
}  # left to itself, OpenVINO takes bfloat16 where the processor has it


def openvino_network(
    content: bytes, path: PathLike, precision: str, threads: int = 0, outputs: Sequence[str] = DELF_OUTPUTS
) -> BatchedNetwork:
    """The network of an .onnx file.

    Args:
        content: of a file of the command export_model.
        path: its name, for messages.
        precision: "float32", "bfloat16", or the file's own "int8".
        threads: of the network; 0 = one a core.
        outputs: what to give of what it has.

    Raises:
        UserError: nothing that OpenVINO runs, or a processor without bfloat16.
    """
    import openvino

    core = openvino.Core()
    if precision == "bfloat16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise UserError("this processor has no bfloat16 arithmetic: use `precision` float32")
    settings = {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,  # several workers would all be pinned to the first cores
        "CPU_RUNTIME_CACHE_CAPACITY": 0,  # it would grow by a megabyte with each new image size, for no speed
    }
    with reading(path, "export it again"):
        request = core.compile_model(core.read_model(content), "CPU", settings).create_infer_request()

    def network(images: np.ndarray) -> Tuple[np.ndarray, ...]:
        found = request.infer({"image": images})  # copies, which the next call leaves alone
        return tuple(found[name] for name in outputs)

    return network
