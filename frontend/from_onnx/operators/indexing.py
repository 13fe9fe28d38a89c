"""Operators that pick or place elements: no place may lie outside what it points into."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax
from tvm.ir import GenericConst
from tvm.relax.frontend.onnx import onnx_frontend

from ....ir.edit import shape_of
from ..arguments import Inputs, array, emit, integers, like, scalar
from .indices import checked, take, within


def _axis(attrs: dict[str, Any], x: relax.Expr, default: int = 0) -> int:
    return attrs.get("axis", default) % x.ty.ndim


def gather(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr | None:
    """Gather. None leaves shapes to TVM's importer."""
    x, places = inputs[0], onnx_frontend.get_constant(inputs[1], held)
    if not isinstance(x.ty, relax.TensorType):
        return None
    axis = _axis(attrs, x)
    return take(x, within(places, shape_of(x)[axis]), axis)


def gather_elements(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """GatherElements."""
    x, places = inputs[0], onnx_frontend.get_constant(inputs[1], held)
    axis = _axis(attrs, x)
    return relax.op.gather_elements(x, within(places, shape_of(x)[axis]), axis)


def scatter_elements(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """ScatterElements, and Scatter, its older name."""
    x, places = inputs[0], onnx_frontend.get_constant(inputs[1], held)
    axis = _axis(attrs, x)
    found = within(places, shape_of(x)[axis])
    return relax.op.scatter_elements(x, found, inputs[2], axis, _reduction(attrs))


def gather_nd(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """GatherND."""
    x, batch = inputs[0], attrs.get("batch_dims", 0)
    return relax.op.gather_nd(x, _coordinates(inputs[1], shape_of(x)[batch:], held), batch)


def scatter_nd(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """ScatterND."""
    x = inputs[0]
    found = _coordinates(inputs[1], shape_of(x), held)
    return relax.op.scatter_nd(x, found, inputs[2], _reduction(attrs))


def _reduction(attrs: dict[str, Any]) -> str:
    return {"none": "update"}.get(name := attrs.get("reduction", b"none").decode(), name)


def _coordinates(places: relax.Expr, lengths: tuple[int, ...], held: Any) -> relax.Expr:
    """Bring rows of coordinates, (…, k), into the first k of `lengths`."""
    places = onnx_frontend.get_constant(places, held)
    lengths = lengths[: shape_of(places)[-1]]
    if isinstance(places, GenericConst):
        columns = np.moveaxis(places.value.numpy(), -1, 0)
        found = [checked(column, length) for column, length in zip(columns, lengths, strict=True)]
        return relax.const(np.stack(found, axis=-1), "int64")
    columns = [emit(take(places, relax.const(i, "int64"), -1)) for i in range(len(lengths))]
    guarded = [within(column, length) for column, length in zip(columns, lengths, strict=True)]
    return relax.op.stack(guarded, axis=-1)


def slice_(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr | None:
    """Slice: bounds are attributes up to opset 9, constant inputs after, and may lie outside."""
    x = inputs[0]
    if not isinstance(x.ty, relax.TensorType):
        return None
    starts = integers(inputs, 1, attrs.get("starts"), held)
    ends = integers(inputs, 2, attrs.get("ends"), held)
    if starts is None or ends is None:
        raise ValueError("it has no bounds")
    axes = integers(inputs, 3, attrs.get("axes"), held) or list(range(len(starts)))
    steps = integers(inputs, 4, None, held) or [1] * len(starts)
    kept: list[tuple[int, int, int, int]] = []
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        axis %= x.ty.ndim
        span = range(*slice(start, end, step).indices(shape_of(x)[axis]))
        if not span:
            raise ValueError(f"it leaves nothing of axis {axis}")
        if step < 0:
            x = emit(take(x, relax.const(np.array(span), "int64"), axis))
        elif len(span) < shape_of(x)[axis]:
            kept.append((axis, span[0], span[-1] + 1, step))
    if not kept:
        return x
    axes, starts, ends, steps = (list(column) for column in zip(*kept, strict=True))
    return relax.op.strided_slice(x, axes, starts, ends, steps)


def one_hot(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """OneHot: `on` where the class along the new axis is the index, `off` elsewhere."""
    places, count = inputs[0], int(scalar(inputs, 1, held))
    dtype, rank = str(places.ty.dtype), inputs[0].ty.ndim + 1
    axis = attrs.get("axis", -1) % rank
    if not isinstance(places, GenericConst):
        negative = relax.op.less(places, like(places, 0))
        places = relax.op.where(negative, relax.op.add(places, like(places, count)), places)
    else:
        held_places = places.value.numpy()
        places = relax.const(np.where(held_places < 0, held_places + count, held_places), dtype)
    classes = (
        np.arange(count).astype(dtype).reshape([count if i == axis else 1 for i in range(rank)])
    )
    hit = relax.op.equal(relax.op.expand_dims(places, axis), relax.const(classes, dtype))
    values = np.asarray(array(inputs, 2, held))
    kind = values.dtype.name
    return relax.op.where(hit, relax.const(values[1], kind), relax.const(values[0], kind))


OWN = {
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "OneHot": one_hot,
    "Scatter": scatter_elements,
    "ScatterElements": scatter_elements,
    "ScatterND": scatter_nd,
    "Slice": slice_,
}
