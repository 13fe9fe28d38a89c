"""Operators that choose among elements by constants, lengths or rank."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax

from ....ir.edit import shape_of
from ..arguments import Inputs, array, emit, given, like, scalar
from .indices import take, within

_op = relax.op


def compress(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """Compress by a constant condition; where it is computed, so is the output's shape."""
    x, axis = inputs[0], attrs.get("axis")
    condition = np.asarray(array(inputs, 1, held))
    if axis is None:
        x, axis = emit(_op.reshape(x, (-1,))), 0
    places = np.flatnonzero(condition[: shape_of(x)[axis]])
    if not places.size:
        raise ValueError("it keeps nothing")
    return take(x, relax.const(places, "int64"), axis)


def top_k(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """TopK, in order: what is not asked to be sorted may be."""
    x, dtype = inputs[0], str(inputs[0].ty.dtype)
    k = scalar(inputs, 1, held) if "k" not in attrs else attrs["k"]
    axis = attrs.get("axis", -1) % x.ty.ndim
    if not 0 < k <= shape_of(x)[axis]:
        raise ValueError(f"its k is {k}, of {shape_of(x)[axis]} elements")
    if dtype == "uint64":
        raise ValueError("of uint64 it cannot be imported; cast to int64 first")
    x = emit(_op.astype(x, "int64")) if dtype in ("uint16", "uint32") else x
    largest = bool(attrs.get("largest", 1))
    both = emit(_op.topk(x, int(k), axis, "both", largest, "int64"))
    values, places = (emit(relax.TupleGetItem(both, i)) for i in range(2))
    if str(values.ty.dtype) != dtype:
        values = emit(_op.astype(values, dtype))
    return relax.Tuple([values, places])


def reverse_sequence(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """ReverseSequence: the first elements of each sample in reverse, as many as it is long."""
    x, lengths = inputs[0], inputs[1]
    batch, time = attrs.get("batch_axis", 1), attrs.get("time_axis", 0)
    shape = shape_of(x)
    along = [1] * len(shape)
    along[batch] = shape[batch]
    count = emit(_op.reshape(emit(_op.astype(lengths, "int64")), along))
    along = [1] * len(shape)
    along[time] = shape[time]
    step = relax.const(np.arange(shape[time]).reshape(along), "int64")
    mirrored = emit(_op.subtract(_op.subtract(count, relax.const(1, "int64")), step))
    place = emit(_op.where(_op.less(step, count), mirrored, step))
    place = emit(_op.broadcast_to(emit(within(place, shape[time])), shape))
    return _op.gather_elements(x, place, time)


def tensor_scatter(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """TensorScatter: new keys or values put into a cache, from each sample's place on."""
    cache, update, start = inputs[0], inputs[1], given(inputs, 2)
    shape, axis = shape_of(cache), attrs.get("axis", -2) % cache.ty.ndim
    length, added = shape[axis], shape_of(update)[axis]
    along = [1] * len(shape)
    along[axis] = length
    place = relax.const(np.arange(length).reshape(along), "int64")
    if start is None:
        source = place
    else:
        first = emit(_op.astype(start, "int64"))
        first = emit(_op.reshape(first, (shape[0], *[1] * (len(shape) - 1))))
        source = emit(_op.subtract(place, first))
    if attrs.get("mode", b"linear") == b"circular":
        source = emit(_op.floor_mod(source, like(source, length)))
    new = emit(
        _op.logical_and(
            _op.greater_equal(source, like(source, 0)), _op.less(source, like(source, added))
        )
    )
    at = emit(_op.maximum(_op.minimum(source, like(source, added - 1)), like(source, 0)))
    picked = _op.gather_elements(update, emit(_op.broadcast_to(at, shape)), axis)
    return _op.where(emit(_op.broadcast_to(new, shape)), emit(picked), cache)


def eye_like(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """EyeLike: ones on a diagonal, of the input's shape."""
    x, dtype = inputs[0], attrs.get("dtype")
    name = str(x.ty.dtype) if dtype is None else _name_of(dtype)
    rows, columns = shape_of(x)
    return relax.const(np.eye(rows, columns, attrs.get("k", 0)).astype(name), name)


def _name_of(kind: int) -> str:
    from onnx import helper

    return np.dtype(helper.tensor_dtype_to_np_dtype(kind)).name


OWN = {
    "Compress": compress,
    "EyeLike": eye_like,
    "ReverseSequence": reverse_sequence,
    "TensorScatter": tensor_scatter,
    "TopK": top_k,
}
