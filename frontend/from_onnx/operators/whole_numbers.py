"""Arithmetic of integers, where hardware, C and ONNX part ways."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax
from tvm.ir import GenericConst
from tvm.relax.frontend.onnx import onnx_frontend

from ..arguments import Inputs, emit, like

_op = relax.op


def power(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """Pow: the result has the base's type, whatever the exponent's is."""
    base, exponent = inputs[0], inputs[1]
    kind, other = str(base.ty.dtype), str(exponent.ty.dtype)
    if kind.startswith("float"):
        return _op.power(base, _cast(exponent, kind))
    exponent = onnx_frontend.get_constant(exponent, held)
    known = exponent.value.numpy() if isinstance(exponent, GenericConst) else None
    if known is not None and ((known >= 0) & (known < 64) & (known == np.floor(known))).all():
        return _by_squaring(base, known.astype(np.int64))
    if "64" in kind + other:  # float64 does not hold them
        raise ValueError(f"of {kind} to {other} it cannot be imported; cast to float32 first")
    return _op.astype(_op.power(_cast(base, "float64"), _cast(exponent, "float64")), kind)


def _by_squaring(base: relax.Expr, exponents: np.ndarray) -> relax.Expr:
    """Multiply, for each bit that is set in an exponent, by the base squared as often."""
    total, factor, one = None, base, like(base, 1)
    for bit in range(int(exponents.max(initial=0)).bit_length()):
        factor = emit(_op.multiply(factor, factor)) if bit else factor
        taken = exponents >> bit & 1
        part = factor if taken.all() else _op.where(relax.const(taken > 0, "bool"), factor, one)
        total = part if total is None else emit(_op.multiply(total, emit(part)))
    return emit(_op.full_like(base, one)) if total is None else total


def _cast(x: relax.Expr, dtype: str) -> relax.Expr:
    if isinstance(x, GenericConst):
        return relax.const(x.value.numpy().astype(dtype), dtype)
    return x if str(x.ty.dtype) == dtype else emit(_op.astype(x, dtype))


def modulo(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """Mod: with the sign of the divisor, or with fmod of the dividend."""
    operator = _op.mod if attrs.get("fmod", 0) else _op.floor_mod
    return operator(inputs[0], _divisor(inputs[1]))


def divide(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """Div: of integers it rounds towards zero."""
    x, y = inputs[0], inputs[1]
    if str(x.ty.dtype).startswith("float"):
        return _op.divide(x, y)
    y = _divisor(y)
    rest = emit(_op.mod(x, y))  # of the dividend's sign, so what is left divides exactly
    return _op.floor_divide(_op.subtract(x, rest), y)


def _divisor(y: relax.Expr) -> relax.Expr:
    """Keep integers from being divided by 0, which ends the process: 1 stands in for it."""
    if str(y.ty.dtype).startswith("float"):
        return y
    if not isinstance(y, GenericConst):
        return emit(_op.where(_op.equal(y, like(y, 0)), like(y, 1), y))
    if not y.value.numpy().all():
        raise ValueError("it divides integers by the constant 0")
    return y


def shift(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """BitShift: by the type's width or more only the sign is left, which hardware has not so."""
    x, by = inputs[0], inputs[1]
    dtype, left = str(x.ty.dtype), attrs["direction"] == b"LEFT"
    width = np.dtype(dtype).itemsize * 8
    fits = _op.less(by, like(by, width))
    within = _op.minimum(by, like(by, width - 1))
    if not dtype.startswith("uint"):
        fits = _op.logical_and(fits, _op.greater_equal(by, like(by, 0)))
        within = _op.maximum(within, like(by, 0))
    within = emit(within)
    signs = like(x, 0)
    if not left and not dtype.startswith("uint"):
        signs = _op.where(_op.less(x, like(x, 0)), like(x, -1), like(x, 0))
    return _op.where(emit(fits), (_op.left_shift if left else _op.right_shift)(x, within), signs)


def bit_cast(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """BitCast between integers of one width, which casting leaves bit by bit."""
    from onnx import helper

    x = inputs[0]
    wanted = np.dtype(helper.tensor_dtype_to_np_dtype(attrs["to"]))
    own = np.dtype(str(x.ty.dtype))
    if own.kind not in "iu" or wanted.kind not in "iu" or own.itemsize != wanted.itemsize:
        raise ValueError(f"from {own} to {wanted} it cannot be imported; only between integers")
    return x if own == wanted else _op.astype(x, wanted.name)


OWN = {
    "BitCast": bit_cast,
    "BitShift": shift,
    "Div": divide,
    "Mod": modulo,
    "Pow": power,
}
