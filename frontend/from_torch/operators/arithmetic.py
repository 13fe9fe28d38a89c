"""Arithmetic, comparisons and casts. Operands are brought to the type in which torch computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax

from ....ir.edit import shape_of
from ..operator_call import Converter, OperatorCall, constant, constants, dtype_name
from ..operator_call import promoted as promoted_type

_LOGICAL = {
    relax.op.bitwise_and: relax.op.logical_and,
    relax.op.bitwise_or: relax.op.logical_or,
    relax.op.bitwise_xor: relax.op.logical_xor,
}


def binary(operator: Callable[..., relax.Expr]) -> Converter:
    """In the result's type."""

    def convert(call: OperatorCall, x: Any, other: Any) -> relax.Expr:
        return call.emit(operator, call.cast(x), call.cast(other))

    return convert


def extreme(
    operator: Callable[..., relax.Expr], of_booleans: Callable[..., relax.Expr]
) -> Converter:
    """The larger or the smaller one."""

    def convert(call: OperatorCall, x: Any, other: Any) -> relax.Expr:
        chosen = of_booleans if call.dtype == "bool" else operator
        return call.emit(chosen, call.cast(x), call.cast(other))

    return convert


def extreme_number(operator: Callable[..., relax.Expr]) -> Converter:
    """The larger or the smaller one; of a number and NaN, the number."""

    def convert(call: OperatorCall, x: Any, other: Any) -> relax.Expr:
        a, b = call.cast(x), call.cast(other)
        chosen = call.emit(operator, a, b)
        if call.dtype != "float32":
            return chosen
        for value, instead in ((a, b), (b, a)):
            chosen = call.emit(relax.op.where, call.emit(relax.op.isnan, value), instead, chosen)
        return chosen

    return convert


def hypotenuse(call: OperatorCall, x: relax.Expr, other: relax.Expr) -> relax.Expr:
    """The root of the sum of both squares, from the larger one down, so that nothing overflows."""
    a, b = (call.emit(relax.op.abs, call.cast(value)) for value in (x, other))
    large, small = call.emit(relax.op.maximum, a, b), call.emit(relax.op.minimum, a, b)
    zero = call.emit(relax.op.equal, large, call.cast(0.0))
    divisor = call.emit(relax.op.where, zero, call.cast(1.0), large)
    ratio = call.emit(relax.op.square, call.emit(relax.op.divide, small, divisor))
    root = call.emit(relax.op.sqrt, call.emit(relax.op.add, call.cast(1.0), ratio))
    return call.emit(relax.op.multiply, large, root)


def copy_sign(call: OperatorCall, x: Any, other: Any) -> relax.Expr:
    """``|x|`` with the sign of other, of zeros too."""
    size, other = call.emit(relax.op.abs, call.cast(x)), call.cast(other)
    zero = call.cast(0.0)
    upside_down = call.emit(relax.op.less, call.emit(relax.op.divide, call.cast(1.0), other), zero)
    below = call.emit(relax.op.logical_or, call.emit(relax.op.less, other, zero), upside_down)
    return call.emit(relax.op.where, below, call.emit(relax.op.negative, size), size)


def times_power_of_two(call: OperatorCall, x: relax.Expr, other: relax.Expr) -> relax.Expr:
    """``x * 2 ** other``."""
    power = call.emit(relax.op.power, call.cast(2.0), call.cast(other))
    return call.emit(relax.op.multiply, call.cast(x), power)


def _scaled(call: OperatorCall, x: Any, alpha: float) -> relax.Expr:
    value = call.cast(x)
    if alpha == 1:
        return value
    known = constant(value)
    if known is not None:
        return relax.const(known * np.asarray(alpha).astype(call.dtype), call.dtype)
    return call.emit(relax.op.multiply, value, call.cast(alpha))


