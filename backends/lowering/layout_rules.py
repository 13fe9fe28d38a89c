"""Operators between layers: how each keeps a channels-last layout, or evaluates ahead."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from tvm import relax

from . import layout, layout_operators
from .values import Dequantized, Dynamic, Fields, Quantized, Static, Value
from .walk import Rule, Walk, shape_of, shape_of_type


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
    whole = shape_of(call)
    shapes = [shape_of(arg) for arg in call.args]
    if not all(_can_follow(*each, whole) for each in zip(values, shapes, strict=True)):
        return None
    operands = [_follow(walk, arg, v, whole) for arg, v in zip(call.args, values, strict=True)]
    return Dynamic(walk.emit(relax.Call(call.op, operands, call.attrs)), True)


def _can_follow(value: Value, shape: Sequence[int], whole: Sequence[int]) -> bool:
    static = isinstance(value, Static)
    ranks = len(shape) <= len(whole) if static else len(shape) == len(whole)
    return ranks and layout.fits_image(shape, whole)


def _follow(walk: Walk, expr: relax.Expr, value: Value, whole: Sequence[int]) -> relax.Expr:
    """An operand of a channels-last operator whose result has the shape `whole`.

    A weight is transposed ahead. What is smaller than the result is not fused: what computes a gate
    for each channel would be done again for each pixel.
    """
    if not isinstance(value, Static):
        operand = walk.channels_last(expr)
        smaller = isinstance(value, Dynamic) and math.prod(shape_of(operand)) < math.prod(whole)
        return walk.apart(operand) if smaller else operand
    array = value.as_float().array
    if array.size == 1:
        return relax.const(array.reshape(()), str(array.dtype))
    array = array.reshape((1,) * (len(whole) - array.ndim) + array.shape)
    image = layout.image_shape(array.shape)
    array = array.transpose(layout.channels_last(array.ndim)).reshape(image)
    if array.shape[:3] == (1, 1, 1):
        array = array.reshape(-1)
    return walk.weights.var(value.name, array)


def permute(walk: Walk, call: relax.Call) -> Value | None:
    """Of a weight, evaluated ahead; to channels last, of what is kept so, nothing is moved."""
    value, axes = walk.value_of(call.args[0]), call.attrs.axes
    order = None if axes is None else [int(axis) for axis in axes]
    if isinstance(value, Static):
        return value.transposed(order)
    shape = shape_of(call.args[0])
    moved = None if order is None else tuple(axis % len(shape) for axis in order)
    if not isinstance(value, Dynamic) or not value.channels_last:
        return None
    if moved != layout.channels_last(len(shape)):
        return None
    return Dynamic(walk.reshaped(value.expr, layout.whole_shape(shape)))


def reshape(walk: Walk, call: relax.Call) -> Value | None:
    """Of a weight, evaluated ahead; an image stays one where only its places are arranged anew.

    (n, c, 1, 1) → (n, c) is the same memory in both layouts.
    """
    value, before, after = walk.value_of(call.args[0]), shape_of(call.args[0]), shape_of(call)
    if isinstance(value, Static):
        return Static(value.as_float().array.reshape(after), value.name)
    if not getattr(value, "channels_last", False):
        return None
    if len(after) in layout.RANKS and after[:2] == before[:2]:
        return _rearranged(walk, value, after)
    if math.prod(before[2:]) == 1 and isinstance(value, Dynamic):
        return Dynamic(walk.reshaped(value.expr, after))
    return None


def _rearranged(walk: Walk, value: Value, shape: Sequence[int]) -> Value | None:
    """The image of another (n, c, *places)."""
    if isinstance(value, Dequantized):
        expr = walk.reshaped(value.source.expr, layout.image_shape(shape))
        return Dequantized(replace(value.source, expr=expr))
    if not isinstance(value, Dynamic):
        return None
    return Dynamic(walk.reshaped(value.expr, layout.image_shape(shape)), True)


def pool(walk: Walk, call: relax.Call) -> Value:
    """Pooling, channels last; the largest of some quantized values is one of them."""
    pooled = layout_operators.channels_last_pool(call)
    value, shape, after = walk.value_of(call.args[0]), shape_of(call.args[0]), shape_of(call)
    source = value.source if isinstance(value, Dequantized) else None

    def of(image: relax.Expr) -> relax.Expr:
        given = layout.whole_shape(shape) if len(shape) == 5 else shape_of(image)
        made = walk.emit(pooled(walk.reshaped(image, given)))
        return walk.reshaped(made, layout.image_shape(after))

    if isinstance(source, Quantized) and "max_pool" in call.op.name:
        expr = of(walk.stored(source, shape, True))
        return Dequantized(replace(source, expr=expr, channels_last=True))
    return Dynamic(of(walk.channels_last(call.args[0])), True)


def _axes_of(walk: Walk, expr: relax.Expr) -> tuple[relax.Expr, tuple[int, ...]]:
    """What is kept of an image, in a shape that has each axis of the source, and where each is."""
    shape, axes = layout.shape_with_axes(shape_of(expr))
    return walk.reshaped(walk.channels_last(expr), shape), axes


def _image(walk: Walk, made: relax.Expr, shape: Sequence[int]) -> Dynamic:
    """What was made along axes as `_axes_of` gives them, of the shape that the source says."""
    return Dynamic(walk.reshaped(walk.emit(made), layout.image_shape(shape)), True)


def reduction(walk: Walk, call: relax.Call) -> Value | None:
    """mean, sum, max, min over axes, kept channels last."""
    if not getattr(walk.value_of(call.args[0]), "channels_last", False):
        return None
    keep, make = bool(call.attrs.keepdims), layout_operators.REDUCTIONS[call.op.name]
    rank, whole = len(shape_of(call.args[0])), call.attrs.axis is None
    over = range(rank) if whole else sorted({int(axis) % rank for axis in call.attrs.axis})
    if not keep and not whole and list(over) != list(range(2, rank)):
        return None
    if list(over) == list(range(2, rank)):
        x, places = walk.channels_last(call.args[0]), [1, 2]
    else:
        x, axes = _axes_of(walk, call.args[0])
        places = [axes[axis] for axis in over]
    if not keep:
        return Dynamic(walk.emit(make(x, None if whole else places, False)))
    return _image(walk, make(x, places, True), shape_of(call))


def concat(walk: Walk, call: relax.Call) -> Value | None:
    """Concatenation of channels-last values."""
    fields = layout_operators.tuple_fields(call.args[0], walk.model.function)
    if fields is None or call.attrs.axis is None:
        return None
    values = [walk.value_of(field) for field in fields]
    if not all(getattr(value, "channels_last", False) for value in values):
        return None
    parts, axes = zip(*(_axes_of(walk, field) for field in fields), strict=True)
    made = relax.op.concat(list(parts), axes[0][int(call.attrs.axis)])
    return _image(walk, made, shape_of(call))


def strided_slice(walk: Walk, call: relax.Call) -> Value | None:
    """A part of an image."""
    if not getattr(walk.value_of(call.args[0]), "channels_last", False):
        return None
    x, at = _axes_of(walk, call.args[0])
    axes, *cuts = ([int(v.value) for v in arg.fields] for arg in call.args[1:])
    made = relax.op.strided_slice(x, [at[axis] for axis in axes], *cuts)
    return _image(walk, made, shape_of(call))


def split(walk: Walk, call: relax.Call) -> Value | None:
    """An image in parts, each of which whoever reads it may cut for itself."""
    if not getattr(walk.value_of(call.args[0]), "channels_last", False):
        return None
    x, at = _axes_of(walk, call.args[0])
    along, start, parts = int(call.attrs.axis), 0, []
    for field in call.ty.fields:
        shape = shape_of_type(field)
        cut = relax.op.strided_slice(x, [at[along]], [start], [start + shape[along]])
        parts.append(_image(walk, cut, shape))
        start += shape[along]
    return Fields(tuple(parts))


def pad(walk: Walk, call: relax.Call) -> Value | None:
    """A constant around values, which of an image stays channels last."""
    value = walk.value_of(call.args[0])
    if call.attrs.pad_mode != "constant" or isinstance(value, Static):
        return None
    image = getattr(value, "channels_last", False)
    x = walk.as_float(value).expr
    at: Sequence[int] = range(len(shape_of(x)))
    if image:
        x, at = _axes_of(walk, call.args[0])
    before, after = [0] * len(shape_of(x)), [0] * len(shape_of(x))
    for axis, place in enumerate(at):
        before[place], after[place] = map(int, call.attrs.pad_width[2 * axis : 2 * axis + 2])
    made = walk.around(x, before, after, float(call.attrs.pad_value))
    return Dynamic(
        walk.reshaped(made, layout.image_shape(shape_of(call))) if image else made, image
    )


def prelu(walk: Walk, call: relax.Call) -> Value | None:
    """Slopes by channel."""
    value, slope = walk.value_of(call.args[0]), walk.plain(call.args[1])
    if not getattr(value, "channels_last", False) or int(call.attrs.axis) != 1:
        return None
    made = relax.op.nn.prelu(walk.channels_last(call.args[0]), slope, 3)
    return Dynamic(walk.emit(made), True)


def group_norm(walk: Walk, call: relax.Call) -> Value | None:
    """Groups of channels normalized with all places."""
    attrs, rank = call.attrs, len(shape_of(call.args[0]))
    over = sorted(int(axis) % rank for axis in attrs.axes)
    known = getattr(walk.value_of(call.args[0]), "channels_last", False)
    if not known or int(attrs.channel_axis) % rank != 1 or over != list(range(2, rank)):
        return None
    weights = [walk.plain(arg) for arg in call.args[1:]]
    settings = {name: getattr(attrs, name) for name in ("epsilon", "center", "scale")}
    made = relax.op.nn.group_norm(
        walk.channels_last(call.args[0]), *weights, int(attrs.num_groups), 3, [1, 2], **settings
    )
    return Dynamic(walk.emit(made), True)


RULES: dict[str, Rule] = {
    **dict.fromkeys(layout_operators.ELEMENTWISE, elementwise),
    **dict.fromkeys(layout_operators.BROADCASTING, broadcasting),
    **dict.fromkeys(layout_operators.POOLS, pool),
    **dict.fromkeys(layout_operators.REDUCTIONS, reduction),
    **dict.fromkeys(("relax.reshape", "relax.expand_dims", "relax.squeeze"), reshape),
    "relax.concat": concat,
    "relax.nn.group_norm": group_norm,
    "relax.nn.pad": pad,
    "relax.nn.prelu": prelu,
    "relax.permute_dims": permute,
    "relax.split": split,
    "relax.strided_slice": strided_slice,
}
