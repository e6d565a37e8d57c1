"""The inference network as an ONNX model, written straight from its folded weights.

Nothing is traced: a graph written layer by layer has dynamic batch, height and width from the start, whereas MindSpore
exports ONNX for one fixed size only.
"""

from typing import Any, List, Mapping

import numpy as np

from ..model.folding import UNITS

OPSET = 13  # the least with every operator as used here: old runtimes read it too
IR_VERSION = 8


def build_onnx(weights: Mapping[str, np.ndarray]) -> bytes:
    """The ONNX model of folded weights.

    ``image`` [batch, 3, height, width] float32, RGB as (x - 128) / 128 -> ``feature_map`` [batch, 1024, rows, columns]
    and ``attention`` [batch, 1, rows, columns] after its softplus.

    Args:
        weights: of ``src.model.folding.fold``.
    """
    from onnx import TensorProto, helper, numpy_helper

    writer = _Writer(weights)
    writer.add_backbone("image", "feature_map")
    writer.add_attention("feature_map", "attention")

    def value(name: str, *shape: Any) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        writer.nodes,
        "delf",
        [value("image", "batch", 3, "height", "width")],
        [value("feature_map", "batch", 1024, "rows", "columns"), value("attention", "batch", 1, "rows", "columns")],
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

    def convolution(self, x: str, layer: str, stride: int = 1, **padding: Any) -> str:
        parameters = [f"{layer}.weight", f"{layer}.bias"]
        self.used += parameters
        kernel = list(self.weights[parameters[0]].shape[2:])
        return self.add("Conv", [x, *parameters], layer, kernel_shape=kernel, strides=[stride, stride], **padding)

    def relu(self, x: str, output: str = "") -> str:
        return self.add("Relu", [x], output or f"{x}.relu")

    def pool(self, x: str, output: str, kernel: int) -> str:
        """VALID max-pool of stride 2; with kernel 1 it takes every second row and column."""
        return self.add("MaxPool", [x], output, kernel_shape=[kernel, kernel], strides=[2, 2])

    def add_backbone(self, x: str, output: str) -> None:
        # an even side is padded by 2 before and 3 after, an odd one by 3 and 3: what SAME_UPPER, TF's SAME, means
        x = self.relu(self.convolution(x, "backbone.conv1", 2, auto_pad="SAME_UPPER"))
        x = self.pool(x, "backbone.pool1", 3)
        for name, stride in UNITS:
            x = self.unit(x, name, stride, output if name == UNITS[-1][0] else f"{name}.output")

    def unit(self, x: str, name: str, stride: int, output: str) -> str:
        shortcut = x
        if f"{name}.conv_shortcut.weight" in self.weights:
            shortcut = self.convolution(x, f"{name}.conv_shortcut")
        elif stride == 2:
            shortcut = self.pool(x, f"{name}.shortcut", 1)
        y = self.relu(self.convolution(x, f"{name}.conv_a"))
        y = self.relu(self.convolution(y, f"{name}.conv_b", stride, pads=[1, 1, 1, 1]))
        y = self.convolution(y, f"{name}.conv_c")
        return self.relu(self.add("Add", [y, shortcut], f"{name}.sum"), output)

    def add_attention(self, x: str, output: str) -> None:
        x = self.relu(self.convolution(x, "attention.conv1"))
        self.add("Softplus", [self.convolution(x, "attention.conv2")], output)
