"""Operators whose legalization in TVM 0.27 fails or is wrong, written with others.

Before  divide(x, 0), astype(inf, "int32")    folded while code is made: an error
After   divide(x, d), astype(v, "int32")      d, v arguments, computed when the network runs
Before  exp(astype(b, "float32")), b bool       an error
After   exp(where(b, 1, 0))
Before  full((n, c), -inf)                    an error
After   broadcast_to(v, (n, c))               v an argument
Before  sign(x)                               0 where x is NaN
After   where(isnan(x), x, sign(x))
Before  clip(x, 6, 0)                         6; ONNX and torch: the upper bound, 0
After   minimum(maximum(x, 6), 0)
Before  mean(x), x int32                      int64
After   divide(sum(x), count)                 int32
Before  equal(a, b), a and b bool             invalid code
After   equal(where(a, 1, 0), where(b, 1, 0))      int8
Before  logical_xor(a, less(c, d)), c and d constants      an error
After   not_equal(where(a, 1, 0), where(less(c, d), 1, 0))
Before  power(a, b), a and b int32            an error
After   astype(power(astype(a, "float64"), astype(b, "float64")), "int32")
Before  pixel_shuffle(x, r)                   an error
After   reshape(permute_dims(reshape(x)))
Before  sort(x), x int8                       an error when it is run
After   astype(sort(astype(x, "int32")), "int8")
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

import numpy as np
from tvm import relax

from ...errors import BuildError
from .values import Dynamic, Fields, Static, Value
from .walk import Rule, Walk, shape_of

_COMPARING = (
    *("relax.equal", "relax.not_equal", "relax.less", "relax.less_equal"),
    *("relax.greater", "relax.greater_equal"),
)
_NOT_SORTED = ("bool", "int8", "uint8", "int16")
_DIVIDING = ("relax.divide", "relax.floor_divide", "relax.floor_mod", "relax.mod")


def guarded(rules: Mapping[str, Rule]) -> dict[str, Rule]:
    """The rules, with these around them where they apply to some forms alone."""
    around = {
        **dict.fromkeys(_DIVIDING, _with_arguments),
        "relax.astype": _cast,
        **dict.fromkeys((*_COMPARING, "relax.maximum", "relax.minimum"), _of_bools),
        **dict.fromkeys(("relax.argsort", "relax.sort", "relax.topk"), _sort),
        "relax.clip": _clip,
        "relax.full": _full,
        "relax.full_like": _full,
        "relax.logical_xor": _exclusive_or,
        "relax.mean": _mean,
        "relax.nn.pixel_shuffle": _pixel_shuffle,
        "relax.power": _power,
        "relax.sign": _sign,
    }
    return {
        **rules,
        **{name: partial(_first, rule, rules.get(name)) for name, rule in around.items()},
    }


def _first(rule: Rule, other: Rule | None, walk: Walk, call: relax.Call) -> Value | None:
    lowered = rule(walk, call)
    return other(walk, call) if lowered is None and other is not None else lowered


def _with_arguments(walk: Walk, call: relax.Call) -> Value | None:
    """The call, with what could not be folded as arguments."""
    args = [_as_argument(walk, call, index) for index in range(len(call.args))]
    if all(new.same_as(old) for new, old in zip(args, call.args, strict=True)):
        return None
    return walk.opaque(relax.Call(call.op, args, call.attrs))


def _as_argument(walk: Walk, call: relax.Call, index: int) -> relax.Expr:
    arg = call.args[index]
    value = walk.value_of(arg)
    if not isinstance(value, Static) or value.array.size != 1:
        return arg
    is_zero = call.op.name in _DIVIDING and index == 1 and not value.array.any()
    if is_zero and value.array.dtype.kind in "iu":
        raise BuildError(f"{call.op.name} divides integers by 0, which no processor can")
    if np.isfinite(value.array).all() and not is_zero:
        return arg
    var = walk.weights.var(value.name, value.array)
    walk.values[var] = Dynamic(var)
    return var


def _cast(walk: Walk, call: relax.Call) -> Value | None:
    value, dtype = walk.value_of(call.args[0]), str(call.ty.dtype)
    if str(call.args[0].ty.dtype) != "bool" or not isinstance(value, Dynamic):
        return _with_arguments(walk, call)
    return Dynamic(_number(walk, value.expr, dtype), value.channels_last)


def _number(walk: Walk, boolean: relax.Expr, dtype: str) -> relax.Var:
    return walk.emit(relax.op.where(boolean, relax.const(1, dtype), relax.const(0, dtype)))


def _full(walk: Walk, call: relax.Call) -> Value | None:
    """A tensor of one value that is no ordinary number."""
    value = walk.value_of(call.args[-1])
    if not isinstance(value, Static) or np.isfinite(value.array).all():
        return None
    fill = walk.weights.var(value.name, value.array.astype(str(call.ty.dtype)))
    return Dynamic(walk.emit(relax.op.broadcast_to(fill, shape_of(call))))


def _sign(walk: Walk, call: relax.Call) -> Value | None:
    value = walk.value_of(call.args[0])
    if isinstance(value, Static) or "float" not in str(call.ty.dtype):
        return None
    x = walk.as_float(value)
    is_nan, sign = walk.emit(relax.op.isnan(x.expr)), walk.emit(relax.op.sign(x.expr))
    return Dynamic(walk.emit(relax.op.where(is_nan, x.expr, sign)), x.channels_last)


def _clip(walk: Walk, call: relax.Call) -> Value | None:
    """Bounds in the wrong order: the upper one counts."""
    low, high = (bound.value for bound in call.args[1:])
    if low <= high:
        return None
    x, dtype = walk.plain(call.args[0]), str(call.ty.dtype)
    raised = walk.emit(relax.op.maximum(x, relax.const(low, dtype)))
    return Dynamic(walk.emit(relax.op.minimum(raised, relax.const(high, dtype))))


def _mean(walk: Walk, call: relax.Call) -> Value | None:
    """Of integers: towards 0, in their own type."""
    dtype = str(call.ty.dtype)
    if "int" not in dtype:
        return None
    x, keep = walk.plain(call.args[0]), bool(call.attrs.keepdims)
    axes = None if call.attrs.axis is None else [int(axis) for axis in call.attrs.axis]
    total = walk.emit(relax.op.sum(x, axes, keep))
    count = math.prod(shape_of(x)) // math.prod(shape_of(total))
    return Dynamic(walk.emit(relax.op.divide(total, relax.const(count, dtype))))


def _of_bools(walk: Walk, call: relax.Call) -> Value | None:
    if str(call.args[0].ty.dtype) != "bool":
        return None
    made = walk.emit(relax.Call(call.op, _as_int8(walk, call), call.attrs))
    return _as_type(walk, made, "bool")


def _exclusive_or(walk: Walk, call: relax.Call) -> Value:
    return Dynamic(walk.emit(relax.op.not_equal(*_as_int8(walk, call))))


def _as_int8(walk: Walk, call: relax.Call) -> list[relax.Var]:
    return [_number(walk, walk.plain(arg), "int8") for arg in call.args]


def _sort(walk: Walk, call: relax.Call) -> Value | None:
    """Of a type that TVM sorts: sorted values are the input's own."""
    dtype = str(call.args[0].ty.dtype)
    if dtype not in _NOT_SORTED:
        return None
    wide = walk.emit(relax.op.astype(walk.plain(call.args[0]), "int32"))
    made = walk.emit(relax.Call(call.op, [wide], call.attrs))
    if isinstance(call.ty, relax.TensorType):
        return _as_type(walk, made, str(call.ty.dtype))
    fields = (walk.emit(relax.TupleGetItem(made, i)) for i in range(len(call.ty.fields)))
    dtypes = (str(ty.dtype) for ty in call.ty.fields)
    return Fields(tuple(_as_type(walk, *each) for each in zip(fields, dtypes, strict=True)))


