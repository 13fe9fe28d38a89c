"""Operators between layers: how each keeps a channels-last layout, or evaluates ahead."""

from __future__ import annotations

import math
from dataclasses import replace

from tvm import relax

from . import layout_operators
from .values import Dequantized, Dynamic, Quantized, Static, Value
from .walk import FROM_CHANNELS_LAST, TO_CHANNELS_LAST, Rule, Walk, shape_of


def elementwise(walk: Walk, call: relax.Call) -> Value | None:
    """One activation, any layout: the layout stays."""
    value = walk.value_of(call.args[0])
    if isinstance(value, Static):
        return None
    dynamic = walk.as_float(value)
    rest = [walk.rebuilt(arg) for arg in call.args[1:]]
    new = relax.Call(call.op, [dynamic.expr, *rest], call.attrs)
    return Dynamic(walk.emit(new), dynamic.channels_last)


def broadcasting(walk: Walk, call: relax.Call) -> Value | None:
    """Several operands: channels last where one of them is, and the others can follow."""
    values = [walk.value_of(arg) for arg in call.args]
    if not any(getattr(value, "channels_last", False) for value in values):
        return None
    if any(
        v.array.ndim > 4 if isinstance(v, Static) else len(shape_of(v.expr)) != 4 for v in values
    ):
        return None
    size = math.prod(shape_of(call))
    operands = [_follow(walk, arg, v, size) for arg, v in zip(call.args, values, strict=True)]
    return Dynamic(walk.emit(relax.Call(call.op, operands, call.attrs)), True)


def _follow(walk: Walk, expr: relax.Expr, value: Value, size: int) -> relax.Expr:
    """An operand of a channels-last operator that gives `size` values.

    A weight is transposed ahead. What is smaller than the result is not fused: what computes a gate
    for each channel would be done again for each pixel.
    """
    if not isinstance(value, Static):
        operand = walk.channels_last(expr)
        smaller = isinstance(value, Dynamic) and math.prod(shape_of(operand)) < size
        return walk.apart(operand) if smaller else operand
    array = value.as_float().array
    if array.size == 1:
        return relax.const(array.reshape(()), str(array.dtype))
    array = array.reshape((1,) * (4 - array.ndim) + array.shape).transpose(TO_CHANNELS_LAST)
    if array.shape[:3] == (1, 1, 1):
        array = array.reshape(-1)
    return walk.weights.var(value.name, array)


def static(walk: Walk, call: relax.Call) -> Value | None:
    """Permute or reshape of a weight, evaluated ahead."""
    value = walk.value_of(call.args[0])
    if isinstance(value, Dynamic) and call.op.name == "relax.reshape":
        return _reshape(walk, call, value)
    if not isinstance(value, Static):
        return None
    if call.op.name == "relax.permute_dims":
        axes = call.attrs.axes
        order = None if axes is None else [int(axis) for axis in axes]
        return value.transposed(order)
    return Static(value.as_float().array.reshape(shape_of(call)), value.name)


def _reshape(walk: Walk, call: relax.Call, value: Dynamic) -> Value | None:
    """(n, c, 1, 1) → (n, c) is the same memory in both layouts."""
    shape = shape_of(value.expr)
    if not value.channels_last or shape[1:3] != (1, 1):
        return None
    return Dynamic(walk.emit(relax.op.reshape(value.expr, shape_of(call))))


def pool(walk: Walk, call: relax.Call) -> Value:
    """Pooling, channels last; the largest of some quantized values is one of them."""
    pooled = layout_operators.channels_last_pool(call)
    value = walk.value_of(call.args[0])
    source = value.source if isinstance(value, Dequantized) else None
    if isinstance(source, Quantized) and call.op.name == "relax.nn.max_pool2d":
        expr = walk.emit(pooled(walk.stored(source, True)))
        return Dequantized(replace(source, expr=expr, channels_last=True))
    return Dynamic(walk.emit(pooled(walk.channels_last(call.args[0]))), True)


def reduction(walk: Walk, call: relax.Call) -> Value | None:
    """mean, sum, max, min over axes, kept channels last."""
    value = walk.value_of(call.args[0])
    if not getattr(value, "channels_last", False):
        return None
    keep = bool(call.attrs.keepdims)
    if call.attrs.axis is None:
        x = walk.channels_last(call.args[0])
        return Dynamic(walk.emit(layout_operators.REDUCTIONS[call.op.name](x, None, keep)), keep)
    axes = sorted(int(axis) % 4 for axis in call.attrs.axis)
    if not keep and axes != [2, 3]:
        return None
    moved = [FROM_CHANNELS_LAST[axis] for axis in axes]
    make = layout_operators.REDUCTIONS[call.op.name]
    x = walk.channels_last(call.args[0])
    return Dynamic(walk.emit(make(x, moved, keep)), keep)


def concat(walk: Walk, call: relax.Call) -> Value | None:
    """Concatenation of channels-last values."""
    fields = layout_operators.tuple_fields(call.args[0], walk.model.function)
    if fields is None or call.attrs.axis is None:
        return None
    values = [walk.value_of(field) for field in fields]
    if not all(getattr(value, "channels_last", False) for value in values):
        return None
    axis = FROM_CHANNELS_LAST[int(call.attrs.axis) % 4]
    parts = [walk.channels_last(field) for field in fields]
    return Dynamic(walk.emit(relax.op.concat(parts, axis)), True)


RULES: dict[str, Rule] = {
    **dict.fromkeys(layout_operators.ELEMENTWISE, elementwise),
    **dict.fromkeys(layout_operators.BROADCASTING, broadcasting),
    **dict.fromkeys(layout_operators.POOLS, pool),
    **dict.fromkeys(layout_operators.REDUCTIONS, reduction),
    "relax.permute_dims": static,
    "relax.reshape": static,
    "relax.concat": concat,
}
