"""How Relax operators carry channels from their arguments' axes to their result's axes.

`RULES` maps an operator's name to a function of (slots, call, axes of each argument) that returns
the axes of the result. An axis is an array of slot numbers, one for each index along it, or None
where nothing can be removed. An operator without a rule pins every slot that reaches it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
from tvm import relax

from .graph import shape_of
from .slots import Axes, Axis, Slots

Rule = Callable[[Slots, relax.Call, Sequence[Any]], Any]


def unknown(slots: Slots, call: relax.Call, args: Sequence[Any]) -> Any:
    """Pin all that an operator without a rule reads."""
    slots.pin([axis for axes in args for axis in _flat(axes)], f"{_name(call)} mixes channels")
    return nothing(call)


def nothing(value: relax.Expr) -> Any:
    """Return the axes of a value that carries no channels."""
    if isinstance(value.ty, relax.TupleType):
        return tuple((None,) * len(field.shape.values) for field in value.ty.fields)
    return (None,) * len(value.ty.shape.values) if isinstance(value.ty, relax.TensorType) else ()


def _flat(axes: Any) -> list[Axis]:
    if isinstance(axes, tuple):
        return [axis for item in axes for axis in _flat(item)]
    return [axes]


def _name(call: relax.Call) -> str:
    return str(call.op.name).removeprefix("relax.").removeprefix("nn.")


def _elementwise(slots: Slots, call: relax.Call, args: Sequence[Any]) -> Axes:
    """Tie axes that meet after broadcasting; a tensor broadcast along an axis takes no part."""
    shape = shape_of(call)
    result: list[Axis] = [None] * len(shape)
    tensors = [(a, axes) for a, axes in zip(call.args, args, strict=True) if _is_tensor(a)]
    for i, size in enumerate(shape):
        meeting = []
        for arg, axes in tensors:
            at = i - len(shape) + len(axes)
            if at >= 0 and size > 1 and shape_of(arg)[at] == size:
                meeting.append(axes[at])
        for j, axis in enumerate(meeting):
            why = f"{_name(call)} with a tensor whose channels are not followed"
            known = result[i] is not None or axis is not None
            result[i] = slots.tie(result[i], axis, why) if j and known else axis
    return tuple(result)


def _is_tensor(value: relax.Expr) -> bool:
    return isinstance(value.ty, relax.TensorType)


def _same(slots: Slots, call: relax.Call, args: Sequence[Any]) -> Axes:
    return tuple(args[0])


def _conv2d(slots: Slots, call: relax.Call, args: Sequence[Any]) -> Any:
    (_, channels, _, _), (out, per_group, _, _) = args[0], args[1]
    groups, c_out = int(call.attrs.groups), shape_of(call)[1]
    if call.attrs.data_layout != "NCHW" or call.attrs.kernel_layout != "OIHW":
        return unknown(slots, call, args)
    if groups == 1:
        slots.tie(channels, per_group, "reads a tensor whose channels are not followed")
    elif shape_of(call.args[1])[1] == 1:
        repeated = None if channels is None else np.repeat(channels, c_out // groups)
        slots.tie(repeated, out, "reads a tensor whose channels are not followed")
    else:
        slots.pin((channels, out), f"convolution in {groups} groups")
    return (None, out, None, None)


def _matmul(slots: Slots, call: relax.Call, args: Sequence[Any]) -> Any:
    x, weight = args
    if len(weight) != 2 or len(x) < 2:
        return unknown(slots, call, args)
    slots.tie(x[-1], weight[0], "reads a tensor whose channels are not followed")
    return (*x[:-1], weight[1])


def _permute(slots: Slots, call: relax.Call, args: Sequence[Any]) -> Axes:
    order = call.attrs.axes
    count = len(args[0])
    order = range(count)[::-1] if order is None else [int(axis) % count for axis in order]
    return tuple(args[0][axis] for axis in order)


def _reshape(slots: Slots, call: relax.Call, args: Sequence[Any]) -> Axes:
    """Match blocks of axes of equal size; merge channels into one axis, or part them again."""
    before, after = shape_of(call.args[0]), shape_of(call)
    result: list[Axis] = [None] * len(after)
    for old, new in _blocks(before, after):
        known = [i for i in old if args[0][i] is not None]
        if not known:
            continue
        ids = _merged([args[0][i] for i in old], [before[i] for i in old])
        placed = _placed(slots, ids, [after[i] for i in new]) if len(known) == 1 else None
        if placed is None:
            slots.pin([args[0][i] for i in known], f"reshape to {after} mixes channels")
            continue
        for i, axis in zip(new, placed, strict=True):
            result[i] = axis
    return tuple(result)


def _blocks(
    before: Sequence[int], after: Sequence[int]
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Pair the smallest runs of old and new axes (those of size 1 aside) of equal element count."""
    old = [i for i, size in enumerate(before) if size > 1]
    new = [i for i, size in enumerate(after) if size > 1]
    blocks, i, j = [], 0, 0
    while i < len(old) and j < len(new):
        a, b = i + 1, j + 1
        while (left := prod(before[k] for k in old[i:a])) != (
            right := prod(after[k] for k in new[j:b])
        ):
            a, b = (a + 1, b) if left < right else (a, b + 1)
        blocks.append((tuple(old[i:a]), tuple(new[j:b])))
        i, j = a, b
    return blocks


