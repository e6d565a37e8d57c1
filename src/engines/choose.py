"""Which engine runs the network, and the network ready to be called."""

import importlib.util
import logging
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

import numpy as np

from ..config import ModelConfig, RunConfig
from ..errors import UserError, install_command
from ..model.checkpoint_file import require_weights
from .fastest import fastest
from .identity import export_texts, is_export, precision_of
from .network import DELF_OUTPUTS, BatchedNetwork, Network
from .onnx_graph import cache_folder, cached_onnx
from .outputs import available_outputs, require_outputs

logger = logging.getLogger(__name__)

NAMES = {"mindspore": "MindSpore", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
MEASURED = ("float32", "bfloat16")  # precisions of one and the same file
CPU_ENGINES = ("openvino", "onnxruntime", "mindspore")  # fastest first
_READERS: Dict[str, Tuple[str, ...]] = {".onnx": ("openvino", "onnxruntime"), ".mindir": ("mindspore",)}


def resolve_engine(run: RunConfig, model: ModelConfig) -> ModelConfig:
    """``model`` with the engine and the precision that "auto" stands for, or an export's own; logs which and why.

    MindSpore on Ascend and GPU; on a CPU the engine installed that is known as the fastest, does the precision and
    reads the file. Precision "auto" measures what is installed, once, and is float32 where there is nothing to choose.

    Raises:
        UserError: the engine is not installed, cannot do the precision or read the file, or the file has another one.
    """
    model, device = _with_own_precision(model), _device(run, model)
    if model.precision == "auto":
        return _fastest(run, model, device)
    if model.engine != "auto":
        _require_able(run, model, model.engine)
        return model
    able, installed = _able_engines(model, device), installed_engines(run, model)
    if not installed:  # or none is able: a MindIR file in bfloat16
        _require_able(run, model, (able or _READERS[_suffix(model)])[0])
    engine = installed[0]
    left = [NAMES[name] for name in able[: able.index(engine)]]
    faster = f"; {' and '.join(left)} would be faster: {install_command('engines')}" if left else ""
    logger.info("engine %s, %s, on %s%s", NAMES[engine], model.precision, device, faster)
    return model.replace(engine=engine)


def _fastest(run: RunConfig, model: ModelConfig, device: str) -> ModelConfig:
    """``model`` with what is fastest on this processor of the engines that are installed, at any precision."""
    engines = CPU_ENGINES if model.engine == "auto" else (model.engine,)
    found = {precision: installed_engines(run, model.replace(precision=precision)) for precision in MEASURED}
    options = [(name, precision) for precision, names in found.items() for name in names if name in engines]
    others = [option for option in options if option[0] != "mindspore"]  # never the fastest, and slow to begin
    if device != "CPU" or len(others or options) < 2:
        return resolve_engine(run, model.replace(precision="float32"))
    given = available_outputs(model)
    outputs = tuple(name for name in DELF_OUTPUTS if name in given) or given

    def load(option: Tuple[str, str]) -> BatchedNetwork:
        engine, precision = option
        return load_batched_network(run, model.replace(engine=engine, precision=precision), outputs=outputs)

    network = f"{model.architecture} {model.weights_style}"
    (engine, precision), times = fastest(others, load, network, cache_folder())
    measured = ", ".join(f"{NAMES[name]} {how} {each:.0f} ms" for (name, how), each in times.items())
    logger.info("engine %s, %s: the fastest here (an image of 512 x 384: %s)", NAMES[engine], precision, measured)
    return model.replace(engine=engine, precision=precision)


def installed_engines(run: RunConfig, model: ModelConfig) -> List[str]:
    """The engines installed here that can run the checkpoint at the recipe's precision, fastest first."""
    model = _with_own_precision(model)
    return [engine for engine in _able_engines(model, _device(run, model)) if _is_installed(engine, model)]


def load_network(
    run: RunConfig,
    model: ModelConfig,
    device_id: int = 0,
    threads: int = 0,
    outputs: Sequence[str] = DELF_OUTPUTS,
) -> Network:
    """The network of ``model.checkpoint_path`` in the engine of ``model``, ready to be called.

    Args:
        run: gives the device, and the seed of what the checkpoint lacks.
        model: its engine may be "auto", its checkpoint a .ckpt, .h5, .onnx or .mindir file.
        device_id: which of several GPUs or Ascends.
        threads: CPU threads of ONNX Runtime or OpenVINO, 0 = all cores; MindSpore always takes all.
        outputs: some of ``OUTPUTS``, in their order.

    Raises:
        UserError: as ``resolve_engine``, or a file that cannot be used.
    """
    model = resolve_engine(run, model)
    return of_one_image(load_batched_network(run, model, device_id, threads, outputs), outputs)


def load_batched_network(
    run: RunConfig,
    model: ModelConfig,
    device_id: int = 0,
    threads: int = 0,
    outputs: Sequence[str] = DELF_OUTPUTS,
) -> BatchedNetwork:
    """As ``load_network``, for batches, with the engine resolved."""
    path = require_weights(model.checkpoint_path, "checkpoint_path")
    if is_export(path):
        _require_architecture(path, model)
    require_outputs(model, outputs)
    if model.engine == "mindspore":
        from .mindspore_engine import mindspore_network

        return mindspore_network(run, model, device_id, outputs)
    content = path.read_bytes() if _suffix(model) == ".onnx" else cached_onnx(run, model, outputs)
    if model.engine == "onnxruntime":
        from .onnxruntime_engine import onnxruntime_network

        return onnxruntime_network(content, path, threads, outputs)
    from .openvino_engine import openvino_network

    return openvino_network(content, path, model.precision, threads, outputs)


def _with_own_precision(model: ModelConfig) -> ModelConfig:
    """``model`` with the precision of the export that it names; UserError when the recipe asks for one it is not of."""
    path = model.checkpoint_path
    own = precision_of(path) if is_export(path) and Path(path).is_file() else "float32"
    if own == model.precision or (own == "float32" and model.precision != "int8"):
        return model
    if model.precision in ("float32", "auto"):
        return model.replace(precision=own)
    if own == "float32":
        fact = "`precision` int8 is that of a file of its own; make one by the command export_model"
    else:
        fact = f"its arithmetic is {own}; leave `precision` out"
    raise UserError(f"{path}: {fact}")


def _require_architecture(path: Path, model: ModelConfig) -> None:
    """UserError when an export is another network than the recipe's: its cells would be looked for in other places."""
    texts = export_texts(path)
    name, style = texts.get("architecture", "resnet50"), texts.get("weights_style", "keras")  # as of version 0.1
    if (name, style) != (model.architecture, model.weights_style):
        raise UserError(
            f"{path}: exported from {name} in style {style}, the recipe's network is {model.architecture} in style "
            f"{model.weights_style}; give `architecture` {name} and `weights_style` {style}"
        )


def _is_installed(engine: str, model: ModelConfig) -> bool:
    """Whether the packages that ``engine`` needs for the checkpoint can be found; imports none of them."""
    return _is_found(engine) and (engine == "mindspore" or _suffix(model) in _READERS or _is_found("onnx"))


def _is_found(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def _suffix(model: ModelConfig) -> str:
    return Path(model.checkpoint_path).suffix.lower()


def _device(run: RunConfig, model: ModelConfig) -> str:
    """The device target. MindSpore, whose import takes seconds, is asked only where there can be an accelerator."""
    if _suffix(model) == ".onnx" or run.device_target == "CPU":
        return "CPU"
    if run.device_target != "auto":
        return run.device_target
    nodes = (node for pattern in ("davinci*", "nvidia*", "dxg") for node in Path("/dev").glob(pattern))
    if not _is_found("mindspore") or next(nodes, None) is None:
        return "CPU"
    from ..device import choose_target

    return choose_target("auto")


def _able_engines(model: ModelConfig, device: str) -> List[str]:
    engines = _READERS.get(_suffix(model), CPU_ENGINES if device == "CPU" else ("mindspore",))
    return [engine for engine in engines if model.precision in _precisions(engine, device, model)]


def _precisions(engine: str, device: str, model: ModelConfig) -> Tuple[str, ...]:
    if model.precision == "int8":  # of the file, which MindSpore does not read
        return ("int8",)
    if engine == "openvino" or (engine == "mindspore" and device != "CPU" and _suffix(model) not in _READERS):
        return ("float32", "bfloat16")
    return ("float32",)


def _require_able(run: RunConfig, model: ModelConfig, engine: str) -> None:
    """UserError unless ``engine`` is installed, runs on the device, reads the file and does the precision."""
    readers = _READERS.get(_suffix(model), CPU_ENGINES)
    if engine not in readers:
        others = " or ".join(f"`engine` {name}" for name in readers)
        raise UserError(f"{model.checkpoint_path}: {NAMES[engine]} does not run {_suffix(model)} files; use {others}")
    if model.precision not in _precisions(engine, _device(run, model), model):
        raise UserError(
            f"{NAMES[engine]} runs {Path(model.checkpoint_path).name} in float32 only here; use `precision` float32, "
            f"or a .ckpt or .onnx file with `engine` openvino ({install_command('engines')})"
        )
    if engine != "mindspore" and run.device_target not in ("auto", "CPU"):
        raise UserError(f"`engine` {engine} runs on a CPU; `device_target` {run.device_target} needs mindspore")
    if not _is_installed(engine, model):
        raise UserError(_not_installed(engine, f"`engine` {engine}"))


def _not_installed(engine: str, wish: str) -> str:
    command = install_command("" if engine == "mindspore" else "engines")
    return f"{wish} needs {NAMES[engine]}, which is not installed: run {command}"


def of_one_image(network: BatchedNetwork, outputs: Sequence[str] = DELF_OUTPUTS) -> Network:
    """The network of ``outputs`` for a single image, whose maps have their channels last."""

    def of_one(image: np.ndarray) -> Tuple[np.ndarray, ...]:
        pairs = zip(outputs, network(image))
        return tuple(found[0, 0] if name == "attention" else found[0].transpose(1, 2, 0) for name, found in pairs)

    return of_one
