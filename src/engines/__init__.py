"""What runs the network: MindSpore, ONNX Runtime or OpenVINO behind one function, and the files they run."""

from .choose import load_network, resolve_engine
from .identity import INITIAL_KEYS, export_texts, weights_identity
from .network import BatchedNetwork, Network

__all__ = [
    "INITIAL_KEYS",
    "BatchedNetwork",
    "Network",
    "export_texts",
    "load_network",
    "resolve_engine",
    "weights_identity",
]
