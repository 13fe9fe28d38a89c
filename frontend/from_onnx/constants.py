"""Shape arithmetic of an ONNX graph, computed ahead: with fixed shapes it is all constant.

Before  Shape(x) -> Gather -> Concat -> Reshape(y, .)
After   Constant -> Reshape(y, .), whose shape may be the next that is read
Shapes  known from ONNX's own shape inference; what it does not know is left as it is
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from .quantized import parameter_names
from .table import RECURRENT

_NEVER = (
    *("If", "Loop", "Scan", "Dropout", "BatchNormalization", "Bernoulli", "Multinomial"),
    *("QuantizeLinear", "DequantizeLinear"),  # weights stay quantized
)
_LARGEST_SHAPE = 64  # elements of a value from which a shape may follow


@dataclass(frozen=True)
class Known:
    """What is known of a network's values before it runs, by name."""

    values: Mapping[str, np.ndarray]
    shapes: Mapping[str, tuple[int, ...]]


def fold_constants(proto: ModelProto) -> ModelProto:
    """Replace nodes, and initializers that are no weights, by constants where that is possible."""
    known = find_known(proto).values
    weights = [tensor for tensor in proto.graph.initializer if tensor.name not in known]
    held = [tensor.name for tensor in proto.graph.initializer if tensor.name in known]
    nodes = [_constant(name, known[name]) for name in held]
    for node in proto.graph.node:
        is_known = len(node.output) == 1 and node.output[0] in known
        nodes.append(_constant(node.output[0], known[node.output[0]]) if is_known else node)
    del proto.graph.node[:], proto.graph.initializer[:]
    proto.graph.node.extend(nodes)
    proto.graph.initializer.extend(weights)
    return proto


def find_known(proto: ModelProto) -> Known:
    """Compute values and infer shapes, in turn, until neither gives the other anything new."""
    parameters = parameter_names(proto) | _read_by_loops(proto)
    known = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in proto.graph.initializer
        if tensor.name in parameters or not _is_weight(tensor)
    }
    pending = [node for node in proto.graph.node if _can_be_known(node)]
    while True:
        shapes, left = _infer_shapes(proto, known), []
        for node in pending:
            value = _value(node, known, shapes, proto)
            if value is None:
                left.append(node)
            else:
                known[node.output[0]] = value
        if len(left) == len(pending):
            return Known(known, shapes)
        pending = left


def _infer_shapes(
    proto: ModelProto, known: Mapping[str, np.ndarray]
) -> Mapping[str, tuple[int, ...]]:
    """Infer shapes with what is known in its place, and of weights their shapes alone."""
    light = ModelProto(ir_version=proto.ir_version, opset_import=proto.opset_import)
    light.graph.name = proto.graph.name
    light.graph.input.extend(proto.graph.input)
    held = {
        tensor.name: (tensor.data_type, tuple(tensor.dims)) for tensor in proto.graph.initializer
    }
    for name, value in known.items():
        if value.size <= _LARGEST_SHAPE:
            light.graph.initializer.append(numpy_helper.from_array(value, name))
        held[name] = helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
    light.graph.input.extend(
        helper.make_tensor_value_info(name, *typed) for name, typed in held.items()
    )
    light.graph.node.extend(
        node for node in proto.graph.node if not any(name in known for name in node.output)
    )
    return _shapes(shape_inference.infer_shapes(light, data_prop=True))


def _read_by_loops(proto: ModelProto) -> set[str]:
    """What the weights of recurrent layers are made of: gates are reordered, so they are needed."""
    made = {name: node for node in proto.graph.node for name in node.output}
    pending = [
        name for node in proto.graph.node if node.op_type in RECURRENT for name in node.input[1:4]
    ]
    found: set[str] = set()
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending.extend(made[name].input if name in made else ())
    return found


def _can_be_known(node: NodeProto) -> bool:
    is_random = node.op_type.startswith("Random")
    return len(node.output) == 1 and node.op_type not in _NEVER and not is_random


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
    return shapes


def _value(
    node: NodeProto,
    known: Mapping[str, np.ndarray],
    shapes: Mapping[str, tuple[int, ...]],
    proto: ModelProto,
) -> np.ndarray | None:
    if node.op_type == "Constant" and node.attribute[0].name == "value":
        return numpy_helper.to_array(node.attribute[0].t)
    if node.op_type == "Shape" and node.input[0] in shapes:
        bounds = {attribute.name: attribute.i for attribute in node.attribute}
        shape = shapes[node.input[0]][bounds.get("start", 0) : bounds.get("end")]
        return np.array(shape, dtype=np.int64)
    if node.op_type == "Size" and node.input[0] in shapes:
        return np.array(prod(shapes[node.input[0]]), dtype=np.int64)
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
