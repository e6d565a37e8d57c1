"""The network run by ONNX Runtime on a CPU."""

from ..artifacts import PathLike
from ..errors import UserError
from .network import BatchedNetwork


def onnxruntime_network(path: PathLike, threads: int = 0) -> BatchedNetwork:
    """The network of an .onnx file, in float32.

    Args:
        path: file of the command export_model.
        threads: of the network; 0 = one a core.

    Raises:
        UserError: not an ONNX file.
    """
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as states

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # waiting threads sleep: the cores are wanted for reading and selection meanwhile
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except (states.Fail, states.InvalidProtobuf, states.InvalidGraph, states.InvalidArgument) as error:
        raise UserError(f"{path}: not a network that ONNX Runtime can read; export it again") from error
    return lambda images: tuple(session.run(["feature_map", "attention"], {"image": images}))