def _merged(axes: Sequence[Axis], sizes: Sequence[int]) -> np.ndarray:
    """Give every element of a block the slot of its one known axis."""
    grid: Any = 0
    for i, axis in enumerate(axes):
        if axis is not None:
            grid = axis.reshape([-1 if k == i else 1 for k in range(len(axes))])
    return np.broadcast_to(grid, sizes).reshape(-1)


def _placed(slots: Slots, ids: np.ndarray, sizes: Sequence[int]) -> list[Axis] | None:
    """Find the one axis of `sizes` along which the slots vary; None if there is no such axis."""
    if len(sizes) == 1:
        return [ids]
    grid = slots.roots(ids).reshape(sizes)
    for i in range(len(sizes)):
        along = np.moveaxis(grid, i, 0).reshape(sizes[i], -1)
        if (along == along[:, :1]).all():
            return [along[:, 0] if k == i else None for k in range(len(sizes))]
    return None


def _expand_dims(slots: Slots, call: relax.Call, args: Sequence[Any]) -> Axes:
    added = {int(axis) % len(shape_of(call)) for axis in call.attrs.axis}
    rest = iter(args[0])
    return tuple(None if i in added else next(rest) for i in range(len(shape_of(call))))


def _squeeze(slots: Slots, call: relax.Call, args: Sequence[Any]) -> Axes:
    shape = shape_of(call.args[0])
    axes = call.attrs.axis
    gone = {int(axis) % len(shape) for axis in axes} if axes is not None else set()
    gone = gone or {i for i, size in enumerate(shape) if size == 1}
    return tuple(axis for i, axis in enumerate(args[0]) if i not in gone)


def _concat(slots: Slots, call: relax.Call, args: Sequence[Any]) -> Axes:
    parts, along = args[0], int(call.attrs.axis or 0) % len(shape_of(call))
    result: list[Axis] = list(parts[0])
    for i in range(len(result)):
        if i == along:
            result[i] = _joined(slots, call.args[0].ty.fields, [part[i] for part in parts], i)
            continue
        for part in parts[1:]:
            if result[i] is not None or part[i] is not None:
                result[i] = slots.tie(result[i], part[i], "concat with unfollowed channels")
    return tuple(result)


def _joined(slots: Slots, fields: Any, axes: Sequence[Axis], at: int) -> Axis:
    if all(axis is None for axis in axes):
        return None
    parts = []
    for field, axis in zip(fields, axes, strict=True):
        size = int(field.shape.values[at])
        if axis is None:
            axis = slots.fresh((max(size, 2),))[0][:size]  # type: ignore[index]
            slots.pin((axis,), "concat with unfollowed channels")
        parts.append(axis)
    return np.concatenate(parts)


