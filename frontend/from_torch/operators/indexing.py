"""Slices, indices and gathers.

Constant indices are brought into range here, or refused. Indices that the network computes are
wrapped (-1 is the last) and kept in range, so that no built code reads beside a tensor; where
torch would raise an error, the element that is read is unspecified.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tvm import relax

from ....ir.edit import shape_of
from ..operator_call import OperatorCall, axis_of, constant


def in_range(call: OperatorCall, index: relax.Expr, length: int, axis: int) -> relax.Expr:
    """Give indices between 0 and length - 1, as int64."""
    index = _wrapped(call, index, length, axis)
    if constant(index) is not None:
        return index
    index = call.emit(relax.op.maximum, index, relax.const(0, "int64"))
    return call.emit(relax.op.minimum, index, relax.const(length - 1, "int64"))


def _wrapped(call: OperatorCall, index: relax.Expr, length: int, axis: int) -> relax.Expr:
    """Count what is negative from the end; constants are in range afterwards."""
    if str(index.ty.dtype) not in ("int32", "int64"):
        raise ValueError(f"it indexes by {index.ty.dtype}; index by integers")
    known = constant(index)
    if known is not None:
        bad = known[(known < -length) | (known >= length)]
        if bad.size:
            raise ValueError(
                f"index {bad.flat[0]} is out of range for axis {axis}, which has {length}"
            )
        return relax.const(np.where(known < 0, known + length, known).astype(np.int64), "int64")
    index = call.cast(index, "int64")
    negative = call.emit(relax.op.less, index, relax.const(0, "int64"))
    wrapped = call.emit(relax.op.add, index, relax.const(length, "int64"))
    return call.emit(relax.op.where, negative, wrapped, index)


def take(call: OperatorCall, x: relax.Expr, index: relax.Expr, axis: int) -> relax.Expr:
    """Take along an axis; the index's axes stand in its place."""
    index = _wrapped(call, index, shape_of(x)[axis], axis)
    data, at = constant(x), constant(index)
    if data is not None and at is not None:
        return relax.const(np.take(data, at, axis), str(data.dtype))
    return clipped_take(call, x, index, axis)


def clipped_take(call: OperatorCall, x: relax.Expr, index: relax.Expr, axis: int) -> relax.Expr:
    """Take by indices that are not negative; what is too large reads the last."""
    return call.emit(relax.op.take, x, index, axis, mode="clip")


def select(call: OperatorCall, x: relax.Expr, dim: int, index: int) -> relax.Expr:
    """One element of an axis, which goes."""
    return take(call, x, relax.const(index, "int64"), axis_of(dim, len(shape_of(x))))


def slice_(
    call: OperatorCall, x: relax.Expr, dim: int, start: int | None, end: int | None, step: int
) -> relax.Expr:
    """Slice an axis as Python does."""
    axis = axis_of(dim, len(shape_of(x)))
    begin, stop, step = slice(start, end, step).indices(shape_of(x)[axis])
    if (begin, step) == (0, 1) and stop == shape_of(x)[axis]:
        return x
    return call.emit(relax.op.strided_slice, x, [axis], [begin], [stop], [step])


def index_select(call: OperatorCall, x: relax.Expr, dim: int, index: relax.Expr) -> relax.Expr:
    """Take along an axis by a vector (or a number, which keeps the axis)."""
    rank = len(shape_of(x))
    if rank == 0:
        return x
    index = call.reshape(index, (call.shape[axis_of(dim, rank)],))
    return take(call, x, index, axis_of(dim, rank))


def embedding(call: OperatorCall, weight: relax.Expr, indices: relax.Expr) -> relax.Expr:
    """Rows of a table; torch knows no negative ones here."""
    if constant(indices) is not None:
        return take(call, weight, indices, 0)
    return clipped_take(call, weight, indices, 0)


def flip(call: OperatorCall, x: relax.Expr, dims: Sequence[int]) -> relax.Expr:
    """Reverse axes."""
    for dim in dims:
        axis = axis_of(dim, len(call.shape))
        if call.shape:
            reverse = np.arange(call.shape[axis])[::-1].copy()
            x = take(call, x, relax.const(reverse, "int64"), axis)
    return x


def gather(call: OperatorCall, x: relax.Expr, dim: int, index: relax.Expr) -> relax.Expr:
    """``x[i, index[i, j], …]``: an element of the axis for each place of the index."""
    return _at(call, x, places_along(call, shape_of(x), dim, index))


def _at(call: OperatorCall, x: relax.Expr, places: relax.Expr) -> relax.Expr:
    """Elements of the flattened tensor."""
    flat = call.reshape(x, (int(np.prod(shape_of(x))),))
    return clipped_take(call, flat, places, 0)


