"""How Relax operators carry channels from their arguments' axes to their result's axes.

`RULES` maps an operator's name to a function of (slots, call, axes of each argument) that returns
the axes of the result. An axis is an array of slot numbers, one for each index along it, or None
where nothing can be removed. An operator without a rule pins every slot that reaches it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import relax

from ...ir import convolutions
from ...ir.graph import shape_of
from .concat_split import concat, split, strided_slice
from .convolutions import tie_convolution, tie_transposed
from .reshapes import reshape
from .slots import UNFOLLOWED, Axes, Axis, Slots

Rule = Callable[[Slots, relax.Call, Sequence[Any]], Any]


def pin_unknown(slots: Slots, call: relax.Call, args: Sequence[Any]) -> Any:
    """Pin all that an operator without a rule reads."""
    slots.pin([axis for axes in args for axis in _flat(axes)], f"{_name(call)} mixes channels")
    return no_axes(call)


def no_axes(value: relax.Expr) -> Any:
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
    tensors = [
        (shape_of(a), axes) for a, axes in zip(call.args, args, strict=True) if _is_tensor(a)
    ]
    return tie_broadcast(slots, call, shape_of(call), *zip(*tensors, strict=True))


def tie_broadcast(
    slots: Slots,
    call: relax.Call,
    shape: Sequence[int],
    shapes: Sequence[Sequence[int]],
    axes: Sequence[Axes],
) -> Axes:
    """Tie axes that meet after broadcasting; a tensor broadcast along an axis takes no part."""
    result: list[Axis] = [None] * len(shape)
    why = f"{_name(call)} with a tensor whose channels are not followed"
    for i, size in enumerate(shape):
        meeting = []
        for own, known in zip(shapes, axes, strict=True):
            at = i - len(shape) + len(own)
            if at >= 0 and size > 1 and own[at] == size:
                meeting.append(known[at])
        for j, axis in enumerate(meeting):
            result[i] = slots.tie(result[i], axis, why) if j else axis
    return tuple(result)


def _is_tensor(value: relax.Expr) -> bool:
    return isinstance(value.ty, relax.TensorType)


def _same(slots: Slots, call: relax.Call, args: Sequence[Any]) -> Axes:
    return tuple(args[0])


def _matmul(slots: Slots, call: relax.Call, args: Sequence[Any]) -> Any:
    """Tie what is summed over, and the leading axes (heads) of both; vectors are not followed."""
    x, y = args
    if len(x) < 2 or len(y) < 2:
        return pin_unknown(slots, call, args)
    slots.tie(x[-1], y[-2], UNFOLLOWED)
    shapes = [shape_of(arg)[:-2] for arg in call.args]
    leading = tie_broadcast(slots, call, shape_of(call)[:-2], shapes, [x[:-2], y[:-2]])
    return (*leading, x[-2], y[-1])


def _permute(slots: Slots, call: relax.Call, args: Sequence[Any]) -> Axes:
    order = call.attrs.axes
    count = len(args[0])
    order = range(count)[::-1] if order is None else [int(axis) % count for axis in order]
    return tuple(args[0][axis] for axis in order)


def _broadcast_to(slots: Slots, call: relax.Call, args: Sequence[Any]) -> Axes:
    """Carry on the axes that keep their length; along the others nothing can be removed."""
    before, after = shape_of(call.args[0]), shape_of(call)
    new = len(after) - len(before)
    kept = zip(args[0], before, after[new:], strict=True)
    return (*[None] * new, *(axis if old == size else None for axis, old, size in kept))


def _expand_dims(slots: Slots, call: relax.Call, args: Sequence[Any]) -> Axes:
    added = {int(axis) % len(shape_of(call)) for axis in call.attrs.axis}
    rest = iter(args[0])
    return tuple(None if i in added else next(rest) for i in range(len(shape_of(call))))


def _squeeze(slots: Slots, call: relax.Call, args: Sequence[Any]) -> Axes:
    shape = shape_of(call.args[0])
    axes = call.attrs.axis
    gone = {int(axis) % len(shape) for axis in axes} if axes is not None else set()
    gone = gone or {i for i, size in enumerate(shape) if size == 1}
    slots.pin([args[0][i] for i in gone], "squeeze drops it")
    return tuple(axis for i, axis in enumerate(args[0]) if i not in gone)


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
    if not str(call.attrs.layout).startswith("NC"):
        return pin_unknown(slots, call, args)
    slots.pin(args[0][2:], f"{_name(call)} moves over it")
    return (*args[0][:2], *[None] * len(args[0][2:]))


def _group_norm(slots: Slots, call: relax.Call, args: Sequence[Any]) -> Axes:
    """Tie each group that is normalized together; it goes as a whole, and there are fewer."""
    x, at = args[0], int(call.attrs.channel_axis)
    over = [int(axis) % len(x) for axis in call.attrs.axes]
    slots.pin([x[i] for i in over if i != at], "group_norm over it")
    for weight in args[1:]:
        slots.tie(x[at], weight[0], "group_norm of unfollowed channels")
    if x[at] is not None:
        slots.tie_rows(x[at], int(call.attrs.num_groups))
    return tuple(x)


def _attention(slots: Slots, call: relax.Call, args: Sequence[Any]) -> Any:
    """Tie the heads of queries, keys and values, each (batch, length, heads, width)."""
    q, k, v = args[:3]
    heads = slots.tie(slots.tie(q[2], k[2], UNFOLLOWED), v[2], UNFOLLOWED)
    kept = [axis for axes in (q, k) for axis in (axes[0], axes[1], axes[3])]
    slots.pin([*kept, *v[:2]], "attention over it")
    for bias in args[3:]:
        slots.pin(bias, "attention bias")
        slots.pin((heads,) if bias[1] is not None else (), "attention bias")
    return (None, None, heads, v[3])


def _take(slots: Slots, call: relax.Call, args: Sequence[Any]) -> Any:
    """Pick along an axis that is not followed, or pin it; the others stay what they are."""
    if call.attrs.axis is None:
        return pin_unknown(slots, call, args)
    x, picked, along = args[0], args[1], int(call.attrs.axis) % len(args[0])
    slots.pin((x[along], *picked), "take picks along it")
    return (*x[:along], *[None] * len(picked), *x[along + 1 :])


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
    *("nn.softplus", "zeros_like", "ones_like", "acos", "acosh", "asin", "asinh", "atan"),
    *("atanh", "bitwise_not", "cosh", "isfinite", "isinf", "isnan", "logical_not", "sinh"),
)
_ELEMENTWISE = (
    *("add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "where"),
    *("equal", "not_equal", "greater", "greater_equal", "less", "less_equal", "atan2"),
    *("bitwise_and", "bitwise_or", "bitwise_xor", "floor_divide", "floor_mod", "mod"),
    *("logical_and", "logical_or", "logical_xor"),
)

_POOLS = ("max", "avg", "adaptive_avg")

RULES: dict[str, Rule] = {
    **{f"relax.{name}": _same for name in _SAME},
    **{f"relax.{name}": _elementwise for name in _ELEMENTWISE},
    **{
        f"relax.{name}": _reduce
        for name in ("mean", "sum", "max", "min", "prod", "variance", "std")
    },
    "relax.nn.softmax": _normalize,
    "relax.nn.log_softmax": _normalize,
    "relax.nn.layer_norm": _normalize,
    "relax.nn.rms_norm": _normalize,
    **dict.fromkeys(convolutions.FORWARDS, tie_convolution),
    **dict.fromkeys(convolutions.TRANSPOSED, tie_transposed),
    "relax.matmul": _matmul,
    "relax.permute_dims": _permute,
    "relax.reshape": reshape,
    "relax.flatten": reshape,
    "relax.broadcast_to": _broadcast_to,
    "relax.expand_dims": _expand_dims,
    "relax.squeeze": _squeeze,
    "relax.concat": concat,
    "relax.split": split,
    **{f"relax.nn.{kind}_pool{rank}d": _spatial for kind in _POOLS for rank in (1, 2, 3)},
    "relax.image.resize2d": _spatial,
    "relax.nn.prelu": _prelu,
    "relax.nn.group_norm": _group_norm,
    "relax.nn.attention": _attention,
    "relax.nn.attention_bias": _attention,
    "relax.take": _take,
    "relax.strided_slice": strided_slice,
    "relax.nn.pad": _pad,
}