def add(call: OperatorCall, x: Any, other: Any, alpha: float = 1) -> relax.Expr:
    """``x + alpha * other``; of booleans, or."""
    if call.dtype == "bool":
        return call.emit(relax.op.logical_or, call.cast(x), _scaled(call, other, 1))
    return call.emit(relax.op.add, call.cast(x), _scaled(call, other, alpha))


def subtract(call: OperatorCall, x: Any, other: Any, alpha: float = 1) -> relax.Expr:
    """``x - alpha * other``."""
    return call.emit(relax.op.subtract, call.cast(x), _scaled(call, other, alpha))


def multiply(call: OperatorCall, x: Any, other: Any) -> relax.Expr:
    """A product; of booleans, and."""
    operator = relax.op.logical_and if call.dtype == "bool" else relax.op.multiply
    return call.emit(operator, call.cast(x), call.cast(other))


def divide(call: OperatorCall, x: Any, other: Any, rounding_mode: str | None) -> relax.Expr:
    """Divide: true, rounded towards zero ("trunc") or down ("floor"), as torch rounds each."""
    a, b = call.cast(x), call.cast(other)
    if call.dtype != "float32":
        b = _nonzero(call, b)
        if rounding_mode == "floor":
            return call.emit(relax.op.floor_divide, a, b)
        return _integer_quotient(call, a, b)
    if rounding_mode == "floor":
        return _floor_divide(call, a, b)
    quotient = call.emit(relax.op.divide, a, b)
    return quotient if rounding_mode is None else call.emit(relax.op.trunc, quotient)


def true_divide(call: OperatorCall, x: Any, other: Any) -> relax.Expr:
    """Divide; integers give float32."""
    return divide(call, x, other, None)


def _integer_quotient(call: OperatorCall, a: relax.Expr, b: relax.Expr) -> relax.Expr:
    """Of the magnitudes, with the sign put back: floor division is the one that TVM states."""
    magnitude = call.emit(
        relax.op.floor_divide, call.emit(relax.op.abs, a), call.emit(relax.op.abs, b)
    )
    zero = relax.const(0, call.dtype)
    apart = call.emit(
        relax.op.logical_xor,
        call.emit(relax.op.less, a, zero),
        call.emit(relax.op.less, b, zero),
    )
    return call.emit(relax.op.where, apart, call.emit(relax.op.negative, magnitude), magnitude)


def _nonzero(call: OperatorCall, divisor: relax.Expr) -> relax.Expr:
    """Keep the built code from dividing integers by zero, where torch raises an error."""
    known = constant(divisor)
    if known is None:
        zero, one = relax.const(0, call.dtype), relax.const(1, call.dtype)
        return call.emit(relax.op.where, call.emit(relax.op.equal, divisor, zero), one, divisor)
    if not known.all():
        raise ValueError("it divides integers by zero")
    return divisor


def _floor_divide(call: OperatorCall, a: relax.Expr, b: relax.Expr) -> relax.Expr:
    """(a - remainder) / b, rounded, as c10's div_floor_floating; a / b where b is zero."""
    rest = _remainder_of_floats(call, a, b)
    exact = call.emit(relax.op.divide, call.emit(relax.op.subtract, a, rest), b)
    quotient = call.emit(relax.op.round, exact)
    by_zero = call.emit(relax.op.equal, b, relax.const(0.0, "float32"))
    return call.emit(relax.op.where, by_zero, call.emit(relax.op.divide, a, b), quotient)


def _remainder_of_floats(call: OperatorCall, a: relax.Expr, b: relax.Expr) -> relax.Expr:
    """C's fmod, moved to the divisor's sign."""
    zero = relax.const(0.0, "float32")
    rest = call.emit(relax.op.mod, a, b)
    apart = call.emit(
        relax.op.logical_xor,
        call.emit(relax.op.less, rest, zero),
        call.emit(relax.op.less, b, zero),
    )
    left = call.emit(relax.op.not_equal, rest, zero)
    moved = call.emit(relax.op.add, rest, b)
    return call.emit(relax.op.where, call.emit(relax.op.logical_and, left, apart), moved, rest)


