"""What range integer inputs have: what the network indexes with them says so."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from tvm import relax

from .graph import Graph, shape_of, variables
from .model import Model

_UNKNOWN = 128
"""Where nothing is indexed: integers from 0 to one less, as bytes, tokens and counts are."""


def integer_limits(model: Model) -> dict[str, int]:
    """Give, for each integer input, how many values it may take from 0 on.

    It is the length of the shortest axis that is indexed by what is computed of the input without
    floats between; where none is, 128. A bool has two.
    """
    limits = {}
    for spec, var in zip(model.inputs, model.function.params, strict=False):
        if spec.dtype == "bool":
            limits[spec.name] = 2
        elif np.dtype(spec.dtype).kind in "iu":
            limits[spec.name] = min(_indexed(model, var), default=_UNKNOWN)
    return limits


def _indexed(model: Model, var: relax.Var) -> Iterator[int]:
    """Yield the lengths of the axes that a variable leads to as an index."""
    reached = {var}
    for bound, expr in Graph.of(model).bindings:
        if not reached & set(variables(expr)):
            continue
        yield from _axes(expr, reached)
        ty = bound.ty
        if not (isinstance(ty, relax.TensorType) and "float" in str(ty.dtype)):
            reached.add(bound)


def _axes(expr: relax.Expr, reached: set[relax.Var]) -> Iterator[int]:
    if not isinstance(expr, relax.Call) or len(expr.args) < 2 or expr.args[1] not in reached:
        return
    name, shape = expr.op.name, shape_of(expr.args[0])
    if name in ("relax.take", "relax.gather_elements", "relax.scatter_elements"):
        axis = expr.attrs.axis
        yield int(np.prod(shape)) if axis is None else shape[int(axis)]
    elif name in ("relax.gather_nd", "relax.scatter_nd"):
        yield min(shape)
