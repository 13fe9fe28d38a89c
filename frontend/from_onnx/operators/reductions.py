"""Reductions: axes as an attribute or an input, no axis meaning all of them or none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax

from ..arguments import Inputs, emit, integers, like, scalar

Convert = Callable[[Inputs, dict[str, Any], Any], relax.Expr]
_op = relax.op


def _log_sum_exp(x: relax.Expr, axes: list[int]) -> relax.Expr:
    """Compute log(sum(exp(x))) from the largest value down, so that nothing overflows."""
    largest = _op.max(x, axes, True)
    zero = relax.const(np.zeros((), str(x.ty.dtype)))
    shift = _op.where(_op.isfinite(largest), largest, zero)
    return _op.add(_op.log(_op.sum(_op.exp(_op.subtract(x, shift)), axes, True)), shift)


def _root_of_squares(x: relax.Expr, axes: list[int]) -> relax.Expr:
    return _op.sqrt(_op.sum(_op.multiply(x, x), axes, True))


_KEEPING: dict[str, Callable[[relax.Expr, list[int]], relax.Expr]] = {
    "ReduceMax": lambda x, axes: _op.max(x, axes, True),
    "ReduceMin": lambda x, axes: _op.min(x, axes, True),
    "ReduceSum": lambda x, axes: _op.sum(x, axes, True),
    "ReduceMean": lambda x, axes: _op.mean(x, axes, True),
    "ReduceProd": lambda x, axes: _op.prod(x, axes, True),
    "ReduceL1": lambda x, axes: _op.sum(_op.abs(x), axes, True),
    "ReduceL2": _root_of_squares,
    "ReduceSumSquare": lambda x, axes: _op.sum(_op.multiply(x, x), axes, True),
    "ReduceLogSum": lambda x, axes: _op.log(_op.sum(x, axes, True)),
    "ReduceLogSumExp": _log_sum_exp,
}
_EMPTY: dict[str, Callable[[relax.Expr], relax.Expr]] = {
    "ReduceL1": _op.abs,
    "ReduceL2": _op.abs,
    "ReduceSumSquare": lambda x: _op.multiply(x, x),
    "ReduceLogSum": _op.log,
}
"""What a reduction over no axis leaves to do; the others give x."""


def _reduction(name: str) -> Convert:
    reduce = _KEEPING[name]

    def convert(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
        x, rank = inputs[0], inputs[0].ty.ndim
        given = integers(inputs, 1, attrs.get("axes"), held)
        if not given and attrs.get("noop_with_empty_axes", 0):
            return _EMPTY.get(name, lambda value: value)(x)
        axes = sorted({axis % rank for axis in given}) if given else list(range(rank))
        if not axes:  # of a scalar
            return _EMPTY.get(name, lambda value: value)(x)
        dtype = str(x.ty.dtype)
        if dtype == "bool" and name in ("ReduceMax", "ReduceMin"):
            x = emit(_op.astype(x, "int32"))
        _check(name, str(x.ty.dtype))
        y = emit(reduce(x, axes))
        y = y if dtype != "bool" else emit(_op.astype(y, dtype))
        return y if attrs.get("keepdims", 1) else _op.squeeze(y, axes)

    return convert


def _check(name: str, dtype: str) -> None:
    if name in ("ReduceMean", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp") and "int" in dtype:
        raise ValueError(f"of {dtype} it cannot be imported; cast to float32 first")
    if dtype == "bool":
        raise ValueError("of bool it cannot be imported; cast to int32 first")


def _extreme(operator: Callable[..., relax.Expr]) -> Convert:
    """ArgMax and ArgMin: of equal values the first, or the last."""

    def convert(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
        x = inputs[0]
        axis, keep = attrs.get("axis", 0) % x.ty.ndim, bool(attrs.get("keepdims", 1))
        if not attrs.get("select_last_index", 0):
            return operator(x, axis, keep)
        last = relax.const(int(x.ty.shape[axis]) - 1, "int64")
        return _op.subtract(last, operator(_op.flip(x, axis), axis, keep))

    return convert


def lp_normalization(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """LpNormalization: x over its norm along an axis; 0 where that is 0."""
    x, axes = inputs[0], [attrs.get("axis", -1) % inputs[0].ty.ndim]
    reduce = _root_of_squares if attrs.get("p", 2) == 2 else _KEEPING["ReduceL1"]
    norm = emit(reduce(x, axes))
    return _op.divide(x, _op.where(_op.equal(norm, like(x, 0)), like(x, 1), norm))


def _cumulative(operator: Callable[..., relax.Expr]) -> Convert:
    """CumSum and CumProd from either end, with or without the element itself."""

    def convert(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
        x = inputs[0]
        axis, exclusive = scalar(inputs, 1, held) % x.ty.ndim, bool(attrs.get("exclusive", 0))
        if not attrs.get("reverse", 0):
            return operator(x, axis, exclusive=exclusive)
        return _op.flip(operator(_op.flip(x, axis), axis, exclusive=exclusive), axis)

    return convert


OWN: dict[str, Convert] = {
    **{name: _reduction(name) for name in _KEEPING},
    "ArgMax": _extreme(_op.argmax),
    "ArgMin": _extreme(_op.argmin),
    "CumProd": _cumulative(_op.cumprod),
    "CumSum": _cumulative(_op.cumsum),
    "LpNormalization": lp_normalization,
}
