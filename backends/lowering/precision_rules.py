"""Values of 8 and 16 bits: rounded as the network says, floats only where somebody reads them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from tvm import relax

from ..kernels import elementwise
from ..kernels.sixteen_bit import STORED
from . import layout_rules
from .values import Dequantized, Dynamic, Quantized, SixteenBitValue, Static, Value
from .walk import QUANTIZATION, Rule, Walk, shape_of

_LOWEST = {"uint8": 0, "int8": -128}


def quantize(walk: Walk, call: relax.Call) -> Value | None:
    """An activation quantized to 8 bits, of the sign that the board's kernels want."""
    scale_value, zero = _scale(walk, call), walk.value_of(call.args[2])
    if scale_value is None or not isinstance(zero, Static):
        return None
    if str(call.attrs.out_dtype) not in _LOWEST:
        return None
    dtype, kept = str(call.attrs.out_dtype), walk.isa.int8.activation_dtype
    offset = _LOWEST[kept] - _LOWEST[dtype]
    zero_point = int(zero.array.item()) + offset
    given = walk.value_of(call.args[0])
    known = given.source if isinstance(given, Dequantized) else None
    if isinstance(known, Quantized) and known.stands_for(scale_value, zero_point, dtype):
        return known
    source = walk.as_float(given)
    quantized = Quantized(
        source.expr,
        source.channels_last,
        scale=scale_value,
        zero_point=zero_point,
        dtype=dtype,
        offset=offset,
    )
    if isinstance(scale_value, float):
        one_over = np.array(1.0 / scale_value, np.float32)
        inverse = walk.weights.var(f"{QUANTIZATION}inverse_scale", one_over)
    else:
        inverse = walk.emit(relax.op.divide(relax.const(1.0, "float32"), scale_value))
    expr = walk.kernel(elementwise.quantize, source.expr, inverse, walk.zero_point(quantized))
    return replace(quantized, expr=expr)


def _scale(walk: Walk, call: relax.Call) -> float | relax.Expr | None:
    """The one scale of all values: known, or computed in every run; None if there are more."""
    scale = walk.value_of(call.args[1])
    if isinstance(scale, Static):
        return float(scale.array.item()) if scale.array.size == 1 else None
    return walk.plain(call.args[1]) if shape_of(call.args[1]) == () else None


def dequantize(walk: Walk, call: relax.Call) -> Value | None:
    """Quantized values that a layer may read as they are, or an int8 weight with its scales."""
    value, one_scale = walk.value_of(call.args[0]), _scale(walk, call)
    scale, zero = (walk.value_of(arg) for arg in call.args[1:3])
    if not isinstance(zero, Static):
        return None
    if isinstance(value, Dynamic) and call.args[0] in walk.model.function.params:
        value = _given(walk, value)
    if isinstance(value, Quantized) and one_scale is not None:
        zero_point = int(zero.array.item()) + value.offset
        return Dequantized(replace(value, scale=one_scale, zero_point=zero_point))
    if not (isinstance(value, Static) and isinstance(scale, Static)):
        return None
    if value.array.dtype != np.int8 or zero.array.any():
        return None
    axis = int(call.attrs.axis) % value.array.ndim
    return Static(value.array, value.name, scale=scale.array.reshape(-1), scale_axis=axis)


def _given(walk: Walk, value: Dynamic) -> Value:
    """An input of 8 bits as the board's kernels keep such values; any other as it is."""
    dtype, kept = str(value.expr.ty.dtype), walk.isa.int8.activation_dtype
    if dtype not in _LOWEST:
        return value
    offset, expr = _LOWEST[kept] - _LOWEST[dtype], value.expr
    if offset:
        expr = walk.kernel(elementwise.shift_levels, expr, offset=offset, dtype=kept)
    # which scale and zero point it stands for, only what dequantizes it says
    return Quantized(
        expr, value.channels_last, scale=1.0, zero_point=offset, dtype=dtype, offset=offset
    )


def astype(walk: Walk, call: relax.Call) -> Value | None:
    """An activation rounded to 16 bits, one that was as float32, or a weight of 16 bits."""
    value, dtype = walk.value_of(call.args[0]), str(call.attrs.dtype)
    if isinstance(value, Static):
        if dtype != "float32" or value.array.dtype.name not in STORED:
            return None
        return replace(value, scale=np.ones(1, np.float32))
    if isinstance(value, SixteenBitValue) and dtype == "float32":
        return Dequantized(value)
    known = value.source if isinstance(value, Dequantized) else None
    if isinstance(known, SixteenBitValue) and known.dtype == dtype:
        return known
    source = walk.as_float(value)
    if dtype not in STORED or str(source.expr.ty.dtype) != "float32":
        return layout_rules.elementwise(walk, call)
    expr = walk.kernel(elementwise.rounded, source.expr, dtype=STORED[dtype])
    return SixteenBitValue(expr, source.channels_last, dtype)


RULES: dict[str, Rule] = {
    "relax.astype": astype,
    "relax.quantize": quantize,
    "relax.dequantize": dequantize,
}
