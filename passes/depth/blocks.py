"""Residual blocks: y = x + f(x), where the shortcut is x itself.

A block can be left out, y = x, if nothing inside f is read elsewhere. A sum whose two sides both
compute something (a projected shortcut) is found too, and says why it stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

import numpy as np
from tvm import relax

from ...ir.graph import Graph, is_call, shape_of, variables
from ...ir.layers import layers
from ...ir.model import Model
from ...ir.rewrite import Body, rebuild


@dataclass(frozen=True, kw_only=True)
class Block:
    """The layers inside a residual block, in order; `why` says why it cannot be left out.

    `end` is the sum, `shortcut` what it becomes without the block.
    """

    layers: tuple[str, ...]
    why: str | None = None
    end: relax.Var = field(repr=False, compare=False)
    shortcut: relax.Var = field(repr=False, compare=False)


def blocks(model: Model) -> tuple[Block, ...]:
    """Find the residual blocks that hold a layer, in the order of their sums."""
    graph = Graph.of(model)
    by_call = {layer.call: layer.name for layer in layers(model)}
    above = _ancestors(model, graph)
    found = []
    for var, value in graph.bindings:
        sides = _sides(graph, above, value)
        if sides is None:
            continue
        one, other = sides
        if one in above[other] or other in above[one]:
            shortcut, branch = (one, other) if one in above[other] else (other, one)
            inside = (above[branch] | {branch}) - above[shortcut] - {shortcut}
            why = _why_read_outside(graph, inside, var)
        else:
            shortcut = one
            inside = (above[one] | {one}) ^ (above[other] | {other})
            why = "its shortcut is not the identity"
        names = tuple(name for call, name in by_call.items() if call in inside)
        if names and (why is None or above[one] & above[other]):
            found.append(Block(layers=names, why=why, end=var, shortcut=shortcut))
    return tuple(found)


def remove_blocks(model: Model, dropped: Sequence[Block]) -> Model:
    """Return the network whose blocks `dropped` are left out; what only they read is gone."""
    graph = Graph.of(model)
    becomes: dict[relax.Var, relax.Var] = {block.end: block.shortcut for block in dropped}

    def resolve(var: relax.Expr) -> relax.Expr:
        while isinstance(var, relax.Var) and graph.origin(var) in becomes:
            var = becomes[graph.origin(var)]
        return var

    live = _live_variables(graph, becomes, resolve(graph.result))
    read_before = {read for _, value in graph.bindings for read in variables(value)}
    variable_of = model.weight_vars()
    weights: dict[str, np.ndarray] = {
        name: array
        for name, array in model.weights.items()
        if variable_of[name] in live or variable_of[name] not in read_before
    }

    def rewrite(body: Body, var: relax.Var, value: relax.Expr) -> relax.Expr | None:
        if var in becomes and var in live:
            body.bind(var, body.of(becomes[var]))
        return body.of(value) if var in live and var not in becomes else None

    return rebuild(model, weights, rewrite, result=resolve(graph.result))


def _ancestors(model: Model, graph: Graph) -> dict[relax.Var, frozenset[relax.Var]]:
    """For each value that depends on an input, all such values that it is computed from."""
    above: dict[relax.Var, frozenset[relax.Var]] = {}
    for var in model.function.params[: len(model.inputs)]:
        above[var] = frozenset()
    for var, value in graph.bindings:
        read = [v for v in variables(value) if v in above]
        if read:
            above[var] = frozenset(read).union(*(above[v] for v in read))
    return above


def _sides(
    graph: Graph, above: Mapping[relax.Var, Set[relax.Var]], value: relax.Expr
) -> tuple[relax.Var, relax.Var] | None:
    """Return the two values of equal shape that a sum adds; None if it is no such sum."""
    if not is_call(value, "relax.add"):
        return None
    one, other = (graph.origin(arg) for arg in value.args)
    if one not in above or other not in above or one.same_as(other):
        return None
    return (one, other) if shape_of(one) == shape_of(other) == shape_of(value) else None


def _why_read_outside(graph: Graph, inside: Set[relax.Var], end: relax.Var) -> str | None:
    outputs = graph.outputs()
    for var in inside:
        if var in outputs or any(v not in inside | {end} for v in graph.consumers.get(var, ())):
            return "a value inside it is read outside"
    return None


def _live_variables(
    graph: Graph, becomes: Mapping[relax.Var, relax.Var], result: relax.Expr
) -> set[relax.Var]:
    """Find every variable that the result needs, where sums that go become their shortcuts."""
    live: set[relax.Var] = set()
    waiting = list(variables(result))
    while waiting:
        var = waiting.pop()
        if var in live:
            continue
        live.add(var)
        if var in becomes:
            waiting.append(becomes[var])
        elif var in graph.producers:
            waiting.extend(variables(graph.producers[var]))
    return live
