"""Operators that map values one by one."""

from __future__ import annotations

from functools import reduce

from tvm.relax import op

from .arrays import b, const, f, i, inside, positive

_IMAGE = (2, 3, 4, 5)
_ANY = (
    *("abs", "atan", "asinh", "ceil", "cos", "cosh", "erf", "exp", "floor", "isfinite", "isinf"),
    *("isnan", "negative", "round", "sigmoid", "sign", "sin", "sinh", "square", "tan", "tanh"),
    *("trunc", "zeros_like", "ones_like", "nn.relu", "nn.relu6", "nn.silu", "nn.selu", "nn.gelu"),
    *("nn.gelu_tanh", "nn.softplus", "nn.leakyrelu"),
)
_POSITIVE = ("log", "rsqrt", "sqrt")
_INSIDE = ("acos", "asin", "atanh")
_INTEGER = ("abs", "negative", "sign", "square", "nn.relu", "zeros_like", "ones_like")
_ARITHMETIC = ("add", "subtract", "multiply", "maximum", "minimum", "power")
_COMPARISONS = ("equal", "not_equal", "greater", "greater_equal", "less", "less_equal")
_DIVISIONS = ("divide", "floor_divide", "floor_mod", "mod")


def _named(name: str):
    return reduce(getattr, name.split("."), op)


def _halved(name: str):
    return lambda x: _named(name)(x, const(2, "int32"))


ELEMENTWISE = {
    **{name: (_named(name), [f(*_IMAGE)]) for name in _ANY},
    **{f"{name}_number": (_named(name), [f()]) for name in _ANY},
    **{name: (_named(name), [positive(*_IMAGE)]) for name in _POSITIVE},
    **{name: (_named(name), [inside(*_IMAGE)]) for name in _INSIDE},
    "acosh": (op.acosh, [positive(*_IMAGE) + 1]),
    **{f"{name}_int": (_named(name), [i(*_IMAGE)]) for name in _INTEGER},
    "abs_int64": (op.abs, [i(5, dtype="int64")]),
    "abs_double": (op.abs, [f(5, dtype="float64")]),
    "exp_double": (op.exp, [f(5, dtype="float64")]),
    "logical_not": (op.logical_not, [b(2, 5)]),
    "bitwise_not": (op.bitwise_not, [i(2, 5)]),
    "bitwise_not_bool": (op.bitwise_not, [b(2, 5)]),
    **{name: (_named(name), [positive(2, 3, 4), f(3, 1)]) for name in _ARITHMETIC},
    **{f"{name}_left": (_named(name), [positive(4), f(2, 3, 4)]) for name in _ARITHMETIC},
    **{f"{name}_numbers": (_named(name), [positive(), f()]) for name in _ARITHMETIC},
    **{
        f"{name}_int": (_named(name), [i(2, 4, low=1), i(4, low=0, high=4)]) for name in _ARITHMETIC
    },
    **{
        f"{name}_int64": (_named(name), [i(2, 4, dtype="int64"), i(dtype="int64")])
        for name in _ARITHMETIC[:5]
    },
    **{
        name: (_named(name), [i(3, 4).astype("float32"), i(4).astype("float32")])
        for name in _COMPARISONS
    },
    **{f"{name}_int": (_named(name), [i(3, 4), i(4)]) for name in _COMPARISONS},
    **{f"{name}_bool": (_named(name), [b(3, 4), b(4)]) for name in ("equal", "not_equal")},
    **{name: (_named(name), [f(3, 4), f(4)]) for name in _DIVISIONS},
    **{f"{name}_int": (_named(name), [i(3, 4), i(4, low=1)]) for name in _DIVISIONS},
    **{f"{name}_negative": (_named(name), [i(3, 4), i(4, low=-5, high=-1)]) for name in _DIVISIONS},
    **{f"{name}_number": (_halved(name), [i(3, 4)]) for name in _DIVISIONS},
    **{
        name: (_named(name), [b(3, 4), b(4)])
        for name in ("logical_and", "logical_or", "logical_xor")
    },
    **{
        name: (_named(name), [i(3, 4), i(4)])
        for name in ("bitwise_and", "bitwise_or", "bitwise_xor")
    },
    "bitwise_and_bool": (op.bitwise_and, [b(3, 4), b(4)]),
    "bitwise_or_bool": (op.bitwise_or, [b(3, 4), b(4)]),
    "bitwise_xor_bool": (op.bitwise_xor, [b(3, 4), b(4)]),
    "left_shift": (op.left_shift, [i(3, 4), i(4, low=0, high=5)]),
    "right_shift": (op.right_shift, [i(3, 4), i(4, low=0, high=5)]),
    "atan2": (op.atan2, [f(3, 4), f(4)]),
    "log_add_exp": (op.log_add_exp, [f(3, 4), f(4)]),
    "clip": (lambda x: op.clip(x, -0.5, 0.7), [f(3, 4)]),
    "clip_int": (lambda x: op.clip(x, -3, 4), [i(3, 4)]),
    "clip_int64": (lambda x: op.clip(x, -3, 4), [i(3, 4, dtype="int64")]),
    "clip_number": (lambda x: op.clip(x, 0, 6), [f()]),
    "leakyrelu": (lambda x: op.nn.leakyrelu(x, 0.2), [f(3, 4)]),
    "softplus_beta": (lambda x: op.nn.softplus(x, 2.0, 1.0), [f(3, 4)]),
    "where": (op.where, [b(3, 4), f(4), f(3, 1)]),
    "where_number": (lambda c, x: op.where(c, x, const(0.5)), [b(3, 4), f(3, 4)]),
    "where_int": (op.where, [b(4), i(3, 4), i(1)]),
    "where_bool": (op.where, [b(4), b(3, 4), b(1)]),
    "where_numbers": (op.where, [b(), f(), f(2)]),
    **{
        f"astype_{source}_{to}": (
            lambda x, to=to: op.astype(x, to),
            [b(3, 4) if source == "bool" else (3 * f(3, 4)).astype(source)],
        )
        for source in ("float32", "int32", "int64", "bool", "float64", "int8")
        for to in ("float32", "int32", "int64", "bool", "float16")
    },
    "dropout": (lambda x: op.nn.dropout(x, 0.5), [f(3, 4)]),
}
