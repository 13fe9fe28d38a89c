"""Functions of one tensor, element by element."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax

from ..operator_call import Converter, OperatorCall


def floating(operator: Callable[..., relax.Expr]) -> Converter:
    """In the result's type: integers are made float32 first, as torch makes them."""

    def convert(call: OperatorCall, x: relax.Expr) -> relax.Expr:
        return call.emit(operator, call.cast(x))

    return convert


def whole(operator: Callable[..., relax.Expr]) -> Converter:
    """Rounding, which leaves integers as they are."""

    def convert(call: OperatorCall, x: relax.Expr) -> relax.Expr:
        return call.emit(operator, x) if call.dtype == "float32" else x

    return convert


def about_floats(operator: Callable[..., relax.Expr], otherwise: bool) -> Converter:
    """Isnan and its like: no integer is NaN or infinite."""

    def convert(call: OperatorCall, x: relax.Expr) -> relax.Expr:
        if str(x.ty.dtype).startswith("float"):
            return call.emit(operator, x)
        return relax.const(np.full(call.shape, otherwise), "bool")

    return convert


def sign(call: OperatorCall, x: relax.Expr) -> relax.Expr:
    """-1, 0 or 1."""
    if call.dtype == "bool":
        return x
    return call.emit(relax.op.sign, x)


def logarithm(base: float) -> Converter:
    """To another base than e."""

    def convert(call: OperatorCall, x: relax.Expr) -> relax.Expr:
        natural = call.emit(relax.op.log, call.cast(x))
        return call.emit(relax.op.multiply, natural, call.cast(1.0 / math.log(base)))

    return convert


def log1p(call: OperatorCall, x: relax.Expr) -> relax.Expr:
    """log(1 + x); near zero times x / ((1 + x) - 1), which keeps what 1 + x rounds off.

    Source  Goldberg, What every computer scientist should know about floating-point arithmetic,
            ACM Computing Surveys 1991, theorem 4
    """
    x, one = call.cast(x), call.cast(1.0)
    total = call.emit(relax.op.add, x, one)
    back = call.emit(relax.op.subtract, total, one)
    log = call.emit(relax.op.log, total)
    near = call.emit(relax.op.multiply, log, call.emit(relax.op.divide, x, back))
    tiny = call.emit(relax.op.equal, back, call.cast(0.0))
    near = call.emit(relax.op.where, tiny, x, near)
    small = call.emit(relax.op.less, call.emit(relax.op.abs, x), call.cast(0.5))
    return call.emit(relax.op.where, small, near, log)


def expm1(call: OperatorCall, x: relax.Expr) -> relax.Expr:
    """tanh(x / 2) * (exp(x) + 1) near zero, where exp(x) - 1 would lose all digits."""
    x = call.cast(x)
    exp = call.emit(relax.op.exp, x)
    half = call.emit(relax.op.tanh, call.emit(relax.op.multiply, x, call.cast(0.5)))
    near = call.emit(relax.op.multiply, half, call.emit(relax.op.add, exp, call.cast(1.0)))
    far = call.emit(relax.op.subtract, exp, call.cast(1.0))
    small = call.emit(relax.op.less, call.emit(relax.op.abs, x), call.cast(0.5))
    return call.emit(relax.op.where, small, near, far)


def exp2(call: OperatorCall, x: relax.Expr) -> relax.Expr:
    """2 to the power of x."""
    return call.emit(relax.op.power, call.cast(2.0), call.cast(x))


def erfc(call: OperatorCall, x: relax.Expr) -> relax.Expr:
    """1 - erf(x)."""
    return call.emit(relax.op.subtract, call.cast(1.0), call.emit(relax.op.erf, call.cast(x)))


def reciprocal(call: OperatorCall, x: relax.Expr) -> relax.Expr:
    """1 / x."""
    return call.emit(relax.op.divide, call.cast(1.0), call.cast(x))


def round_decimals(call: OperatorCall, x: relax.Expr, decimals: int) -> relax.Expr:
    """Round half to even, to a number of decimals."""
    if decimals == 0 or call.dtype != "float32":
        return whole(relax.op.round)(call, x)
    ten = call.cast(10.0 ** abs(decimals))
    there, back = relax.op.multiply, relax.op.divide
    if decimals < 0:
        there, back = back, there
    return call.emit(back, call.emit(relax.op.round, call.emit(there, x, ten)), ten)


def elu(
    call: OperatorCall, x: relax.Expr, alpha: float, scale: float, input_scale: float
) -> relax.Expr:
    """ELU with its scales, as SELU and CELU use them."""
    low = relax.op.minimum(x, relax.const(0.0, "float32"))
    curve = relax.op.exp(relax.op.multiply(low, relax.const(float(input_scale), "float32")))
    bent = relax.op.subtract(curve, relax.const(1.0, "float32"))
    bent = relax.op.multiply(bent, relax.const(float(alpha * scale), "float32"))
    straight = relax.op.multiply(relax.op.nn.relu(x), relax.const(float(scale), "float32"))
    return relax.op.add(straight, bent)


def gelu(call: OperatorCall, x: relax.Expr, approximate: str) -> relax.Expr:
    """By the error function, or by tanh."""
    return call.emit(relax.op.nn.gelu if approximate == "none" else relax.op.nn.gelu_tanh, x)


def leaky_relu(call: OperatorCall, x: relax.Expr, negative_slope: float) -> relax.Expr:
    """``x`` above zero, ``negative_slope * x`` below."""
    return call.emit(relax.op.nn.leakyrelu, x, float(negative_slope))


def relu(call: OperatorCall, x: relax.Expr) -> relax.Expr:
    """max(x, 0), of integers too."""
    if call.dtype == "float32":
        return call.emit(relax.op.nn.relu, x)
    return call.emit(relax.op.maximum, x, call.cast(0))


def clamp(call: OperatorCall, x: relax.Expr, min: Any, max: Any) -> relax.Expr:
    """Between two numbers or tensors of which one may be missing; min first, as torch has it."""
    x = call.cast(x)
    numbers = all(isinstance(bound, int | float) for bound in (min, max))
    if numbers and call.dtype == "float32" and min <= max:
        return call.emit(relax.op.clip, x, float(min), float(max))
    for bound, operator in ((min, relax.op.maximum), (max, relax.op.minimum)):
        if bound is not None:
            x = call.emit(operator, x, call.cast(bound))
    return x


def clamp_to(call: OperatorCall, x: relax.Expr, min_val: float, max_val: float) -> relax.Expr:
    """Hardtanh."""
    return clamp(call, x, min_val, max_val)


def softmax(operator: Callable[..., relax.Expr]) -> Converter:
    """Softmax or its logarithm over one axis; of a number, over itself."""

    def convert(call: OperatorCall, x: relax.Expr, dim: int) -> relax.Expr:
        rank = len(call.shape)
        if rank == 0:
            return call.reshape(call.emit(operator, call.reshape(x, (1,)), axis=0), ())
        return call.emit(operator, x, axis=dim % rank)

    return convert
