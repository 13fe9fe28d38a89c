"""How concat, split and strided_slice carry channels: a part has the slots of its whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tvm import relax

from ...ir.graph import shape_of
from .slots import Axes, Axis, Slots


def concat(slots: Slots, call: relax.Call, args: Sequence[Any]) -> Axes:
    """Concatenate the slots as the values; along the other axes all parts are tied."""
    parts, along = args[0], int(call.attrs.axis or 0) % len(shape_of(call))
    result: list[Axis] = list(parts[0])
    for i in range(len(result)):
        if i == along:
            result[i] = _concat_axis(slots, call.args[0].ty.fields, [part[i] for part in parts], i)
            continue
        for part in parts[1:]:
            if result[i] is not None or part[i] is not None:
                result[i] = slots.tie(result[i], part[i], "concat with unfollowed channels")
    return tuple(result)


def _concat_axis(slots: Slots, fields: Any, axes: Sequence[Axis], at: int) -> Axis:
    if all(axis is None for axis in axes):
        return None
    parts = []
    for field, axis in zip(fields, axes, strict=True):
        size = int(field.shape.values[at])
        if axis is None:
            axis = slots.new_slots((max(size, 2),))[0][:size]  # type: ignore[index]
            slots.pin((axis,), "concat with unfollowed channels")
        parts.append(axis)
    return np.concatenate(parts)


def split(slots: Slots, call: relax.Call, args: Sequence[Any]) -> Any:
    """Split the slots as the values."""
    axes, along = args[0], int(call.attrs.axis) % len(args[0])
    results, start = [], 0
    for field in call.ty.fields:
        size = int(field.shape.values[along])
        cut = None if axes[along] is None else axes[along][start : start + size]
        results.append(tuple(cut if i == along else axis for i, axis in enumerate(axes)))
        start += size
    return tuple(results)


def strided_slice(slots: Slots, call: relax.Call, args: Sequence[Any]) -> Axes:
    """Cut the slots as the values; only runs (stride 1) can be cut again after pruning."""
    result = list(args[0])
    for along, part in slices_of(call).items():
        if part.step != 1:
            slots.pin((result[along],), "strided_slice leaves channels out")
        cut = result[along]
        result[along] = None if cut is None else cut[part]
    return tuple(result)


def slices_of(call: relax.Call) -> dict[int, slice]:
    """Return the slice that a strided_slice takes along each axis that it names, in bounds."""
    shape = shape_of(call.args[0])
    axes, starts, ends, *rest = ([int(v.value) for v in arg.fields] for arg in call.args[1:])
    steps = rest[0] if rest else [1] * len(axes)
    named = zip([axis % len(shape) for axis in axes], starts, ends, steps, strict=True)
    return {axis: slice(*slice(a, b, c).indices(shape[axis])) for axis, a, b, c in named}
