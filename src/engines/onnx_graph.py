"""The inference network as an ONNX model, written straight from its folded weights, and a cache of such files.

Nothing is traced: a graph written layer by layer has dynamic batch, height and width from the start, whereas MindSpore
exports ONNX for one fixed size only.
"""

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, List, Mapping, Optional, Sequence

import numpy as np

from ..artifacts import atomic_write_bytes
from ..config import ModelConfig, RunConfig
from ..errors import UserError
from ..model.architectures import Architecture, Convolution, Unit, architecture_of
from ..model.own_head import ENCODER
from .identity import describe_export, sealed, texts_of, weights_identity
from .network import DELF_OUTPUTS

logger = logging.getLogger(__name__)

OPSET = 13  # the least with every operator as used here: old runtimes read it too
IR_VERSION = 8
GRAPH_VERSION = 2  # goes up with every change of what is written
KEPT = 8  # files in the cache, of about 36 MB, with block4 100 MB


def build_onnx(
    weights: Mapping[str, np.ndarray], architecture: Architecture, outputs: Sequence[str] = DELF_OUTPUTS
) -> bytes:
    """The ONNX model of folded weights.

    ``image`` [batch, 3, height, width] float32, RGB normalised as the architecture asks -> those asked for of
    ``feature_map`` [batch, C, rows, columns], ``attention`` [batch, 1, rows, columns] after its softplus, and
    ``block4``, whose rows and columns are its own.

    Args:
        weights: of ``model.architectures.fold``.
        architecture: of the weights before they were folded.
        outputs: what it gives, in this order.
    """
    from onnx import TensorProto, helper, numpy_helper

    writer = _Writer(weights)
    writer.add_backbone("image", architecture.folded(), "feature_map")
    if "attention" in outputs:
        writer.add_attention("feature_map", "attention")
    if "block4" in outputs:
        writer.add_units("feature_map", architecture.stages[3], "descriptor_head", "block4")

    def value(name: str, *shape: Any) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    shapes = {
        "feature_map": (architecture.block3_channels, "rows", "columns"),
        "attention": (1, "rows", "columns"),
        "block4": (architecture.block4_channels, "block4_rows", "block4_columns"),
    }
    graph = helper.make_graph(
        writer.nodes,
        "delf",
        [value("image", "batch", 3, "height", "width")],
        [value(name, "batch", *shapes[name]) for name in outputs],
        [numpy_helper.from_array(weights[name], name) for name in writer.used],
    )
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="delf")
    return model.SerializeToString()


