"""The graph of a branch or of a loop's body, written into the graph around it.

Names that are taken there are changed; what the inner graph reads of outer ones stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from onnx import GraphProto, NodeProto, helper


class Inliner:
    """Writes graphs out into one list of nodes, each name but once."""

    def __init__(self, graph: GraphProto) -> None:
        self.nodes: list[NodeProto] = []
        self._graph = graph
        self._taken = {value.name for value in graph.input} | set(_defined(graph))

    def unique(self, wanted: str) -> str:
        """Take a name that no other value has: `wanted` where it is free."""
        name, number = wanted, 1
        while name in self._taken:
            name, number = f"{wanted}_{number}", number + 1
        self._taken.add(name)
        return name

    def add(self, op_type: str, inputs: Sequence[str], wanted: str, **attributes: object) -> str:
        """Add a node of one output and give that output's name."""
        name = self.unique(wanted)
        self.nodes.append(helper.make_node(op_type, list(inputs), [name], name=name, **attributes))
        return name

    def write(self, inner: GraphProto, inputs: Sequence[str]) -> list[str]:
        """Write `inner` out with `inputs` for its own; give the names of its outputs."""
        names = dict(zip((value.name for value in inner.input), inputs, strict=False))
        names |= {name: self.unique(name) for name in _defined(inner)}
        for tensor in inner.initializer:
            held = self._graph.initializer.add()
            held.CopyFrom(tensor)
            held.name = names[tensor.name]
        self.nodes += [_renamed(node, names) for node in inner.node]
        return [names.get(output.name, output.name) for output in inner.output]

    def finish(self, outputs: Sequence[str], made: Sequence[str]) -> None:
        """Give what was `made` the names of a node's outputs."""
        for output, name in zip(outputs, made, strict=False):
            if output:
                self.nodes.append(helper.make_node("Identity", [name], [output], name=output))


def operator_count(graph: GraphProto) -> int:
    """Count the nodes of a graph, those of inner graphs too."""
    inner = (operator_count(each) for node in graph.node for each in graphs_of(node))
    return len(graph.node) + sum(inner)


def graphs_of(node: NodeProto) -> Iterator[GraphProto]:
    """The graphs that a node holds."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _defined(graph: GraphProto) -> list[str]:
    made = [name for node in graph.node for name in node.output if name]
    return [tensor.name for tensor in graph.initializer] + made


def _renamed(node: NodeProto, names: Mapping[str, str]) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    _rename(copy, names)
    return copy


def _rename(node: NodeProto, names: Mapping[str, str]) -> None:
    node.input[:] = [names.get(name, name) for name in node.input]
    node.output[:] = [names.get(name, name) for name in node.output]
    for graph in graphs_of(node):
        own = {value.name for value in graph.input} | set(_defined(graph))
        outer = {name: new for name, new in names.items() if name not in own}
        for inner in graph.node:
            _rename(inner, outer)
        for output in graph.output:
            output.name = outer.get(output.name, output.name)
