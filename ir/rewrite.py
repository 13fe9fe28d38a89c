"""Rebuild a network's function, binding by binding, around other weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from tvm import relax
from tvm.script import relax as script

from ..errors import PassError
from .graph import Graph
from .model import Model


class Body:
    """The function being rebuilt: its builder, its weights, and what old expressions became."""

    def __init__(self, builder: relax.BlockBuilder, weights: Mapping[str, relax.Var]):
        self._builder = builder
        self._weights = weights
        self._became: dict[relax.Expr, relax.Expr] = {}

    def weight(self, name: str) -> relax.Var:
        """Return the new function's parameter for a weight."""
        return self._weights[name]

    def emit(self, expr: relax.Expr, name: str) -> relax.Var:
        """Bind an expression to a new variable."""
        return self._builder.emit(expr, name)

    def bind(self, old: relax.Expr, new: relax.Expr) -> None:
        """Let every later use of `old` (a variable or a constant) read `new`."""
        self._became[old] = new

    def of(
        self, expr: relax.Expr, instead: Mapping[relax.Expr, relax.Expr] = MappingProxyType({})
    ) -> relax.Expr:
        """Copy an expression of the old function, reading the new variables.

        In this one place, variables of the old function are read as `instead` says.
        """
        if expr in instead:
            return instead[expr]
        if isinstance(expr, relax.Call):
            args = [self.of(arg, instead) for arg in expr.args]
            return relax.Call(expr.op, args, expr.attrs)
        if isinstance(expr, relax.Tuple):
            return relax.Tuple([self.of(field, instead) for field in expr.fields])
        if isinstance(expr, relax.TupleGetItem):
            return relax.TupleGetItem(self.of(expr.tuple_value, instead), expr.index)
        if isinstance(expr, relax.Var) and expr not in self._became:
            raise PassError(f"{expr.name} is read, but its weight or producer was removed")
        return self._became.get(expr, expr)


Rewrite = Callable[[Body, relax.Var, relax.Expr], relax.Expr | None]


def rebuild(
    model: Model,
    weights: Mapping[str, np.ndarray],
    rewrite: Rewrite,
    result: relax.Expr | None = None,
    inputs: Sequence[relax.Var] | None = None,
) -> Model:
    """Return `model` with the weights given and every binding's value as `rewrite` makes it.

    `rewrite(body, var, value)` gets each binding of the old function in order and returns its
    value in the new one (`body.of(value)` copies it), or None to drop the binding. `result` is the
    old variable that the new function returns, if it is not the one that the old function returns.
    `inputs` are the new function's, where they are of other types than the old one's.
    """
    function, graph = model.function, Graph.of(model)
    if inputs is None:
        inputs = [relax.Var(p.name, p.ty) for p in function.params[: len(model.inputs)]]
    old_vars = model.weight_vars()
    params = {
        name: relax.Var(
            old_vars[name].name if name in old_vars else _identifier(name),
            script.Tensor(array.shape, str(array.dtype)),
        )
        for name, array in weights.items()
    }
    returned = graph.result if result is None else result
    builder = relax.BlockBuilder()
    body = Body(builder, params)
    for old, new in zip(function.params, inputs, strict=False):
        body.bind(old, new)
    for name, old in old_vars.items():
        if name in params:
            body.bind(old, params[name])
    with builder.function("main", [*inputs, *params.values()], attrs=dict(function.attrs or {})):
        with builder.dataflow():
            for var, value in graph.bindings:
                made = rewrite(body, var, value)
                if made is not None:
                    emit = builder.emit_output if var.same_as(returned) else builder.emit
                    body.bind(var, emit(made, var.name))
            output = body.of(returned)
        builder.emit_func_output(output)
    return model.evolved(builder.get(), weights)


def _identifier(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name)
