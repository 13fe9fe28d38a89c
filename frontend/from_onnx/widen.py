"""Networks of 16-bit floats, computed in float32.

Before  x float16 -> Conv(x, w float16) -> y float16
After   x float16 -> Cast -> Conv(., w float32) -> Cast -> y float16
Shapes  any

A file keeps its floats in 16 bits to be small. Kernels and passes are of float32, whose values
hold those of 16 bits exactly, so results differ by the source's own rounding alone. Inputs and
outputs keep their types.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    helper,
    numpy_helper,
)

_NARROW = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
_TYPE_ATTRIBUTES = (
    *("to", "dtype", "output_dtype", "output_datatype", "precision", "softmax_precision"),
    "stash_type",
)
Names = dict[str, str]


def narrow_type(proto: ModelProto) -> str | None:
    """Name the narrowest type of float of 16 bits that a file computes in, if it does.

    What comes in 16 bits and is cast at once is computed in the other type.
    """
    cast = {node.input[0] for node in proto.graph.node if node.op_type == "Cast"}
    other = {name for n in proto.graph.node if n.op_type != "Cast" for name in n.input}
    found = set(_types(proto.graph))
    found |= {_element(v) for v in proto.graph.input if v.name not in cast or v.name in other}
    for kind, name in zip(reversed(_NARROW), ("bfloat16", "float16"), strict=True):
        if kind in found:
            return name
    return None


def widen(proto: ModelProto) -> ModelProto:
    """Give a copy that computes in float32 what `proto` computes in 16 bits."""
    made = ModelProto()
    made.CopyFrom(proto)
    graph = made.graph
    held = {tensor.name for tensor in graph.initializer}
    inputs = [v for v in graph.input if v.name not in held and _is_narrow(v)]
    outputs = [value for value in graph.output if _is_narrow(value)]
    taken = set(_names(graph))
    renamed = {value.name: _fresh(value.name, taken) for value in (*inputs, *outputs)}
    _widen_graph(graph, renamed)
    heads = [
        helper.make_node("Cast", [v.name], [renamed[v.name]], renamed[v.name], to=TensorProto.FLOAT)
        for v in inputs
    ]
    tails = [
        helper.make_node("Cast", [renamed[v.name]], [v.name], v.name, to=_element(v))
        for v in outputs
    ]
    nodes = [*heads, *graph.node, *tails]
    del graph.node[:]
    graph.node.extend(nodes)
    return made


def _types(graph: GraphProto) -> Iterator[int]:
    """Every type of element that a graph names."""
    yield from (tensor.data_type for tensor in graph.initializer)
    yield from (_element(value) for value in graph.output)
    for attribute in _attributes(graph):
        if attribute.HasField("t"):
            yield attribute.t.data_type
        if attribute.name in _TYPE_ATTRIBUTES:
            yield attribute.i
        if attribute.HasField("g"):
            yield from _types(attribute.g)


def _attributes(graph: GraphProto) -> Iterator[AttributeProto]:
    yield from (attribute for node in graph.node for attribute in node.attribute)


def _names(graph: GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield from (*node.input, *node.output)
    yield from (value.name for value in (*graph.input, *graph.output))
    for attribute in _attributes(graph):
        if attribute.HasField("g"):
            yield from _names(attribute.g)


def _fresh(name: str, taken: set[str]) -> str:
    wanted = f"{name}_float32"
    while wanted in taken:
        wanted += "_"
    taken.add(wanted)
    return wanted


def _widen_graph(graph: GraphProto, renamed: Names) -> None:
    """Widen what a graph holds and names, and its branches; the whole network's ends stay."""
    for tensor in graph.initializer:
        if tensor.name in renamed:  # a weight that is an output, too
            tensor.name = renamed[tensor.name]
        _widen_tensor(tensor)
    del graph.value_info[:]
    for node in graph.node:
        _widen_node(node, renamed)


def _widen_node(node: NodeProto, renamed: Names) -> None:
    for names in (node.input, node.output):
        names[:] = [renamed.get(name, name) for name in names]
    for attribute in node.attribute:
        if attribute.HasField("t"):
            _widen_tensor(attribute.t)
        if attribute.name in _TYPE_ATTRIBUTES and attribute.i in _NARROW:
            attribute.i = TensorProto.FLOAT
        if attribute.HasField("g"):
            _widen_graph(attribute.g, renamed)
            for value in (*attribute.g.input, *attribute.g.output):
                value.name = renamed.get(value.name, value.name)
                if _is_narrow(value):
                    value.type.tensor_type.elem_type = TensorProto.FLOAT


def _widen_tensor(tensor: TensorProto) -> None:
    if tensor.data_type in _NARROW:
        value = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))


def _element(value: ValueInfoProto) -> int:
    return int(value.type.tensor_type.elem_type)


def _is_narrow(value: ValueInfoProto) -> bool:
    return _element(value) in _NARROW
