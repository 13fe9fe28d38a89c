"""Zero divisors, NaN and infinity: as IEEE has them, where TVM's folding of constants would fail.

Before  divide(x, 0), astype(inf, "int32")    folded while code is made: an error
After   divide(x, d), astype(v, "int32")      d, v arguments, computed when the network runs
Before  full((n, c), -inf)
After   broadcast_to(v, (n, c))               v an argument
Before  sign(x)                               0 where x is NaN
After   where(isnan(x), x, sign(x))
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
from tvm import relax

from .values import Dynamic, Static, Value
from .walk import Rule, Walk, shape_of

_FOLDED_AHEAD = (
    "relax.astype",
    "relax.divide",
    "relax.floor_divide",
    "relax.floor_mod",
    "relax.mod",
)


def guarded(rules: Mapping[str, Rule]) -> dict[str, Rule]:
    """The rules, and those for special values around them."""
    around: dict[str, Rule] = {
        name: partial(_with_arguments, rules.get(name)) for name in _FOLDED_AHEAD
    }
    return {
        **rules,
        **around,
        "relax.full": _full,
        "relax.full_like": _full,
        "relax.sign": _sign,
    }


def _with_arguments(rule: Rule | None, walk: Walk, call: relax.Call) -> Value | None:
    """Lower the call, with what could not be folded as arguments."""
    args = [_as_argument(walk, arg, divides=index == 1) for index, arg in enumerate(call.args)]
    if not all(new.same_as(old) for new, old in zip(args, call.args, strict=True)):
        return walk.opaque(relax.Call(call.op, args, call.attrs))
    return rule(walk, call) if rule else None


def _as_argument(walk: Walk, arg: relax.Expr, *, divides: bool) -> relax.Expr:
    value = walk.value_of(arg)
    if not isinstance(value, Static) or value.array.size != 1:
        return arg
    if np.isfinite(value.array).all() and not (divides and (value.array == 0).all()):
        return arg
    var = walk.weights.var(value.name, value.array)
    walk.values[var] = Dynamic(var)
    return var


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
