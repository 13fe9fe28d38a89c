"""Operators that write into places of a tensor: each gives a new one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tvm import relax

from ....ir.edit import shape_of
from ..operator_call import OperatorCall, axis_of, constant
from .indexing import joint_places, places_along, take


def _write(
    call: OperatorCall, x: relax.Expr, places: relax.Expr, values: relax.Expr, reduction: str
) -> relax.Expr:
    """Write values into places of the flattened tensor."""
    count = int(np.prod(shape_of(values)))
    flat = call.reshape(x, (int(np.prod(shape_of(x))),))
    written = call.emit(
        relax.op.scatter_elements,
        flat,
        call.reshape(places, (count,)),
        call.reshape(values, (count,)),
        0,
        reduction,
    )
    return call.reshape(written, shape_of(x))


def _scattered(
    call: OperatorCall,
    x: relax.Expr,
    dim: int,
    index: relax.Expr,
    src: relax.Expr,
    reduction: str = "update",
) -> relax.Expr:
    if 0 in shape_of(index):
        return x
    if shape_of(src) != shape_of(index):  # torch reads as much of src as there are indices
        axes = list(range(len(shape_of(index))))
        src = call.emit(relax.op.strided_slice, src, axes, [0] * len(axes), list(shape_of(index)))
    return _write(call, x, places_along(call, shape_of(x), dim, index), src, reduction)


def scatter(
    call: OperatorCall, x: relax.Expr, dim: int, index: relax.Expr, src: relax.Expr
) -> relax.Expr:
    """Write src along an axis."""
    return _scattered(call, x, dim, index, src)


def scatter_value(
    call: OperatorCall, x: relax.Expr, dim: int, index: relax.Expr, value: float
) -> relax.Expr:
    """Write a number along an axis."""
    return _scattered(call, x, dim, index, call.broadcast(call.cast(value), shape_of(index)))


def scatter_add(
    call: OperatorCall, x: relax.Expr, dim: int, index: relax.Expr, src: relax.Expr
) -> relax.Expr:
    """Add src along an axis."""
    return _scattered(call, x, dim, index, src, "add")


_REDUCTIONS = {
    "sum": ("add", 0.0),
    "mean": ("add", 0.0),
    "prod": ("mul", 1.0),
    "amax": ("max", float(np.finfo("float32").min)),
    "amin": ("min", float(np.finfo("float32").max)),
}
"""What relax.scatter_elements calls it, and where it starts from."""


def scatter_reduce(
    call: OperatorCall,
    x: relax.Expr,
    dim: int,
    index: relax.Expr,
    src: relax.Expr,
    reduce: str,
    include_self: bool,
) -> relax.Expr:
    """Reduce src into places along an axis, with what stood there or without."""
    if call.dtype != "float32":
        raise ValueError(f"it reduces {call.dtype}; convert with .float()")
    reduction, start = _REDUCTIONS[reduce]
    if not include_self:
        x = scatter_value(call, x, dim, index, start)
    y = _scattered(call, x, dim, index, src, reduction)
    if reduce != "mean":
        return y
    ones, own = (relax.const(np.ones(s, "float32")) for s in (shape_of(index), shape_of(x)))
    counts = own if include_self else scatter_value(call, own, dim, index, 0.0)
    return call.emit(relax.op.divide, y, _scattered(call, counts, dim, index, ones, "add"))


def index_put(
    call: OperatorCall,
    x: relax.Expr,
    indices: Sequence[relax.Expr | None],
    values: relax.Expr,
    accumulate: bool,
) -> relax.Expr:
    """Write (or add) values where `index` would read; a boolean index of x's shape chooses."""
    given = {axis: at for axis, at in enumerate(indices) if at is not None}
    first = next(iter(given.values()))
    if str(first.ty.dtype) == "bool":
        return _masked(call, x, given, values, accumulate)
    shape, axes = shape_of(x), list(given)
    rest = [axis for axis in range(len(shape)) if axis not in given]
    together = np.broadcast_shapes(*(shape_of(at) for at in given.values()))
    places = joint_places(call, shape, given)
    inside = int(np.prod([shape[axis] for axis in rest]))
    offsets = np.arange(inside).reshape([shape[axis] for axis in rest])
    places = call.reshape(places, (*together, *(1 for _ in rest)))
    known = constant(places)
    if known is not None:
        places = relax.const(known * inside + offsets, "int64")
    else:
        places = call.emit(relax.op.multiply, places, relax.const(inside, "int64"))
        places = call.emit(relax.op.add, places, relax.const(offsets, "int64"))
    values = _arranged(call, values, axes, together, [shape[axis] for axis in rest])
    order = [*axes, *rest]
    moved = call.permute(x, order)
    written = _write(call, moved, places, values, "add" if accumulate else "update")
    return call.permute(written, [order.index(axis) for axis in range(len(order))])


def _arranged(
    call: OperatorCall,
    values: relax.Expr,
    axes: Sequence[int],
    together: Sequence[int],
    rest: Sequence[int],
) -> relax.Expr:
    """Broadcast values to what indexing would give, the indices' axes in front."""
    before = axes[0] if axes[-1] - axes[0] == len(axes) - 1 else 0
    given = (*rest[:before], *together, *rest[before:])
    values = call.broadcast(values, given)
    added = len(together)
    return call.permute(
        values,
        [*range(before, before + added), *range(before), *range(before + added, len(given))],
    )


def _masked(
    call: OperatorCall,
    x: relax.Expr,
    given: dict[int, relax.Expr],
    values: relax.Expr,
    accumulate: bool,
) -> relax.Expr:
    """``x[mask] = number``, the mask over the first axes."""
    if list(given) != [0] or int(np.prod(shape_of(values))) != 1:
        raise ValueError("a boolean index can only be assigned one number; use torch.where")
    mask, rank = given[0], len(shape_of(x))
    mask = call.reshape(mask, (*shape_of(mask), *(1,) * (rank - len(shape_of(mask)))))
    value = call.reshape(values, ())
    if accumulate:
        value = call.emit(relax.op.add, x, value)
    return call.broadcast(call.emit(relax.op.where, mask, value, x), shape_of(x))


def slice_scatter(
    call: OperatorCall,
    x: relax.Expr,
    src: relax.Expr,
    dim: int,
    start: int | None,
    end: int | None,
    step: int,
) -> relax.Expr:
    """Put src into a slice: both joined, and each place read from the one or the other."""
    axis = axis_of(dim, len(shape_of(x)))
    length = shape_of(x)[axis]
    source = np.arange(length)
    where = range(*slice(start, end, step).indices(length))
    source[where.start : where.stop : where.step] = length + np.arange(len(where))
    if len(where) == 0:
        return x
    if len(where) == length:
        return call.cast(src)
    joined = call.emit(relax.op.concat, [x, call.cast(src)], axis)
    return take(call, joined, relax.const(source, "int64"), axis)


def select_scatter(
    call: OperatorCall, x: relax.Expr, src: relax.Expr, dim: int, index: int
) -> relax.Expr:
    """Put src into one place of an axis."""
    axis = axis_of(dim, len(shape_of(x)))
    shape = list(shape_of(x))
    at = index % shape[axis]
    shape[axis] = 1
    return slice_scatter(call, x, call.reshape(src, shape), axis, at, at + 1, 1)
