"""Bags of embeddings, places among boundaries, running extremes: what is found by comparing."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax

from ....ir.edit import shape_of
from ..operator_call import Converter, OperatorCall, axis_of, constant
from .indexing import clipped_take, embedding, select
from .reductions import sort

_op = relax.op
_SUM, _MEAN, _MAX = range(3)
_MOST_PAIRS = 2**24


def embedding_bag(
    call: OperatorCall,
    weight: relax.Expr,
    indices: relax.Expr,
    offsets: relax.Expr,
    mode: int,
    per_sample_weights: relax.Expr | None,
    include_last_offset: bool,
) -> list[Any]:
    """Sums, means or maxima of rows of a table, by bags that start at constant offsets."""
    starts = constant(offsets)
    if starts is None:
        raise ValueError("its offsets are computed by the network; only constants are supported")
    rows, count = embedding(call, weight, indices), shape_of(indices)[0]
    ends = starts[1:] if include_last_offset else np.append(starts[1:], count)
    starts = starts[:-1] if include_last_offset else starts
    if per_sample_weights is not None:
        factors = call.reshape(per_sample_weights, (count, 1))
        rows = call.emit(_op.multiply, rows, factors)
    lengths = ends - starts
    steps = np.arange(max(int(lengths.max()), 1))
    at = np.where(steps < lengths[:, None], starts[:, None] + steps, count)
    if (at == count).any():  # what a short bag lacks
        lowest = np.finfo("float32").min if mode == _MAX else 0.0
        filler = call.cast(np.full((1, shape_of(rows)[1]), lowest))
        rows = call.emit(_op.concat, [rows, filler], 0)
    bags = clipped_take(call, rows, relax.const(at.astype(np.int64), "int64"), 0)
    if mode == _MAX:
        y = call.emit(_op.max, bags, [1], False)
        empty = relax.const((lengths == 0)[:, None], "bool")
        return [call.emit(_op.where, empty, call.cast(0.0), y), None, None, None]
    y = call.emit(_op.sum, bags, [1], False)
    if mode == _MEAN:
        y = call.emit(_op.divide, y, call.cast(np.maximum(lengths, 1)[:, None]))
    return [y, None, None, None]


def bucketize(
    call: OperatorCall, x: relax.Expr, boundaries: relax.Expr, right: bool, out_int32: bool
) -> relax.Expr:
    """How many boundaries lie below each value (or, with `right`, not above it)."""
    return _among(call, boundaries, x, right)


def searchsorted(
    call: OperatorCall,
    sorted_sequence: relax.Expr,
    x: relax.Expr,
    right: bool,
    out_int32: bool,
    side: str | None,
) -> relax.Expr:
    """The same in sorted rows, one for each row of values."""
    return _among(call, sorted_sequence, x, right or side == "right")


def _among(call: OperatorCall, edges: relax.Expr, x: relax.Expr, right: bool) -> relax.Expr:
    front, count = shape_of(edges)[:-1], shape_of(edges)[-1]
    if front:
        edges = call.reshape(edges, (*front, 1, count))
    own = str(x.ty.dtype) if "float" in str(x.ty.dtype) else str(edges.ty.dtype)
    left = call.cast(call.reshape(x, (*shape_of(x), 1)), own)
    below = call.emit(_op.less_equal if right else _op.less, call.cast(edges, own), left)
    return call.emit(_op.sum, call.cast(below), [-1], False)


def running(operator: Callable[..., relax.Expr], place: Callable[..., relax.Expr]) -> Converter:
    """Running extremes along an axis and the last place of each: all pairs compared."""

    def convert(call: OperatorCall, x: relax.Expr, dim: int) -> list[relax.Expr]:
        pairs, axis = _pairs(call, x, dim, -math.inf if operator is _op.max else math.inf)
        last = relax.const(shape_of(x)[axis] - 1, "int64")
        back = call.emit(_op.flip, pairs, axis + 1)
        at = call.emit(_op.subtract, last, call.emit(place, back, axis + 1, False))
        return [call.emit(operator, pairs, [axis + 1], False), at]

    return convert


def _pairs(call: OperatorCall, x: relax.Expr, dim: int, beyond: float) -> tuple[relax.Expr, int]:
    """Give what comes up to each place along a new axis behind the own; `beyond` for the rest."""
    shape = shape_of(x)
    axis = axis_of(dim, len(shape))
    if not shape or math.prod(shape) * shape[axis] > _MOST_PAIRS:
        raise ValueError(f"it compares all pairs of an axis of {shape[axis : axis + 1]}")
    if str(x.ty.dtype) != "float32":
        raise ValueError(f"of {x.ty.dtype} it cannot be imported; convert with .float()")
    length, behind = shape[axis], (1,) * (len(shape) - axis - 1)
    x = call.reshape(x, (*shape[:axis], 1, *shape[axis:]))
    seen = np.tril(np.ones((length, length), bool)).reshape(length, length, *behind)
    rest = call.cast(np.float32(np.clip(beyond, *np.finfo("float32").max * np.array([-1, 1]))))
    return call.emit(_op.where, relax.const(seen, "bool"), x, rest), axis


def log_cumulative_sum_exp(call: OperatorCall, x: relax.Expr, dim: int) -> relax.Expr:
    """log(cumsum(exp(x))) from the largest value so far down, so that nothing overflows."""
    pairs, axis = _pairs(call, x, dim, -math.inf)
    largest = call.emit(_op.max, pairs, [axis + 1], True)
    powers = call.emit(_op.exp, call.emit(_op.subtract, pairs, largest))
    total = call.emit(_op.log, call.emit(_op.sum, powers, [axis + 1], False))
    return call.emit(_op.add, total, call.reshape(largest, call.shape))


def kth_value(call: OperatorCall, x: relax.Expr, k: int, dim: int, keepdim: bool) -> list[Any]:
    """The k-th smallest and its place."""
    both = sort(call, x, dim, False)
    if not shape_of(x):
        return both
    return [call.reshape(select(call, value, dim, k - 1), call.shape) for value in both]