def places_along(
    call: OperatorCall, shape: Sequence[int], dim: int, index: relax.Expr
) -> relax.Expr:
    """Where gather reads and scatter writes: places in the flattened tensor of that shape."""
    rank = len(shape)
    if rank == 0:
        return relax.const(np.zeros(shape_of(index), np.int64), "int64")
    axis, strides = axis_of(dim, rank), strides_of(shape)
    others = np.zeros(shape_of(index), np.int64)
    for other, extent in enumerate(shape_of(index)):
        if other != axis:
            steps = np.arange(extent) * strides[other]
            others = others + steps.reshape([-1 if a == other else 1 for a in range(rank)])
    return _sum(call, [(in_range(call, index, shape[axis], axis), strides[axis])], others)


def strides_of(shape: Sequence[int]) -> list[int]:
    """How many elements apart the neighbours along each axis are."""
    return [int(np.prod(shape[axis + 1 :])) for axis in range(len(shape))]


def _sum(
    call: OperatorCall, terms: Sequence[tuple[relax.Expr, int]], start: np.ndarray
) -> relax.Expr:
    """Add up ``index * stride`` over the terms and a constant, constants ahead."""
    computed: list[relax.Expr] = []
    for index, stride in terms:
        known = constant(index)
        if known is not None:
            start = start + known * stride
        elif stride == 1:
            computed.append(index)
        else:
            computed.append(call.emit(relax.op.multiply, index, relax.const(stride, "int64")))
    total = relax.const(np.asarray(start, np.int64), "int64")
    for part in computed:
        total = call.emit(relax.op.add, part, total)
    return total


def take_flat(call: OperatorCall, x: relax.Expr, index: relax.Expr) -> relax.Expr:
    """Elements of the flattened tensor, as torch.take."""
    count = int(np.prod(shape_of(x)))
    return take(call, call.reshape(x, (count,)), index, 0)


def index(call: OperatorCall, x: relax.Expr, indices: Sequence[relax.Expr | None]) -> relax.Expr:
    """Index by tensors, with NumPy's rule.

    The axes of the indices, broadcast together, stand where the indexed axes stood if these are
    side by side, and in front otherwise.
    """
    given = {axis: at for axis, at in enumerate(indices) if at is not None}
    if not given:
        return x
    if len(given) == 1:
        ((axis, at),) = given.items()
        return take(call, x, at, axis)
    grid = _grid(call, x, given)
    return _by_places(call, x, given) if grid is None else grid


def _grid(call: OperatorCall, x: relax.Expr, given: dict[int, relax.Expr]) -> relax.Expr | None:
    """Take axis by axis where each index runs along an axis of its own, in order, side by side."""
    axes = list(given)
    rank = max(len(shape_of(at)) for at in given.values())
    if rank != len(axes) or axes[-1] - axes[0] != len(axes) - 1:
        return None
    for place, at in enumerate(given.values()):
        shape = (1,) * (rank - len(shape_of(at))) + shape_of(at)
        if any(extent != 1 for other, extent in enumerate(shape) if other != place):
            return None
    for axis, at in given.items():
        x = take(call, x, call.reshape(at, (int(np.prod(shape_of(at))),)), axis)
    return x


def _by_places(call: OperatorCall, x: relax.Expr, given: dict[int, relax.Expr]) -> relax.Expr:
    axes, shape = list(given), shape_of(x)
    rest = [axis for axis in range(len(shape)) if axis not in given]
    x = call.permute(x, [*axes, *rest])
    count = int(np.prod([shape[axis] for axis in axes]))
    x = call.reshape(x, (count, *(shape[axis] for axis in rest)))
    places = joint_places(call, shape, given)
    picked = clipped_take(call, x, places, 0)
    added = len(shape_of(places))
    if axes[-1] - axes[0] != len(axes) - 1:
        return picked
    moved = [*range(added, added + axes[0]), *range(added)]
    return call.permute(picked, [*moved, *range(added + axes[0], added + len(rest))])


def joint_places(
    call: OperatorCall, shape: Sequence[int], given: dict[int, relax.Expr]
) -> relax.Expr:
    """Where the indices point, in the flattened axes that they index, broadcast together."""
    strides = strides_of([shape[axis] for axis in given])
    terms = [
        (in_range(call, at, shape[axis], axis), stride)
        for (axis, at), stride in zip(given.items(), strides, strict=True)
    ]
    together = np.broadcast_shapes(*(shape_of(at) for at in given.values()))
    return _sum(call, terms, np.zeros(together, np.int64))


def as_strided(
    call: OperatorCall,
    x: relax.Expr,
    size: Sequence[int],
    stride: Sequence[int],
    storage_offset: int | None,
) -> relax.Expr:
    """Read the elements in memory's order, which is the tensor's own for what is contiguous."""
    places = np.full((), storage_offset or 0)
    for axis, (extent, step) in enumerate(zip(size, stride, strict=True)):
        steps = np.arange(extent) * step
        places = places + steps.reshape([-1 if a == axis else 1 for a in range(len(size))])
    return take_flat(call, x, relax.const(places.astype(np.int64), "int64"))
