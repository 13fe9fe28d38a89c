"""Which integers the inputs of a network may be: those that it indexes with stay in range.

An input is followed through what moves it, casts it, bounds it or adds to it, to the operators
that look something up by it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from tvm import relax

from .graph import Graph, shape_of, variables
from .model import Model

_FOLLOWED = frozenset(
    f"relax.{name}"
    for name in (
        *("add", "astype", "broadcast_to", "clip", "concat", "expand_dims", "flatten", "flip"),
        *("floor_divide", "floor_mod", "maximum", "minimum", "mod", "permute_dims", "reshape"),
        *("split", "squeeze", "stack", "strided_slice", "subtract", "take", "tile", "where"),
    )
)


def _along_axis(call: relax.Call) -> int:
    shape = shape_of(call.args[0])
    return int(np.prod(shape)) if call.attrs.axis is None else shape[int(call.attrs.axis)]


def _shortest(call: relax.Call) -> int:
    return min(shape_of(call.args[0]), default=1)


# For each operator that looks up: how many values its index may take.
_LOOKED_UP: dict[str, Callable[[relax.Call], int]] = {
    "relax.take": _along_axis,
    "relax.gather_elements": _along_axis,
    "relax.scatter_elements": _along_axis,
    "relax.gather_nd": _shortest,
    "relax.scatter_nd": _shortest,
    "relax.index_tensor": _shortest,
    "relax.index_put": _shortest,
    "relax.one_hot": lambda call: int(call.attrs.depth),
    "relax.nn.nll_loss": lambda call: shape_of(call.args[0])[1],
}
_INDEX_FIRST = ("relax.one_hot",)


def index_ranges(model: Model) -> dict[str, int]:
    """For each input that is used as an index, by name, how many values it may take, from 0."""
    graph = Graph.of(model)
    found = {
        spec.name: _range_of(graph, var)
        for spec, var in zip(model.inputs, model.function.params, strict=False)
        if np.dtype(spec.dtype).kind in "iu"
    }
    return {name: count for name, count in found.items() if count is not None}


def draw_integers(
    generator: np.random.Generator, shape: tuple[int, ...], dtype: str, count: int | None
) -> np.ndarray:
    """Draw integers below `count`; where that is None, all of a type of 8 bits, or 0 to 255."""
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return generator.integers(0, 2, shape).astype(dtype)
    limits = np.iinfo(kind)
    low = limits.min if kind.itemsize == 1 and count is None else 0
    high = min(256 if count is None else count, limits.max + 1)
    return generator.integers(low, high, shape).astype(dtype)


def _range_of(graph: Graph, source: relax.Var) -> int | None:
    counts: list[int] = []
    reached, left = {source}, [source]
    while left:
        var = left.pop()
        for reader in graph.consumers.get(var, ()):
            value = graph.producers[reader]
            count = _count(value, var)
            if count is not None:
                counts.append(count)
            elif reader not in reached and _is_followed(value):
                reached.add(reader)
                left.append(reader)
    return max(1, min(counts)) if counts else None


def _count(value: relax.Expr, var: relax.Var) -> int | None:
    """How many values `var` may take as an index of this call, None where it is no index."""
    if not isinstance(value, relax.Call) or value.op.name not in _LOOKED_UP:
        return None
    indices = value.args if value.op.name in _INDEX_FIRST else value.args[1:2]
    if not any(var in variables(arg) for arg in indices):
        return None
    return _LOOKED_UP[value.op.name](value)


def _is_followed(value: relax.Expr) -> bool:
    return not isinstance(value, relax.Call) or value.op.name in _FOLLOWED
