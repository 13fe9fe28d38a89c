"""Shape arithmetic of an ONNX graph, computed ahead: with fixed shapes it is all constant.

Before  Shape(x) -> Gather -> Concat -> Reshape(y, .)
After   Constant -> Reshape(y, .)
Shapes  known from ONNX's own shape inference; what it does not know is left as it is
"""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from .quantized import parameter_names

_NEVER = (
    *("If", "Loop", "Scan", "Dropout", "BatchNormalization", "Bernoulli", "Multinomial"),
    *("QuantizeLinear", "DequantizeLinear"),  # weights stay quantized
)


def fold_constants(proto: ModelProto) -> ModelProto:
    """Replace nodes, and initializers that are no weights, by constants where that is possible."""
    proto = shape_inference.infer_shapes(proto, data_prop=True)
    shapes = _shapes(proto)
    parameters = parameter_names(proto)
    known = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in proto.graph.initializer
        if tensor.name in parameters or not _is_weight(tensor)
    }
    weights = [tensor for tensor in proto.graph.initializer if tensor.name not in known]
    nodes = [_constant(name, value) for name, value in known.items()]
    for node in proto.graph.node:
        value = _value(node, known, shapes, proto)
        if value is not None:
            known[node.output[0]] = value
        nodes.append(node if value is None else _constant(node.output[0], value))
    del proto.graph.node[:], proto.graph.initializer[:]
    proto.graph.node.extend(nodes)
    proto.graph.initializer.extend(weights)
    return proto


def _constant(name: str, value: np.ndarray) -> NodeProto:
    tensor = numpy_helper.from_array(value)
    return helper.make_node("Constant", [], [name], name=name, value=tensor)


def _is_weight(tensor: TensorProto) -> bool:
    return tensor.data_type == TensorProto.FLOAT and len(tensor.dims) > 0


def _shapes(proto: ModelProto) -> dict[str, tuple[int, ...]]:
    shapes = {}
    for value in (*proto.graph.input, *proto.graph.value_info):
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dims):
            shapes[value.name] = tuple(d.dim_value for d in dims)
    shapes.update((t.name, tuple(t.dims)) for t in proto.graph.initializer)
    return shapes


def _value(
    node: NodeProto,
    known: dict[str, np.ndarray],
    shapes: dict[str, tuple[int, ...]],
    proto: ModelProto,
) -> np.ndarray | None:
    if len(node.output) != 1 or node.op_type in _NEVER or node.op_type.startswith("Random"):
        return None
    if node.op_type == "Shape" and node.input[0] in shapes:
        bounds = {attribute.name: attribute.i for attribute in node.attribute}
        shape = shapes[node.input[0]][bounds.get("start", 0) : bounds.get("end")]
        return np.array(shape, dtype=np.int64)
    if not all(name in known or not name for name in node.input):
        return None
    feeds = {name: known[name] for name in node.input if name}
    try:
        results = ReferenceEvaluator(_single_node_model(node, proto)).run(None, feeds)
    except Exception:  # what onnx's own evaluator cannot compute stays for TVM
        return None
    return np.asarray(results[0]) if isinstance(results[0], np.ndarray | np.generic) else None


def _single_node_model(node: NodeProto, proto: ModelProto) -> ModelProto:
    inputs = [helper.make_tensor_value_info(n, 0, None) for n in dict.fromkeys(node.input) if n]
    outputs = [helper.make_tensor_value_info(n, 0, None) for n in node.output]
    graph = helper.make_graph([node], "single", inputs, outputs)
    return helper.make_model(graph, opset_imports=proto.opset_import, ir_version=proto.ir_version)