class _Writer:
    """Adds layers to a list of nodes; each method returns the name of its output."""

    def __init__(self, weights: Mapping[str, np.ndarray]) -> None:
        self.weights = weights
        self.nodes: List[Any] = []
        self.used: List[str] = []

    def add(self, operator: str, inputs: List[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def convolution(self, x: str, name: str, layer: Convolution) -> str:
        parameters = [f"{name}.weight", f"{name}.bias"]
        self.used += parameters
        # an even side is padded by 2 before and 3 after, an odd one by 3 and 3: what SAME_UPPER, TF's SAME, means
        padding = {"auto_pad": "SAME_UPPER"} if layer.same else {"pads": [layer.kernel // 2] * 4}
        shape, strides = [layer.kernel, layer.kernel], [layer.stride, layer.stride]
        padding = {} if layer.kernel == 1 else padding
        return self.add("Conv", [x, *parameters], name, kernel_shape=shape, strides=strides, **padding)

    def relu(self, x: str, output: str = "") -> str:
        return self.add("Relu", [x], output or f"{x}.relu")

    def pool(self, x: str, output: str, kernel: int, **padding: Any) -> str:
        """Max-pool of stride 2; with kernel 1 it takes every second row and column."""
        return self.add("MaxPool", [x], output, kernel_shape=[kernel, kernel], strides=[2, 2], **padding)

    def add_backbone(self, x: str, architecture: Architecture, output: str) -> None:
        x = self.relu(self.convolution(x, "backbone.conv1", architecture.stem))
        x = self.pool(x, "backbone.pool1", 3, **({} if architecture.style.same_stem else {"pads": [1, 1, 1, 1]}))
        self.add_units(x, architecture.backbone_units, "backbone", output)

    def add_units(self, x: str, units: Sequence[Unit], owner: str, output: str) -> None:
        for unit in units:
            x = self.unit(x, unit, owner, output if unit is units[-1] else f"{owner}.{unit.name}.output")

    def unit(self, x: str, unit: Unit, owner: str, output: str) -> str:
        name, shortcut = f"{owner}.{unit.name}", x
        if unit.projection:
            shortcut = self.convolution(x, f"{name}.conv_shortcut", unit.projection)
        elif unit.skip > 1:
            shortcut = self.pool(x, f"{name}.shortcut", 1)
        for layer in unit.branch[:-1]:
            x = self.relu(self.convolution(x, f"{name}.conv_{layer.name}", layer))
        x = self.convolution(x, f"{name}.conv_{unit.branch[-1].name}", unit.branch[-1])
        return self.relu(self.add("Add", [x, shortcut], f"{name}.sum"), output)

    def add_attention(self, x: str, output: str) -> None:
        if ENCODER in self.weights:
            x = self.relu(self.pointwise(self.pointwise(x, "autoencoder.encoder"), "autoencoder.decoder"))
        x = self.relu(self.pointwise(x, "attention.conv1"))
        self.add("Softplus", [self.pointwise(x, "attention.conv2")], output)

    def pointwise(self, x: str, name: str) -> str:
        outputs, inputs, kernel, _ = self.weights[f"{name}.weight"].shape
        return self.convolution(x, name, Convolution("", inputs, outputs, kernel))


def cached_onnx(run: RunConfig, model: ModelConfig, outputs: Sequence[str] = DELF_OUTPUTS) -> bytes:
    """The ONNX file of the checkpoint ``model.checkpoint_path``, from the user's cache folder or written anew.

    Several processes may ask at once: each writes a whole file of its own and renames it into place. Only writing
    needs MindSpore. The files used longest ago are deleted. A damaged file is replaced, and where nothing can be kept,
    nothing is.

    Raises:
        UserError: not a checkpoint, or one that lacks what gives one of ``outputs``.
    """
    identity, architecture = weights_identity(run, model), architecture_of(model)
    texts = describe_export(identity, architecture, outputs)
    given = "" if tuple(outputs) == DELF_OUTPUTS else "-" + "-".join(outputs)
    folder = cache_folder()
    path = folder and folder / f"{identity}-{architecture.name}-{architecture.style.name}{given}-v{GRAPH_VERSION}.onnx"
    kept = path and _read_kept(path, texts)
    if kept is not None:
        return kept
    try:
        from .mindspore_engine import folded_weights  # imports MindSpore, which must come before onnx
    except ModuleNotFoundError as error:
        raise UserError(
            f"{model.checkpoint_path}: only MindSpore reads checkpoints, and {error.name} is not installed; "
            "export it to ONNX with the command export_model where it is"
        ) from error
    content = sealed(build_onnx(folded_weights(run, model, outputs), architecture, outputs), texts)
    if path:
        _keep(path, content)
    return content


def cache_folder() -> Optional[Path]:
    """The user's; None for a user without a home."""
    given = os.environ.get("XDG_CACHE_HOME", "")  # to be ignored unless absolute, as its specification asks
    folder = given if os.path.isabs(given) else os.path.expanduser("~/.cache")
    return Path(folder) / "delf" if os.path.isabs(folder) else None


def _read_kept(path: Path, texts: Mapping[str, str]) -> Optional[bytes]:
    """The file at ``path`` if it is whole and has these texts, else None; one line says why what is there is no use."""
    try:
        if not path.is_file():
            return None
        content = path.read_bytes()
        if texts_of(content) != texts:
            raise ValueError("of another network")
    except (OSError, ValueError) as error:
        logger.warning("%s: not used, and made again (%s)", path, error)
        return None
    with suppress(OSError):  # another user's
        os.utime(path)
    return content


def _keep(path: Path, content: bytes) -> None:
    """Write ``content``; one line says so, or why it is not kept."""
    try:
        atomic_write_bytes(path, content)
        _delete_old(path.parent)
        logger.info("wrote %s", path)
    except (OSError, UserError) as error:
        logger.warning("%s: not kept, so each run makes it again (%s)", path, error)


def _delete_old(folder: Path) -> None:
    def last_used(path: Path) -> float:
        try:
            return path.stat().st_mtime
        except FileNotFoundError:  # another process has just deleted it
            return 0.0

    for path in sorted(folder.glob("*.onnx"), key=last_used)[:-KEPT]:
        path.unlink(missing_ok=True)