def remainder(call: OperatorCall, x: Any, other: Any) -> relax.Expr:
    """Of the divisor's sign, as Python's %."""
    a, b = call.cast(x), call.cast(other)
    if call.dtype == "float32":
        return _remainder_of_floats(call, a, b)
    return call.emit(relax.op.floor_mod, a, _nonzero(call, b))


def fmod(call: OperatorCall, x: Any, other: Any) -> relax.Expr:
    """Of the dividend's sign, as C's fmod."""
    a, b = call.cast(x), call.cast(other)
    if call.dtype == "float32":
        return call.emit(relax.op.mod, a, b)
    b = _nonzero(call, b)
    whole = call.emit(relax.op.multiply, _integer_quotient(call, a, b), b)
    return call.emit(relax.op.subtract, a, whole)


def power(call: OperatorCall, x: Any, exponent: Any) -> relax.Expr:
    """Small whole powers by multiplication: TVM has no power of integers."""
    base = call.cast(x)
    if isinstance(exponent, int | float) and exponent in (1, 2, 3, 4) and isinstance(x, relax.Expr):
        result = base
        for _ in range(int(exponent) - 1):
            result = call.emit(relax.op.multiply, result, base)
        return result
    if call.dtype != "float32":
        raise ValueError("integers can only be raised to the constant powers 1 to 4")
    if exponent == 0.5:
        return call.emit(relax.op.sqrt, base)
    return call.emit(relax.op.power, base, call.cast(exponent))


def compare(operator: Callable[..., relax.Expr]) -> Converter:
    """In the type to which torch promotes the two; TVM 0.27 compares booleans as floats."""

    def convert(call: OperatorCall, x: Any, other: Any) -> relax.Expr:
        dtype = promoted_type(x, other).replace("bool", "int32")
        return call.emit(operator, call.cast(x, dtype), call.cast(other, dtype))

    return convert


def logical(operator: Callable[..., relax.Expr]) -> Converter:
    """Of what is not zero."""

    def convert(call: OperatorCall, x: relax.Expr, other: relax.Expr) -> relax.Expr:
        return call.emit(operator, call.cast(x, "bool"), call.cast(other, "bool"))

    return convert


def logical_not(call: OperatorCall, x: relax.Expr) -> relax.Expr:
    """Whether it is zero."""
    return call.emit(relax.op.logical_not, call.cast(x, "bool"))


def bitwise(operator: Callable[..., relax.Expr]) -> Converter:
    """Of integers; of booleans, the logical operator."""

    def convert(call: OperatorCall, x: Any, other: Any) -> relax.Expr:
        chosen = _LOGICAL.get(operator, operator) if call.dtype == "bool" else operator
        return call.emit(chosen, call.cast(x), call.cast(other))

    return convert


def bitwise_not(call: OperatorCall, x: relax.Expr) -> relax.Expr:
    """Of integers; of booleans, not."""
    operator = relax.op.logical_not if call.dtype == "bool" else relax.op.bitwise_not
    return call.emit(operator, x)


def where(call: OperatorCall, condition: relax.Expr, x: Any, other: Any) -> relax.Expr:
    """Choose; TVM's where broadcasts all three."""
    parts = (call.cast(condition, "bool"), call.cast(x), call.cast(other))
    known = constants(parts)
    if known is not None:
        return relax.const(np.where(*known), call.dtype)
    return call.emit(relax.op.where, *parts)


def to_copy(call: OperatorCall, x: relax.Expr, dtype: Any = None) -> relax.Expr:
    """Cast; floats to integers towards zero."""
    return call.cast(x, str(x.ty.dtype) if dtype is None else dtype_name(dtype))


def same(call: OperatorCall, x: relax.Expr) -> relax.Expr:
    """What clone, detach and alias give."""
    return x


def copy(call: OperatorCall, x: relax.Expr, src: relax.Expr) -> relax.Expr:
    """``src`` in the place of x: broadcast, in its type."""
    return call.broadcast(call.cast(src), shape_of(x))
