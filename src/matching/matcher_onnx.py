"""The learned matcher as an ONNX model, for any number of descriptors of both photos."""

from pathlib import Path
from typing import Any, List

import numpy as np

from ..artifacts import PathLike, atomic_write_bytes
from ..engines.onnx_graph import IR_VERSION, OPSET
from ..errors import UserError
from .matcher import ITERATIONS, NORM_EPSILON, TEMPERATURE, Matcher


def build_matcher_onnx(matcher: Matcher) -> bytes:
    """The ONNX model of a matcher.

    ``descriptors_a`` [m, C] and ``descriptors_b`` [n, C], float32 of unit norm, one or more of each ->
    ``probabilities`` [m, n] and ``soft_votes`` [1]. All descriptors take part, however many the matcher would take.
    """
    from onnx import TensorProto, helper

    graph = _Graph(matcher)
    for side in "ab":
        graph.project(side)
    graph.transport()
    graph.vote()

    def value(name: str, *shape: Any) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    made = helper.make_graph(
        graph.nodes,
        "matcher",
        [value(f"descriptors_{side}", count, matcher.dimension) for side, count in (("a", "m"), ("b", "n"))],
        [value("probabilities", "m", "n"), value("soft_votes", 1)],
        graph.constants,
    )
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(
        made, opset_imports=[opset], ir_version=IR_VERSION, producer_name="delf"
    ).SerializeToString()


def export_matcher(path: PathLike, matcher: Matcher) -> None:
    """Write ``build_matcher_onnx``; one that stands there is replaced. UserError for a name that is no model's."""
    if Path(path).suffix.lower() != ".onnx":
        raise UserError(f"{path}: the name of an ONNX file ends in .onnx (`onnx`)")
    atomic_write_bytes(path, build_matcher_onnx(matcher))


class _Graph:
    """Adds nodes; each method returns the name of its output."""

    def __init__(self, matcher: Matcher) -> None:
        self.nodes: List[Any] = []
        self.constants: List[Any] = []
        for name, array in matcher.weights.items():
            self.constant(name, array.T if name.endswith(".weight") else array)

    def constant(self, name: str, array: Any) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def number(self, value: Any, kind: Any = np.float32) -> str:
        """A constant of one number, [1]."""
        return self.constant(f"constant_{len(self.constants)}", np.array([value], kind))

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        from onnx import helper

        output = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def linear(self, x: str, name: str) -> str:
        return self.add("Add", self.add("MatMul", x, f"{name}.weight"), f"{name}.bias")

    def norm(self, x: str, name: str) -> str:
        centred = self.add("Sub", x, self.add("ReduceMean", x, axes=[1]))
        variance = self.add("ReduceMean", self.add("Mul", centred, centred), axes=[1])
        deviation = self.add("Sqrt", self.add("Add", variance, self.number(NORM_EPSILON)))
        scaled = self.add("Mul", self.add("Div", centred, deviation), f"{name}.gamma")
        return self.add("Add", scaled, f"{name}.beta")

    def project(self, side: str) -> None:
        """``vectors_SIDE`` [N, 128] and ``bins_SIDE`` [N, 1]."""
        x = self.norm(self.linear(f"descriptors_{side}", "project"), "norm")
        length = self.add("ReduceL2", x, axes=[1])
        x = self.add("Div", x, self.add("Max", length, self.number(1e-12)), output=f"vectors_{side}")
        hidden = self.add("Relu", self.linear(x, "bin_hidden"))
        self.add("Tanh", self.linear(hidden, "bin_score"), output=f"bins_{side}")

    def transport(self) -> None:
        """``probabilities`` [m, n]; see ``matcher.transport``."""
        corner = self.add("Reshape", "corner", self.constant("one_by_one", np.array([1, 1])))
        products = self.add("MatMul", "vectors_a", self.add("Transpose", "vectors_b", perm=[1, 0]))
        upper = self.add("Concat", products, "bins_a", axis=1)
        lower = self.add("Concat", self.add("Transpose", "bins_b", perm=[1, 0]), corner, axis=1)
        scores = self.add("Concat", upper, lower, axis=0)
        scores = self.add("Sub", scores, self.add("ReduceMax", scores))
        kernel = self.add("Exp", self.add("Div", scores, self.number(TEMPERATURE)))
        turned = self.add("Transpose", kernel, perm=[1, 0])
        ones_a, ones_b = (self.ones(f"bins_{side}") for side in "ab")  # [m, 1] and [n, 1]
        mass_a, mass_b = self.masses(ones_a, ones_b), self.masses(ones_b, ones_a)
        of_b = self.add("Concat", ones_b, self.one_by_one(1.0), axis=0)
        for _ in range(ITERATIONS):
            of_a = self.add("Div", mass_a, self.add("MatMul", kernel, of_b))
            of_b = self.add("Div", mass_b, self.add("MatMul", turned, of_a))
        kernel = self.add("Mul", kernel, of_a)
        kernel = self.add("Mul", kernel, self.add("Transpose", of_b, perm=[1, 0]))
        start, end, axes = (self.constant(f"slice_{n}", np.array(v)) for n, v in enumerate(([0, 0], [-1, -1], [0, 1])))
        self.add("Slice", kernel, start, end, axes, output="probabilities")

    def ones(self, like: str) -> str:
        return self.add("Add", self.add("Mul", like, self.number(0)), self.number(1))

    def one_by_one(self, value: float) -> str:
        return self.constant(f"constant_{len(self.constants)}", np.array([[value]], np.float32))

    def masses(self, own: str, other: str) -> str:
        """[own + 1, 1]: 1 of each descriptor, and of the bin as many as the other photo has descriptors."""
        return self.add("Concat", own, self.add("ReduceSum", other, keepdims=1), axis=0)

    def vote(self) -> None:
        """``soft_votes`` [1]; see ``Matcher.soft_votes``."""
        column = self.constant("column", np.array([-1, 1]))
        best = [self.add("Reshape", self.add("ReduceMax", "probabilities", axes=[axis]), column) for axis in (1, 0)]
        x = self.norm(self.linear(self.add("Concat", *best, axis=0), "vote_hidden"), "vote_norm")
        erf = self.add("Erf", self.add("Mul", x, self.number(0.5**0.5)))
        half = self.add("Mul", self.add("Add", erf, self.number(1)), self.number(0.5))
        votes = self.add("Sigmoid", self.linear(self.add("Mul", x, half), "vote_score"))
        total = self.add("ReduceSum", votes, keepdims=1)
        self.add("Reshape", total, self.constant("one_number", np.array([1])), output="soft_votes")