def _as_type(walk: Walk, value: relax.Var, dtype: str) -> Dynamic:
    known = str(value.ty.dtype) == dtype
    return Dynamic(value if known else walk.emit(relax.op.astype(value, dtype)))


def _power(walk: Walk, call: relax.Call) -> Value | None:
    dtype = str(call.ty.dtype)
    if "int" not in dtype:
        return None
    operands = [walk.emit(relax.op.astype(walk.plain(arg), "float64")) for arg in call.args]
    return Dynamic(walk.emit(relax.op.astype(walk.emit(relax.op.power(*operands)), dtype)))


def _pixel_shuffle(walk: Walk, call: relax.Call) -> Value:
    """Channels (c, r, r) become r × r pixels of c channels each."""
    x, factor = walk.plain(call.args[0]), int(call.attrs.upscale_factor)
    *front, _, height, width = shape_of(x)
    channels, rank = shape_of(call)[-3], len(front)
    parted = walk.emit(relax.op.reshape(x, (*front, channels, factor, factor, height, width)))
    order = (*range(rank), *(rank + axis for axis in (0, 3, 1, 4, 2)))
    moved = walk.emit(relax.op.permute_dims(parted, order))
    return Dynamic(walk.emit(relax.op.reshape(moved, shape_of(call))))
