"""The loops over time of a network's recurrent layers, found by following its graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from tvm import relax

from .graph import Graph, is_call, shape_of
from .model import Model
from .recurrent import NAME
from .stored_weights import StoredForm, form_of


@dataclass(frozen=True, kw_only=True, eq=False)
class Loop:
    """One loop: its name, its recurrent weight (gates · hidden, hidden) and how that is stored."""

    name: str
    weight: str
    weight_shape: tuple[int, ...]
    call: relax.Var
    macs_count: int
    stored: StoredForm


def loops(model: Model) -> tuple[Loop, ...]:
    """Every loop of the network, in the order of computation."""
    return loops_of(Graph.of(model), model.weight_names())


def loops_of(graph: Graph, names: Mapping[relax.Var, str]) -> tuple[Loop, ...]:
    """Every loop of a network that was read already; `names` are its weights'."""
    found = []
    for var, value in graph.bindings:
        read = form_of(graph, names, value.args[1]) if is_call(value, NAME) else None
        if read is None:
            continue
        weight, form = read
        shape = shape_of(value.args[1])
        found.append(
            Loop(
                name=weight.removesuffix(".weight"),
                weight=weight,
                weight_shape=shape,
                call=var,
                macs_count=prod(shape_of(value.args[0])) * shape[1],
                stored=form,
            )
        )
    return tuple(found)