def _split(slots: Slots, call: relax.Call, args: Sequence[Any]) -> Any:
    axes, along = args[0], int(call.attrs.axis) % len(args[0])
    results, start = [], 0
    for field in call.ty.fields:
        size = int(field.shape.values[along])
        cut = None if axes[along] is None else axes[along][start : start + size]
        results.append(tuple(cut if i == along else axis for i, axis in enumerate(axes)))
        start += size
    return tuple(results)


def _reduce(slots: Slots, call: relax.Call, args: Sequence[Any]) -> Axes:
    axes, count = args[0], len(args[0])
    over = call.attrs.axis
    gone = set(range(count)) if over is None else {int(axis) % count for axis in over}
    slots.pin([axes[i] for i in gone], f"{_name(call)} over channels")
    kept = [None if i in gone else axis for i, axis in enumerate(axes)]
    return tuple(kept if call.attrs.keepdims else (kept[i] for i in range(count) if i not in gone))


def _normalize(slots: Slots, call: relax.Call, args: Sequence[Any]) -> Axes:
    axes = call.attrs.axes if hasattr(call.attrs, "axes") else (call.attrs.axis,)
    over = [int(axis) % len(args[0]) for axis in axes]
    slots.pin([args[0][i] for i in over], f"{_name(call)} over channels")
    return tuple(args[0])


def _spatial(slots: Slots, call: relax.Call, args: Sequence[Any]) -> Any:
    if call.attrs.layout != "NCHW":
        return unknown(slots, call, args)
    return (*args[0][:2], None, None)


def _prelu(slots: Slots, call: relax.Call, args: Sequence[Any]) -> Axes:
    x, slope = args[0], args[1][0]
    if slope is not None:
        slots.tie(x[call.attrs.axis], slope, "prelu of unfollowed channels")
    return tuple(x)


def _pad(slots: Slots, call: relax.Call, args: Sequence[Any]) -> Axes:
    width = [int(size) for size in call.attrs.pad_width]
    padded = [i for i in range(len(args[0])) if width[2 * i] or width[2 * i + 1]]
    slots.pin([args[0][i] for i in padded], "pad adds channels")
    return tuple(None if i in padded else axis for i, axis in enumerate(args[0]))


_SAME = (
    *("abs", "ceil", "clip", "cos", "erf", "exp", "floor", "log", "negative", "round", "rsqrt"),
    *("sigmoid", "sign", "sin", "sqrt", "square", "tan", "tanh", "trunc", "astype", "full_like"),
    *("nn.relu", "nn.relu6", "nn.silu", "nn.selu", "nn.gelu", "nn.gelu_tanh", "nn.leakyrelu"),
    *("nn.softplus", "zeros_like", "ones_like"),
)
_ELEMENTWISE = (
    *("add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "where"),
    *("equal", "not_equal", "greater", "greater_equal", "less", "less_equal"),
)

RULES: dict[str, Rule] = {
    **{f"relax.{name}": _same for name in _SAME},
    **{f"relax.{name}": _elementwise for name in _ELEMENTWISE},
    **{f"relax.{name}": _reduce for name in ("mean", "sum", "max", "min", "variance", "std")},
    "relax.nn.softmax": _normalize,
    "relax.nn.log_softmax": _normalize,
    "relax.nn.layer_norm": _normalize,
    "relax.nn.rms_norm": _normalize,
    "relax.nn.conv2d": _conv2d,
    "relax.matmul": _matmul,
    "relax.permute_dims": _permute,
    "relax.reshape": _reshape,
    "relax.flatten": _reshape,
    "relax.expand_dims": _expand_dims,
    "relax.squeeze": _squeeze,
    "relax.concat": _concat,
    "relax.split": _split,
    "relax.nn.max_pool2d": _spatial,
    "relax.nn.avg_pool2d": _spatial,
    "relax.nn.adaptive_avg_pool2d": _spatial,
    "relax.image.resize2d": _spatial,
    "relax.nn.prelu": _prelu,
    "relax.nn.pad": _pad,
}
