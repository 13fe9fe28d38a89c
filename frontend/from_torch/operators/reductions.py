"""Sums, extremes, moments, norms, running sums and sorting."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tvm import relax

from ....ir.edit import shape_of
from ..operator_call import Converter, OperatorCall, axes_of, axis_of
from .indexing import select

Dims = int | Sequence[int] | None


def reduce(operator: Callable[..., relax.Expr]) -> Converter:
    """Over all axes where none is named; in the result's type, as torch adds up."""

    def convert(call: OperatorCall, x: relax.Expr, dim: Dims, keepdim: bool = False) -> relax.Expr:
        return _reduce(call, operator, call.cast(x), dim, keepdim)

    return convert


def reduce_all(operator: Callable[..., relax.Expr]) -> Converter:
    """To a number."""

    def convert(call: OperatorCall, x: relax.Expr) -> relax.Expr:
        return _reduce(call, operator, call.cast(x), None, False)

    return convert


def _reduce(
    call: OperatorCall,
    operator: Callable[..., relax.Expr],
    x: relax.Expr,
    dim: Dims,
    keepdim: bool,
) -> relax.Expr:
    axes = axes_of(dim, len(shape_of(x)))
    if 0 in shape_of(x):
        raise ValueError("it reduces an empty tensor")
    if not axes:
        return x
    if str(x.ty.dtype) != "bool":
        return call.emit(operator, x, axes, keepdim)
    return call.cast(call.emit(operator, call.cast(x, "int32"), axes, keepdim), "bool")


def anything(call: OperatorCall, x: relax.Expr, dim: Dims, keepdim: bool = False) -> relax.Expr:
    """Whether something is not zero, as the largest of zeros and ones."""
    return _reduce(call, relax.op.max, call.cast(x, "bool"), dim, keepdim)


def anything_at_all(call: OperatorCall, x: relax.Expr) -> relax.Expr:
    """Whether something is not zero."""
    return anything(call, x, None)


def _variance(
    call: OperatorCall, x: relax.Expr, dim: Dims, correction: float | None, keepdim: bool
) -> relax.Expr:
    """Relax's variance divides by the count; torch by the count less the correction."""
    axes, shape = axes_of(dim, len(shape_of(x))), shape_of(x)
    count = math.prod(shape[axis] for axis in axes)
    divisor = max(0.0, count - (1 if correction is None else correction))
    variance = call.emit(relax.op.variance, x, axes, keepdim) if axes else call.cast(0.0)
    factor = count / divisor if divisor else math.inf
    if factor == 1:
        return variance
    return call.emit(relax.op.multiply, variance, call.cast(factor))


def variance(
    call: OperatorCall, x: relax.Expr, dim: Dims, correction: float | None, keepdim: bool
) -> relax.Expr:
    """The mean squared distance from the mean, corrected."""
    return _variance(call, x, dim, correction, keepdim)


def variance_and_mean(
    call: OperatorCall, x: relax.Expr, dim: Dims, correction: float | None, keepdim: bool
) -> list[relax.Expr]:
    """Both."""
    mean = _reduce(call, relax.op.mean, x, dim, keepdim)
    return [_variance(call, x, dim, correction, keepdim), mean]


def vector_norm(
    call: OperatorCall, x: relax.Expr, ord: float, dim: Dims, keepdim: bool
) -> relax.Expr:
    """The p-norm: of infinite and zero order too."""
    x = call.cast(x)
    size = call.emit(relax.op.abs, x)
    if ord in (math.inf, -math.inf):
        return _reduce(call, relax.op.max if ord > 0 else relax.op.min, size, dim, keepdim)
    if ord == 0:
        return _reduce(call, relax.op.sum, call.cast(call.cast(x, "bool")), dim, keepdim)
    if ord == 1:
        return _reduce(call, relax.op.sum, size, dim, keepdim)
    if ord == 2:
        squares = call.emit(relax.op.multiply, x, x)
        return call.emit(relax.op.sqrt, _reduce(call, relax.op.sum, squares, dim, keepdim))
    powers = call.emit(relax.op.power, size, call.cast(ord))
    total = _reduce(call, relax.op.sum, powers, dim, keepdim)
    return call.emit(relax.op.power, total, call.cast(1.0 / ord))


