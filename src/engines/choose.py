"""Which engine runs the network, and the network ready to be called."""

import importlib.util
import logging
from pathlib import Path
from typing import Dict, List, Tuple

import numpy as np

from ..artifacts import require_file
from ..config import Config
from ..errors import UserError
from ..features.extractor import Network
from . import Model
from .onnx_cache import cached_onnx

logger = logging.getLogger(__name__)

NAMES = {"mindspore": "MindSpore", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
CPU_ENGINES = ("openvino", "onnxruntime", "mindspore")  # fastest first
_READERS: Dict[str, Tuple[str, ...]] = {".onnx": ("openvino", "onnxruntime"), ".mindir": ("mindspore",)}
_INSTALL = {"mindspore": "pip install -r requirements.txt"}
_INSTALL_EXTRAS = "pip install -r requirements-engines.txt"


def resolve_engine(config: Config) -> Config:
    """``config`` with the engine that "auto" stands for; logs which and why.

    MindSpore on Ascend and GPU; on a CPU the fastest engine installed that does the precision and reads the file.

    Raises:
        UserError: the engine is not installed, or cannot do the precision or read the file.
    """
    device = _device(config)
    if config.engine != "auto":
        _require_able(config, config.engine, device)
        return config
    able, installed = _able_engines(config, device), installed_engines(config)
    if not installed:  # or none is able: a MindIR file in bfloat16
        _require_able(config, (able or _READERS[_suffix(config)])[0], device)
    engine = installed[0]
    left = [NAMES[name] for name in able[: able.index(engine)]]
    faster = f"; {' and '.join(left)} would be faster: {_INSTALL_EXTRAS}" if left else ""
    logger.info("engine %s, %s, on %s%s", NAMES[engine], config.precision, device, faster)
    return config.replace(engine=engine)


def installed_engines(config: Config) -> List[str]:
    """The engines installed here that can run the checkpoint at the recipe's precision, fastest first."""
    return [engine for engine in _able_engines(config, _device(config)) if _is_installed(engine, config)]


def load_network(config: Config, device_id: int = 0, threads: int = 0) -> Network:
    """The network of ``config.checkpoint_path`` in the engine of ``config``, ready to be called.

    Args:
        config: recipe; its engine may be "auto", its checkpoint a .ckpt, .onnx or .mindir file.
        device_id: which of several GPUs or Ascends.
        threads: CPU threads of ONNX Runtime or OpenVINO, 0 = all cores; MindSpore always takes all.

    Raises:
        UserError: as ``resolve_engine``, or a file that cannot be used.
    """
    return of_one_image(open_model(resolve_engine(config), device_id, threads))


def of_one_image(model: Model) -> Network:
    """A model for a single image, whose feature map has its channels last."""

    def network(image: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        feature_maps, attention = model(image)
        return feature_maps[0].transpose(1, 2, 0), attention[0, 0]

    return network


def open_model(config: Config, device_id: int = 0, threads: int = 0) -> Model:
    """As ``load_network``, for batches, with the engine resolved."""
    if config.engine == "mindspore":
        from . import mindspore_engine as inference

        return inference.open_model(config, device_id)
    path = require_file(config.checkpoint_path, "checkpoint_path")
    path = path if _suffix(config) == ".onnx" else cached_onnx(config)
    if config.engine == "onnxruntime":
        from . import onnxruntime_engine

        return onnxruntime_engine.open_model(path, threads)
    from . import openvino_engine

    return openvino_engine.open_model(path, config.precision, threads)


def _is_installed(engine: str, config: Config) -> bool:
    """Whether the packages that ``engine`` needs for the checkpoint can be found; imports none of them."""
    return _is_found(engine) and (engine == "mindspore" or _suffix(config) in _READERS or _is_found("onnx"))


def _is_found(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def _suffix(config: Config) -> str:
    return Path(config.checkpoint_path).suffix.lower()


def _device(config: Config) -> str:
    """The device target. MindSpore, whose import takes seconds, is asked only where there can be an accelerator."""
    if _suffix(config) == ".onnx" or config.device_target == "CPU":
        return "CPU"
    if config.device_target != "auto":
        return config.device_target
    nodes = (node for pattern in ("davinci*", "nvidia*", "dxg") for node in Path("/dev").glob(pattern))
    if not _is_found("mindspore") or next(nodes, None) is None:
        return "CPU"
    from ..device import choose_target

    return choose_target("auto")


def _able_engines(config: Config, device: str) -> List[str]:
    engines = _READERS.get(_suffix(config), CPU_ENGINES if device == "CPU" else ("mindspore",))
    return [engine for engine in engines if config.precision in _precisions(engine, device, config)]


def _precisions(engine: str, device: str, config: Config) -> Tuple[str, ...]:
    if engine == "openvino" or (engine == "mindspore" and device != "CPU" and _suffix(config) not in _READERS):
        return ("float32", "bfloat16")
    return ("float32",)


def _require_able(config: Config, engine: str, device: str) -> None:
    """UserError unless ``engine`` is installed, runs on the device, reads the file and does the precision."""
    readers = _READERS.get(_suffix(config), CPU_ENGINES)
    if engine not in readers:
        others = " or ".join(f"`engine` {name}" for name in readers)
        raise UserError(f"{config.checkpoint_path}: {NAMES[engine]} does not run {_suffix(config)} files; use {others}")
    if config.precision not in _precisions(engine, device, config):
        raise UserError(
            f"{NAMES[engine]} runs {Path(config.checkpoint_path).name} in float32 only here; use `precision` float32, "
            f"or a .ckpt or .onnx file with `engine` openvino ({_INSTALL_EXTRAS})"
        )
    if engine != "mindspore" and config.device_target not in ("auto", "CPU"):
        raise UserError(f"`engine` {engine} runs on a CPU; `device_target` {config.device_target} needs mindspore")
    if not _is_installed(engine, config):
        raise UserError(_not_installed(engine, f"`engine` {engine}"))


def _not_installed(engine: str, wish: str) -> str:
    return f"{wish} needs {NAMES[engine]}, which is not installed: run '{_INSTALL.get(engine, _INSTALL_EXTRAS)}'"
