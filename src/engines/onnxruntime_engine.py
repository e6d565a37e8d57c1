"""The network run by ONNX Runtime on a CPU."""

from typing import Sequence

from ..artifacts import PathLike
from ..errors import reading
from .network import DELF_OUTPUTS, BatchedNetwork


def onnxruntime_network(
    content: bytes, path: PathLike, threads: int = 0, outputs: Sequence[str] = DELF_OUTPUTS
) -> BatchedNetwork:
    """The network of an .onnx file, in float32.

    Args:
        content: of a file of the command export_model.
        path: its name, for messages.
        threads: of the network; 0 = one a core.
        outputs: what to give of what it has.

    Raises:
        UserError: nothing that ONNX Runtime runs.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # waiting threads sleep: the cores are wanted for reading and selection meanwhile
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    with reading(path, "export it again"):
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda images: tuple(session.run(list(outputs), {"image": images}))
