"""What depends on weights alone is computed once, ahead.

Before  w' = multiply(w, reshape(g, (c, 1, 1, 1))); y = conv2d(x, w')    w, g weights
After   y = conv2d(x, w)                                                 w holds the product
Shapes  any; `permute_dims` of a two-dimensional weight stays, it is how dense layers read theirs

Everything floating is computed in float64. An operator that is not in `EVALUATE` stays in the
network, which is correct, only not ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from tvm import relax
from tvm.ir import GenericConst

from ..ir.edit import EditableGraph, Weight, op_name, reads, shape_of, substitute, with_args


def _axes(axis: Any) -> tuple[int, ...] | None:
    return None if axis is None else tuple(int(a) for a in axis)


def _binary(function: Callable[..., Any]) -> Callable[..., np.ndarray]:
    return lambda call, var, a, b: function(a, b)


def _unary(function: Callable[..., Any]) -> Callable[..., np.ndarray]:
    return lambda call, var, a: function(a)


def _reduce(function: Callable[..., Any]) -> Callable[..., np.ndarray]:
    return lambda call, var, a: function(
        a, axis=_axes(call.attrs.axis), keepdims=bool(call.attrs.keepdims)
    )


def _permute(call: relax.Call, var: relax.Var, a: np.ndarray) -> np.ndarray:
    return np.transpose(a, _axes(call.attrs.axes))


def _reshape(call: relax.Call, var: relax.Var, a: np.ndarray, *_: Any) -> np.ndarray:
    return np.reshape(a, shape_of(var))


def _broadcast(call: relax.Call, var: relax.Var, a: np.ndarray, *_: Any) -> np.ndarray:
    return np.broadcast_to(a, shape_of(var))


def _astype(call: relax.Call, var: relax.Var, a: np.ndarray) -> np.ndarray:
    return a.astype(str(var.ty.dtype))


def _concat(call: relax.Call, var: relax.Var, *parts: np.ndarray) -> np.ndarray:
    return np.concatenate(parts, axis=int(call.attrs.axis or 0))


EVALUATE: dict[str, Callable[..., np.ndarray]] = {
    "reshape": _reshape,
    "expand_dims": _reshape,
    "squeeze": _reshape,
    "flatten": _reshape,
    "permute_dims": _permute,
    "broadcast_to": _broadcast,
    "astype": _astype,
    "concat": _concat,
    "add": _binary(np.add),
    "subtract": _binary(np.subtract),
    "multiply": _binary(np.multiply),
    "divide": _binary(np.divide),
    "power": _binary(np.power),
    "maximum": _binary(np.maximum),
    "minimum": _binary(np.minimum),
    "matmul": _binary(np.matmul),
    "negative": _unary(np.negative),
    "abs": _unary(np.abs),
    "sqrt": _unary(np.sqrt),
    "rsqrt": _unary(lambda a: 1.0 / np.sqrt(a)),
    "square": _unary(np.square),
    "exp": _unary(np.exp),
    "log": _unary(np.log),
    "tanh": _unary(np.tanh),
    "sum": _reduce(np.sum),
    "mean": _reduce(np.mean),
    "max": _reduce(np.max),
    "min": _reduce(np.min),
}


def inline(graph: EditableGraph) -> None:
    """Make constants of weights that are numbers or indices rather than arrays of float32."""
    constants = {
        var: relax.const(weight.value, str(weight.value.dtype))
        for var, weight in graph.weights.items()
        if weight.value.ndim == 0 or weight.value.dtype != np.float32
    }
    for var in constants:
        graph.names.discard(graph.weights.pop(var).name)
    graph.bindings = [(var, substitute(value, constants)) for var, value in graph.bindings]
    graph.output = substitute(graph.output, constants)


def lift(graph: EditableGraph, names: Mapping[bytes, str]) -> None:
    """Make named weights of float32 constants that have more than one element.

    `names` maps a constant's `digest` to its name in the source; others are ``constant``,
    ``constant_1``, and so on.
    """
    seen: dict[bytes, relax.Var] = {}

    def lifted(expr: relax.Expr) -> relax.Expr:
        if isinstance(expr, GenericConst):
            return as_weight(expr)
        if isinstance(expr, relax.Call):
            return with_args(expr, [lifted(arg) for arg in expr.args])
        if isinstance(expr, relax.Tuple):
            return relax.Tuple([lifted(element) for element in expr.fields])
        return expr

    def as_weight(constant: GenericConst) -> relax.Expr:
        value = constant.value.numpy()
        if value.size <= 1 or value.dtype != np.float32:
            return constant
        key = digest(value)
        if key not in seen:
            seen[key] = graph.add_weight(names.get(key, "constant"), value)
        return seen[key]

    graph.bindings = [(var, lifted(value)) for var, value in graph.bindings]
    graph.output = lifted(graph.output)


def digest(value: np.ndarray) -> bytes:
    """Tell one array from another: its type, shape and content."""
    return f"{value.dtype}{value.shape}".encode() + value.tobytes()


def evaluate(graph: EditableGraph) -> None:
    """Replace every binding that reads weights and constants alone by a weight."""
    uses = graph.use_counts()
    kept = []
    for var, value in graph.bindings:
        result = _evaluate_binding(graph, var, value)
        if result is None:
            kept.append((var, value))
        else:
            graph.weights[var] = Weight(_result_name(graph, value, uses), result)
    graph.bindings = kept


def _evaluate_binding(graph: EditableGraph, var: relax.Var, value: relax.Expr) -> np.ndarray | None:
    name = op_name(value)
    if name not in EVALUATE or str(var.ty.dtype) != "float32" or _is_dense_read(graph, value):
        return None
    args = [_constant_value(graph, arg) for arg in _flat_args(value)]
    if not any(read in graph.weights for read in reads(value)) or any(a is None for a in args):
        return None
    with np.errstate(all="ignore"):  # infinity and NaN are results like others
        return np.asarray(EVALUATE[name](value, var, *args))


def _is_dense_read(graph: EditableGraph, call: relax.Call) -> bool:
    source = call.args[0]
    return op_name(call) == "permute_dims" and source in graph.weights and source.ty.ndim == 2


def _flat_args(call: relax.Call) -> list[relax.Expr]:
    args: list[relax.Expr] = []
    for arg in call.args:
        args.extend(arg.fields if isinstance(arg, relax.Tuple) else [arg])
    return args


def _constant_value(graph: EditableGraph, expr: relax.Expr) -> Any:
    if isinstance(expr, relax.Var):
        weight = graph.weights.get(expr)
        return None if weight is None else _to_float64(weight.value)
    if isinstance(expr, GenericConst):
        return _to_float64(expr.value.numpy())
    return expr if isinstance(expr, relax.ShapeExpr) else None


def _to_float64(value: np.ndarray) -> np.ndarray:
    return value.astype(np.float64) if value.dtype == np.float32 else value


def _result_name(graph: EditableGraph, value: relax.Expr, uses: Any) -> str:
    """Name it as the first weight where nothing else reads that, after it otherwise."""
    source = next(var for var in reads(value) if var in graph.weights)
    name = graph.weights[source].name
    return name if uses[source] == 1 else graph.unique_name(f"{name}_computed")
