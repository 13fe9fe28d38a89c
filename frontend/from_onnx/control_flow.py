"""Control flow that is none: what is decided at import is written out.

Before  If(c) of a c that is constant once shapes are known
After   the nodes of the branch that is taken
Before  Loop(m, true) of a constant m whose body never ends it early; Scan
After   the body m times, in a row

What one step makes constant may decide the next, so constants are folded before each. What is
left is refused by name: it is decided as the network runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

from ...errors import UnsupportedOperator
from .constants import Known, find_known
from .rewrite import opset_of
from .subgraphs import Inliner, operator_count

MOST_UNROLLED_OPERATORS = 1000
_OLDEST_SCAN = 9  # before it, it ran over a batch
_AXES_ARE_INPUTS = 13  # of Unsqueeze


def branches(proto: ModelProto) -> bool:
    """Whether a network has branches or loops."""
    return any(node.op_type in _WRITE for node in proto.graph.node)


def resolve(path: Path, proto: ModelProto) -> None:
    """Write out every branch and loop of a network whose inputs have fixed shapes, in place."""
    while branches(proto):
        _write_out(path, proto, find_known(proto))


def _write_out(path: Path, proto: ModelProto, known: Known) -> None:
    """Write out what is known so far; UnsupportedOperator where that is nothing."""
    step = _Step(known, opset_of(proto), proto.graph, Inliner(proto.graph))
    refused: list[tuple[NodeProto, ValueError]] = []
    for node in list(proto.graph.node):
        try:
            _WRITE.get(node.op_type, _keep)(step, node)
        except ValueError as error:
            refused.append((node, error))
            step.inliner.nodes.append(node)
    left = sum(node.op_type in _WRITE for node in proto.graph.node)
    if left == len(refused):
        node, why = refused[0]
        raise UnsupportedOperator(
            f"{path}: operator {node.op_type} (node {node.name or node.output[0]!r}) cannot be "
            f"imported: {why}"
        )
    del proto.graph.node[:]
    proto.graph.node.extend(step.inliner.nodes)


@dataclass(frozen=True)
class _Step:
    """What is known, and the graph that is being written."""

    known: Known
    opset: int
    graph: GraphProto
    inliner: Inliner

    def value(self, name: str, what: str) -> Any:
        """A constant of one element."""
        found = self.known.values.get(name)
        if found is None or found.size != 1:
            raise ValueError(_why_unknown(what, _inputs_behind(self.graph, name)))
        return found.item()

    def constant(self, value: Any, wanted: str) -> str:
        tensor = numpy_helper.from_array(np.asarray(value))
        return self.inliner.add("Constant", [], wanted, value=tensor)

    def stack(self, parts: list[str], axis: int, wanted: str) -> str:
        """Join values along a new axis."""
        add = self.inliner.add
        if self.opset < _AXES_ARE_INPUTS:
            rows = [add("Unsqueeze", [part], f"{wanted}_row", axes=[axis]) for part in parts]
        else:
            axes = self.constant([axis], f"{wanted}_axis")
            rows = [add("Unsqueeze", [part, axes], f"{wanted}_row") for part in parts]
        return add("Concat", rows, f"{wanted}_rows", axis=axis)

    def check_size(self, count: int, body: GraphProto) -> None:
        """Refuse a body that would be written out too often."""
        operators = operator_count(body)
        if count < 1:
            raise ValueError("it runs no step, so that what it collects is empty")
        if count * operators > MOST_UNROLLED_OPERATORS:
            raise ValueError(
                f"it runs {count} times {operators} operators; loops of at most "
                f"{MOST_UNROLLED_OPERATORS} in all can be written out"
            )


def _why_unknown(what: str, inputs: Sequence[str]) -> str:
    if not inputs:
        return f"its {what} is of an operator that cannot be computed at import"
    return (
        f"its {what} is computed as the network runs, from {', '.join(inputs)}; export the "
        f"network for one value of it: only a {what} that is known once shapes are fixed can be "
        "imported"
    )


def _inputs_behind(graph: GraphProto, name: str) -> list[str]:
    """Name the network's inputs of which a value is computed."""
    made = {output: node for node in graph.node for output in node.output}
    pending, seen = [name], {name}
    while pending:
        node = made.get(pending.pop())
        read = [] if node is None else [each for each in node.input if each and each not in seen]
        pending += read
        seen.update(read)
    return [value.name for value in graph.input if value.name in seen]


