"""What a graph is brought into before it is translated: fewer operators, fewer outputs.

Before  Celu(x); LayerNormalization(x, s, b) -> (y, mean, deviation) with `mean` read
After   ONNX's own definitions of these in simpler operators
Before  Dropout(x) -> (y, mask) with `mask` never read
After   Dropout(x) -> (y)
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import onnx.inliner
from onnx import AttributeProto, ModelProto, NodeProto, helper, shape_inference

from .table import EXPANDED, why_refused

_GROUP_NORM_BY_CHANNEL = 21  # before it, a scale for each group


def drop_unread_outputs(proto: ModelProto) -> None:
    """Drop the last outputs of nodes, where they are optional and nothing reads them; in place."""
    read = {name for node in proto.graph.node for name in node.input}
    read |= {output.name for output in proto.graph.output}
    for node in proto.graph.node:
        while len(node.output) > 1 and node.op_type != "Split" and node.output[-1] not in read:
            if not _is_optional(node, opset_of(proto)):
                break
            node.output.pop()


def _is_optional(node: NodeProto, opset: int) -> bool:
    try:
        outputs = onnx.defs.get_schema(node.op_type, opset, node.domain).outputs
    except onnx.defs.SchemaError:
        return False
    last = outputs[min(len(node.output), len(outputs)) - 1]
    return bool(last.option == onnx.defs.OpSchema.FormalParameterOption.Optional)


def expand(proto: ModelProto) -> ModelProto:
    """Write operators that cannot be imported as they stand in others, by their definition."""
    opset = opset_of(proto)
    wanted = {
        node.op_type
        for node in proto.graph.node
        if node.op_type in EXPANDED and node.domain in ("", "ai.onnx") and _needed(node, opset)
    }
    if not wanted:
        return proto
    typed = shape_inference.infer_shapes(_with_types_of_weights(proto))
    for node in typed.graph.node:
        if node.op_type in wanted:
            _state_defaults(node, opset)
    names = [("", name) for name in sorted(wanted)]
    try:
        made = onnx.inliner.inline_selected_functions(typed, names, inline_schema_functions=True)
    except RuntimeError:  # of some forms ONNX cannot tell the types; they are refused by name
        return proto
    return expand(made)  # what a definition uses may need one itself


def _state_defaults(node: NodeProto, opset: int) -> None:
    """Write out attributes left at their defaults: the inliner would take them for absent."""
    held = {attribute.name for attribute in node.attribute}
    for name, known in onnx.defs.get_schema(node.op_type, opset).attributes.items():
        if name not in held and known.default_value.type != AttributeProto.UNDEFINED:
            node.attribute.append(known.default_value)


def _with_types_of_weights(proto: ModelProto) -> ModelProto:
    typed = ModelProto()
    typed.CopyFrom(proto)
    listed = {value.name for value in (*typed.graph.input, *typed.graph.value_info)}
    typed.graph.value_info.extend(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        for tensor in typed.graph.initializer
        if tensor.name not in listed
    )
    return typed


def sort_nodes(proto: ModelProto) -> ModelProto:
    """Put each node behind those that it reads; converters to float16 write casts last.

    What is in order comes back as it is, and what reads itself, which ONNX's checker refuses.
    """
    nodes = list(proto.graph.node)
    made = {name: at for at, node in enumerate(nodes) for name in node.output if name}
    sources = [{made[name] for name in _names_read(node) if name in made} for node in nodes]
    if all(max(found, default=-1) < at for at, found in enumerate(sources)):
        return proto
    readers: list[list[int]] = [[] for _ in nodes]
    for at, found in enumerate(sources):
        for source in found:
            readers[source].append(at)
    missing = [len(found) for found in sources]
    ready, ordered = [at for at, count in enumerate(missing) if not count], []
    while ready:
        at = heapq.heappop(ready)
        ordered.append(at)
        for reader in readers[at]:
            missing[reader] -= 1
            if not missing[reader]:
                heapq.heappush(ready, reader)
    if len(ordered) < len(nodes):
        return proto
    made_in_order = ModelProto()
    made_in_order.CopyFrom(proto)
    del made_in_order.graph.node[:]
    made_in_order.graph.node.extend(nodes[at] for at in ordered)
    return made_in_order


def _names_read(node: NodeProto) -> Iterator[str]:
    """Yield what a node reads, its branches included; names that those make are no harm."""
    yield from node.input
    for attribute in node.attribute:
        if attribute.HasField("g"):
            inside = {name for inner in attribute.g.node for name in inner.output}
            for inner in attribute.g.node:
                yield from (name for name in _names_read(inner) if name not in inside)


def expand_deprecated(proto: ModelProto) -> ModelProto:
    """Write GroupNormalization of opsets 18 to 20 in others: exporters use it, the checker not."""
    used = any(node.op_type == "GroupNormalization" for node in proto.graph.node)
    return expand(proto) if used and opset_of(proto) < _GROUP_NORM_BY_CHANNEL else proto


def _needed(node: NodeProto, opset: int) -> bool:
    return why_refused(node, opset) is not None or (
        node.op_type == "GroupNormalization" and opset < _GROUP_NORM_BY_CHANNEL
    )


def opset_of(proto: ModelProto) -> int:
    """Return the version of ONNX's own operators that a file uses."""
    return max((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), default=1)
