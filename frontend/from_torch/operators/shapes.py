"""Reshapes, axes, joining and splitting."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tvm import relax

from ....ir.edit import shape_of
from ..operator_call import OperatorCall, axis_of, constants
from .indexing import clipped_take


def view(call: OperatorCall, x: relax.Expr, size: Sequence[int]) -> relax.Expr:
    """Reshape; torch says to what, a -1 resolved."""
    return call.reshape(x, call.shape)


def unsqueeze(call: OperatorCall, x: relax.Expr, dim: int) -> relax.Expr:
    """Insert an axis of one."""
    return call.emit(relax.op.expand_dims, x, axis_of(dim, len(call.shape)))


def squeeze(call: OperatorCall, x: relax.Expr, dim: Sequence[int]) -> relax.Expr:
    """Take out those of the axes that have one element."""
    shape = shape_of(x)
    axes = sorted({axis_of(d, len(shape)) for d in dim if shape and shape[d] == 1})
    return call.emit(relax.op.squeeze, x, axes) if axes else x


def expand(call: OperatorCall, x: relax.Expr, size: Sequence[int]) -> relax.Expr:
    """Broadcast; -1 keeps a length."""
    return call.broadcast(x, call.shape)


def permute(call: OperatorCall, x: relax.Expr, dims: Sequence[int]) -> relax.Expr:
    """Reorder the axes."""
    return call.permute(x, [axis_of(d, len(call.shape)) for d in dims])


def cat(call: OperatorCall, tensors: Sequence[relax.Expr], dim: int) -> relax.Expr:
    """Join along an axis, in the promoted type; torch skips an empty vector."""
    kept = [t for t in tensors if 0 not in shape_of(t)]
    axis = axis_of(dim, len(call.shape))
    parts = [call.cast(t) for t in kept]
    known = constants(parts)
    if known is not None:
        return relax.const(np.concatenate(known, axis), call.dtype)
    return parts[0] if len(parts) == 1 else call.emit(relax.op.concat, parts, axis)


def split(
    call: OperatorCall, x: relax.Expr, split_sizes: Sequence[int], dim: int
) -> list[relax.Expr]:
    """Cut an axis into parts of these lengths."""
    if len(split_sizes) == 1:
        return [x]
    if 0 in split_sizes:
        raise ValueError("it gives an empty part")
    axis = axis_of(dim, len(shape_of(x)))
    cuts = [int(at) for at in np.cumsum(split_sizes[:-1])]
    parts = call.emit(relax.op.split, x, cuts, axis)
    return [call.emit(relax.TupleGetItem, parts, i) for i in range(len(split_sizes))]


def repeat(call: OperatorCall, x: relax.Expr, repeats: Sequence[int]) -> relax.Expr:
    """Tile, as a broadcast over new axes of one in front of each axis."""
    shape = shape_of(x)
    shape = (1,) * (len(repeats) - len(shape)) + shape
    pairs = list(zip(repeats, shape, strict=True))
    x = call.reshape(x, [length for _, n in pairs for length in (1, n)])
    x = call.broadcast(x, [length for times, n in pairs for length in (times, n)])
    return call.reshape(x, call.shape)


def pad(call: OperatorCall, x: relax.Expr, pad: Sequence[int], value: float) -> relax.Expr:
    """Pad by a constant, the last axis first; what is negative is cut off."""
    rank, dtype = len(call.shape), call.dtype
    pairs = [(0, 0)] * (rank - len(pad) // 2)
    pairs += [(pad[i], pad[i + 1]) for i in range(len(pad) - 2, -1, -2)]
    if any(low < 0 or high < 0 for low, high in pairs):
        shape = shape_of(x)
        begin = [max(-low, 0) for low, _ in pairs]
        end = [n - max(-high, 0) for n, (_, high) in zip(shape, pairs, strict=True)]
        x = call.emit(relax.op.strided_slice, x, list(range(rank)), begin, end)
        pairs = [(max(low, 0), max(high, 0)) for low, high in pairs]
    if not any(low or high for low, high in pairs):
        return x
    if dtype == "float32":
        width = [extent for pair in pairs for extent in pair]
        return call.emit(relax.op.nn.pad, x, width, "constant", float(value))
    return _pad_by_joining(call, x, pairs, value)


def _pad_by_joining(
    call: OperatorCall, x: relax.Expr, pairs: Sequence[tuple[int, int]], value: float
) -> relax.Expr:
    """Pad what is not float32: Relax's pad holds its value as a float."""
    for axis, pair in enumerate(pairs):
        shape = list(shape_of(x))
        parts = []
        for length in pair:
            shape[axis] = length
            parts.append(relax.const(np.full(shape, value).astype(call.dtype), call.dtype))
        around = [part for part in (parts[0], x, parts[1]) if 0 not in shape_of(part)]
        x = call.emit(relax.op.concat, around, axis) if len(around) > 1 else x
    return x


def diagonal(call: OperatorCall, x: relax.Expr, offset: int, dim1: int, dim2: int) -> relax.Expr:
    """Take a diagonal of two axes, which becomes the last axis."""
    rank = len(shape_of(x))
    first, second = axis_of(dim1, rank), axis_of(dim2, rank)
    rest = [axis for axis in range(rank) if axis not in (first, second)]
    x = call.permute(x, [first, second, *rest])
    rows, columns = shape_of(x)[:2]
    x = call.reshape(x, (rows * columns, *shape_of(x)[2:]))
    steps = np.arange(call.shape[-1])
    at = (steps + max(-offset, 0)) * columns + steps + max(offset, 0)
    picked = clipped_take(call, x, relax.const(at, "int64"), 0)
    return call.permute(picked, [*range(1, rank - 1), 0])


def unfold(call: OperatorCall, x: relax.Expr, dimension: int, size: int, step: int) -> relax.Expr:
    """Windows along an axis, their places a new last axis."""
    rank = len(shape_of(x))
    axis = axis_of(dimension, rank)
    windows = call.shape[axis]
    at = np.arange(windows)[:, None] * step + np.arange(size)
    picked = clipped_take(call, x, relax.const(at, "int64"), axis)
    order = [*range(axis + 1), *range(axis + 2, rank + 1), axis + 1]
    return call.permute(picked, order)