def _keep(step: _Step, node: NodeProto) -> None:
    step.inliner.nodes.append(node)


def _write_if(step: _Step, node: NodeProto) -> None:
    taken = "then_branch" if step.value(node.input[0], "condition") else "else_branch"
    step.inliner.finish(node.output, step.inliner.write(_attributes(node)[taken], []))


def _write_loop(step: _Step, node: NodeProto) -> None:
    body: GraphProto = _attributes(node)["body"]
    limit, condition, *state = node.input
    if condition and not step.value(condition, "condition"):
        count = 0
    else:
        if not limit or not _goes_on(body, step.known.values):
            raise ValueError(
                "it ends by a condition that it computes; only a known number of steps can be "
                "imported"
            )
        count = int(step.value(limit, "number of steps"))
    carried, collected = len(state), len(body.output) - 1 - len(state)
    if count or collected:
        step.check_size(count, body)
    rows: list[list[str]] = [[] for _ in range(collected)]
    true = step.constant(True, f"{node.output[0]}_goes_on")
    for index in range(count):
        number = step.constant(np.int64(index), f"{node.output[0]}_step")
        _, *made = step.inliner.write(body, [number, true, *state])
        state = made[:carried]
        for row, value in zip(rows, made[carried:], strict=True):
            row.append(value)
    stacked = [step.stack(row, 0, node.output[0]) for row in rows]
    step.inliner.finish(node.output, [*state, *stacked])


def _goes_on(body: GraphProto, known: Mapping[str, np.ndarray]) -> bool:
    """Whether a loop's body always says that the loop goes on."""
    made = {node.output[0]: node for node in body.node if len(node.output) == 1}
    held = {tensor.name: tensor for tensor in body.initializer}
    name = body.output[0].name
    while name in made and made[name].op_type == "Identity":
        name = made[name].input[0]
    if name == body.input[1].name:
        return True
    value = known.get(name)
    if name in held:
        value = numpy_helper.to_array(held[name])
    elif name in made and made[name].op_type == "Constant":
        given = _attributes(made[name]).get("value")
        value = None if given is None else numpy_helper.to_array(given)
    return value is not None and bool(value.all())


def _write_scan(step: _Step, node: NodeProto) -> None:
    if step.opset < _OLDEST_SCAN:
        raise ValueError(f"it is of opset {step.opset}; export with opset {_OLDEST_SCAN} or newer")
    attributes = _attributes(node)
    body, scanned = attributes["body"], attributes["num_scan_inputs"]
    state, sources = list(node.input[:-scanned]), list(node.input[-scanned:])
    collected = len(node.output) - len(state)
    axes = attributes.get("scan_input_axes", [0] * scanned)
    backwards = attributes.get("scan_input_directions", [0] * scanned)
    shape = step.known.shapes.get(sources[0])
    if shape is None:
        raise ValueError("the shape of what it scans is not known at import")
    count = shape[axes[0]]
    step.check_size(count, body)
    rows: list[list[str]] = [[] for _ in range(collected)]
    for index in range(count):
        items = []
        for name, axis, is_backwards in zip(sources, axes, backwards, strict=True):
            place = step.constant(
                np.int64(count - 1 - index if is_backwards else index), f"{name}_place"
            )
            items.append(step.inliner.add("Gather", [name, place], f"{name}_item", axis=axis))
        made = step.inliner.write(body, [*state, *items])
        state = made[: len(state)]
        for row, value in zip(rows, made[len(state) :], strict=True):
            row.append(value)
    joined = attributes.get("scan_output_axes", [0] * collected)
    turned = attributes.get("scan_output_directions", [0] * collected)
    stacked = [
        step.stack(row[::-1] if is_turned else row, axis, node.output[-1])
        for row, axis, is_turned in zip(rows, joined, turned, strict=True)
    ]
    step.inliner.finish(node.output, [*state, *stacked])


def _attributes(node: NodeProto) -> dict[str, Any]:
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


_WRITE: dict[str, Callable[[_Step, NodeProto], None]] = {
    "If": _write_if,
    "Loop": _write_loop,
    "Scan": _write_scan,
}
