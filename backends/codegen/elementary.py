"""exp, tanh and erf of float32 on whole vectors, where LLVM would call libm lane by lane.

Registered once as TVM's lowering of these operators for CPUs, so every kernel has them: sigmoid,
SiLU and softmax among them, TVM's own and ours; and nearbyint, isnan and rsqrt as operators of
vectors, which TVM would take apart. erf (GELU) it would take apart, too, but not all types of it
have a vector's: float32's is written out before loops are vectorised. The largest errors, against
float64 over all finite float32, are in `tests/backends/codegen/test_elementary.py`; NaN stays NaN.

Source  exp: S. L. Moshier, Cephes Mathematical Library, `expf`. tanh and erf: rational minimax
        approximations with the coefficients of Eigen's `generic_fast_tanh_float` and
        `generic_fast_erf_float`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import tvm_ffi
from tvm import IRModule, tirx
from tvm.ir import Call, Op
from tvm.ir.op import register_op_attr
from tvm.ir.prim.expr import Let, Var
from tvm.tirx import PrimFunc

from .rewrite import is_call_of, is_for_cpu, map_functions

_LOG2_E = 1.44269504088896341
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4
# exp is zero (below, its results would be subnormal) and infinite beyond these.
_SMALLEST, _LARGEST = -87.33654, 88.72283
_EXP = (
    1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3,
    4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1,
)  # fmt: skip
_MANTISSA_BITS = 23
_LLVM_RULE = "llvm.FLowerIntrinsic"

_TANH_LIMIT = 9.0
_TANH_ODD = (
    -2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08,
    1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03,
)  # fmt: skip
_TANH_EVEN = (
    1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03,
)  # fmt: skip

_ERF_LIMIT = 4.0
_ERF_ODD = (
    -2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05,
    -7.34990630306855e-04, -2.95459980854025e-03, -1.60960333262415e-02,
)  # fmt: skip
_ERF_EVEN = (
    -1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03,
    -1.42647390514189e-02,
)  # fmt: skip


@cache
def register() -> None:
    """Make TVM lower these operators so, in this process."""
    for name, formula in (("exp", _exp), ("tanh", _tanh)):
        op = Op.get(f"tirx.{name}")
        former = op.get_attr(_LLVM_RULE) or op.get_attr("default.FLowerIntrinsic")
        register_op_attr(op.name, _LLVM_RULE, _rule(formula, former), level=99)
    for name in ("nearbyint", "isnan", "rsqrt"):
        register_op_attr(f"tirx.{name}", "TVectorizable", True, level=99)


def write_out_erf(module: IRModule) -> IRModule:
    """In scheduled functions for CPUs, put its formula in place of erf."""

    def written(call: Call):
        is_erf = is_call_of(call, "tirx.erf") and str(call.ty.dtype) == "float32"
        return _computed(_erf, call) if is_erf else call

    def write(function: PrimFunc) -> PrimFunc:
        if not is_for_cpu(function):
            return function
        return tvm_ffi.structural_map(function, ((Call, written),))

    return map_functions(module, write)


def _rule(formula: Callable, former: Callable) -> Callable:
    def lower(call: Call):
        is_float = str(call.ty.dtype).startswith("float32")
        return _computed(formula, call) if is_float else former(call)

    return lower


def _computed(formula: Callable, call: Call):
    """Name the argument, since the formula reads it often: of tanh(tanh(tanh(x))) nothing grows."""
    dtype, x = str(call.ty.dtype), Var("x", call.args[0].ty)
    return Let(x, call.args[0], formula(x, lambda value: tirx.const(value, dtype), dtype))


def _exp(x, const, dtype: str):
    """2^n · exp(r), with n whole and r at most half of ln 2."""
    integer = dtype.replace("float", "int")
    bounded = tirx.min(tirx.max(x, const(_SMALLEST)), const(_LARGEST))
    n = tirx.nearbyint(bounded * const(_LOG2_E))
    r = x - n * const(_LN2_HIGH) - n * const(_LN2_LOW)
    value = _polynomial(_EXP, r, const) * r * r + r + const(1.0)
    bits = tirx.reinterpret(integer, value)
    power = n.astype(integer) << tirx.const(_MANTISSA_BITS, integer)
    scaled = tirx.reinterpret(dtype, bits + power)
    infinite = tirx.Select(x > const(_LARGEST), const(float("inf")), scaled)
    finite = tirx.Select(x < const(_SMALLEST), const(0.0), infinite)
    return tirx.Select(tirx.isnan(x), x, finite)


def _tanh(x, const, dtype: str):
    return _rational(x, const, _TANH_LIMIT, _TANH_ODD, _TANH_EVEN)


def _erf(x, const, dtype: str):
    return _rational(x, const, _ERF_LIMIT, _ERF_ODD, _ERF_EVEN)


def _rational(x, const, limit: float, odd, even):
    """X · p(x²) / q(x²), beyond `limit` its value there."""
    bounded = tirx.min(tirx.max(x, const(-limit)), const(limit))
    square = bounded * bounded
    value = bounded * _polynomial(odd, square, const) / _polynomial(even, square, const)
    return tirx.Select(tirx.isnan(x), x, value)


def _polynomial(coefficients, x, const):
    """Horner's rule, the highest power first."""
    total = const(coefficients[0])
    for coefficient in coefficients[1:]:
        total = total * x + const(coefficient)
    return total