def distance(call: OperatorCall, x: relax.Expr, other: relax.Expr, p: float) -> relax.Expr:
    """The p-norm of a difference."""
    apart = call.emit(relax.op.subtract, call.cast(x), call.cast(other))
    return vector_norm(call, apart, p, None, False)


def extreme_index(operator: Callable[..., relax.Expr]) -> Converter:
    """The place of an extreme along an axis, or in the flattened tensor."""

    def convert(call: OperatorCall, x: relax.Expr, dim: int | None, keepdim: bool) -> relax.Expr:
        if not shape_of(x):
            return relax.const(0, "int64")
        if dim is None:
            flat = call.reshape(x, (math.prod(shape_of(x)),))
            return call.reshape(call.emit(operator, flat, 0, False), call.shape)
        return call.emit(operator, x, axis_of(dim, len(shape_of(x))), keepdim)

    return convert


def extreme(value: Callable[..., relax.Expr], place: Callable[..., relax.Expr]) -> Converter:
    """An extreme along an axis and its place."""

    def convert(call: OperatorCall, x: relax.Expr, dim: int, keepdim: bool) -> list[relax.Expr]:
        if not shape_of(x):
            return [x, relax.const(0, "int64")]
        axis = axis_of(dim, len(shape_of(x)))
        return [call.emit(value, x, [axis], keepdim), call.emit(place, x, axis, keepdim)]

    return convert


def accumulate(operator: Callable[..., relax.Expr]) -> Converter:
    """Running sums and products along an axis, in the result's type."""

    def convert(call: OperatorCall, x: relax.Expr, dim: int) -> relax.Expr:
        if not shape_of(x):
            return call.cast(x)
        axis = axis_of(dim, len(shape_of(x)))
        return call.emit(operator, call.cast(x), axis, call.dtype)

    return convert


def _sorted(
    call: OperatorCall, x: relax.Expr, dim: int, descending: bool
) -> tuple[relax.Expr, relax.Expr]:
    axis = axis_of(dim, len(shape_of(x)))
    return (
        call.emit(relax.op.sort, x, axis, descending),
        call.emit(relax.op.argsort, x, axis, descending, "int64"),
    )


def sort(call: OperatorCall, x: relax.Expr, dim: int, descending: bool) -> list[relax.Expr]:
    """Sorted values, and where each was."""
    if not shape_of(x):
        return [x, relax.const(0, "int64")]
    return list(_sorted(call, x, dim, descending))


def topk(call: OperatorCall, x: relax.Expr, k: int, dim: int, largest: bool) -> list[relax.Expr]:
    """The k largest or smallest in order, and where each was."""
    if not shape_of(x) and k == 1:
        return [x, relax.const(0, "int64")]
    if k == 0:
        raise ValueError("it takes nothing (k is 0)")
    axis = axis_of(dim, len(shape_of(x)))
    both = call.emit(relax.op.topk, x, k, axis, "both", largest, "int64")
    return [call.emit(relax.TupleGetItem, both, i) for i in range(2)]


def median(call: OperatorCall, x: relax.Expr, dim: int, keepdim: bool) -> list[Any]:
    """The lower of two in the middle; its place is not computed."""
    if not shape_of(x):
        return [x, None]
    axis = axis_of(dim, len(shape_of(x)))
    values, _ = _sorted(call, x, axis, False)
    middle = select(call, values, axis, (shape_of(x)[axis] - 1) // 2)
    return [call.reshape(middle, call.shape), None]


def median_of_all(call: OperatorCall, x: relax.Expr) -> relax.Expr:
    """Of the flattened tensor."""
    return median(call, call.reshape(x, (math.prod(shape_of(x)),)), 0, False)[0]


def distances(call: OperatorCall, x1: relax.Expr, x2: relax.Expr, p: float) -> relax.Expr:
    """Euclidean distance of each row of x1 from each of x2."""
    if p != 2:
        raise ValueError(f"its argument p = {p} is not supported")
    left = call.emit(relax.op.expand_dims, x1, len(shape_of(x1)) - 1)
    right = call.emit(relax.op.expand_dims, x2, len(shape_of(x2)) - 2)
    apart = call.emit(relax.op.subtract, left, right)
    squares = call.emit(relax.op.multiply, apart, apart)
    return call.emit(relax.op.sqrt, call.emit(relax.op.sum, squares, [-1], False))
