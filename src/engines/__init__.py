"""What runs the network: MindSpore, ONNX Runtime or OpenVINO behind one function, and the files they run."""

from .choose import load_batched_network, load_network, resolve_engine
from .identity import INITIAL_KEYS, export_texts, weights_identity
from .network import DELF_OUTPUTS, OUTPUTS, BatchedNetwork, Network
from .outputs import available_outputs

__all__ = [
    "DELF_OUTPUTS",
    "INITIAL_KEYS",
    "OUTPUTS",
    "BatchedNetwork",
    "Network",
    "available_outputs",
    "export_texts",
    "load_batched_network",
    "load_network",
    "resolve_engine",
    "weights_identity",
]
