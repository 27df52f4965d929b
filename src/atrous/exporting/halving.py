"""A float32 ONNX model with its convolutions, and what lies between them, in float16: half the bytes.

Only what convolutions compute and what is at home between them becomes float16: activations, sums, maxima, resizing.
Means over the whole map, norms, softmax and the arithmetic of sizes stay float32, and so do input and outputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

ALWAYS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""What becomes float16 with all its inputs."""

FOLLOWING = {
    **dict.fromkeys(("Relu", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Gelu", "Erf", "Neg"), (0,)),
    **dict.fromkeys(("MaxPool", "AveragePool", "Identity", "Transpose", "DepthToSpace", "SpaceToDepth"), (0,)),
    **dict.fromkeys(("Reshape", "Expand", "Slice", "Squeeze", "Unsqueeze", "Gather", "Resize", "Flatten"), (0,)),
    "Pad": (0, 2),  # between them are the amounts, whole numbers
    **dict.fromkeys(("Add", "Sub", "Mul", "Max", "Min", "Clip", "Concat"), None),
}
"""What becomes float16 where one of its inputs is: the places of its inputs that hold values, None for all of them."""


def with_halves(model: Any) -> Any:
    """Return a copy of an `onnx.ModelProto` of float32 whose convolutions have float16 weights and inputs.

    The graph is walked once, in its order; where a value is wanted in the other type, one cast gives it. A weight is
    stored once in each type that it is read in.
    """
    return _Halving(model).model


class _Halving:
    def __init__(self, model: Any) -> None:
        import onnx

        self.onnx = onnx
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        graph = self.model.graph
        self.outputs = {end.name for end in graph.output}
        self.weights = {each.name: each for each in graph.initializer if each.data_type == onnx.TensorProto.FLOAT}
        self.halves: set[str] = set()
        self.casts: dict[tuple[str, bool], str] = {}
        self.nodes: list[Any] = []
        for node in list(graph.node):
            self._walk(node)
        del graph.node[:]
        graph.node.extend(self.nodes)
        self._drop_unread()

    def _walk(self, node: Any) -> None:
        """Put a node into the new graph, in the type that its operation and its inputs ask for."""
        places = FOLLOWING.get(node.op_type, ()) if node.op_type not in ALWAYS else None
        chosen = [place for place, name in enumerate(node.input) if name and (places is None or place in places)]
        half = node.op_type in ALWAYS or any(node.input[place] in self.halves for place in chosen)
        for place, name in enumerate(node.input):
            if name:
                node.input[place] = self._in_type(name, half and place in chosen)
        self.nodes.append(node)
        if half:
            self._mark(node)

    def _mark(self, node: Any) -> None:
        """Note that a node's first output is float16; what leaves the graph is cast back."""
        name = node.output[0]
        if name in self.outputs:
            node.output[0] = f"{name}_half"
            self.nodes.append(self._cast(node.output[0], name, self.onnx.TensorProto.FLOAT))
        else:
            self.halves.add(name)

    def _in_type(self, name: str, half: bool) -> str:
        """Return the name of a value in float16 or as it was, with a cast or a copy of a weight where one is needed."""
        if (name in self.halves) == half:
            return name
        if (name, half) not in self.casts:
            self.casts[name, half] = new = f"{name}_{'half' if half else 'float'}"
            if half and name in self.weights:
                self._add_weight(name, new)
            else:
                kind = self.onnx.TensorProto.FLOAT16 if half else self.onnx.TensorProto.FLOAT
                self.nodes.append(self._cast(name, new, kind))
        return self.casts[name, half]

    def _cast(self, source: str, target: str, kind: int) -> Any:
        return self.onnx.helper.make_node("Cast", [source], [target], name=f"cast_{target}", to=kind)

    def _add_weight(self, name: str, new: str) -> None:
        values = self.onnx.numpy_helper.to_array(self.weights[name])
        largest = float(np.finfo(np.float16).max)
        # A bound of -inf or a padding of it stays one; a finite weight beyond float16 becomes its largest number.
        finite = np.where(np.isfinite(values), values.clip(-largest, largest), values)
        self.model.graph.initializer.append(self.onnx.numpy_helper.from_array(finite.astype(np.float16), new))

    def _drop_unread(self) -> None:
        graph = self.model.graph
        read = {name for node in graph.node for name in node.input} | self.outputs
        kept = [each for each in graph.initializer if each.name in read]
        del graph.initializer[:]
        graph.initializer.extend(kept)
