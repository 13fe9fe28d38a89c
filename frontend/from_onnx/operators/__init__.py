"""ONNX operators that TVM's importer gets wrong, or makes kernels of, said afresh.

Passes need high-level operators; a kernel (`call_tir`) hides what it does from them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax
from tvm.ir import GenericConst

from ....ir.edit import shape_of
from ..arguments import Inputs, emit, integers, like, scalar
from . import indexing, reductions, spatial

_op = relax.op


def clip(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """Clip: bounds are attributes up to opset 10, constant inputs after."""
    x, dtype = inputs[0], np.dtype(str(inputs[0].ty.dtype))
    low, high = scalar(inputs, 1, held), scalar(inputs, 2, held)
    low = attrs.get("min", -np.inf) if low is None else low
    high = attrs.get("max", np.inf) if high is None else high
    low = min(low, high)  # where they cross, ONNX gives the upper bound
    if low == -np.inf and high == np.inf:
        return x
    if dtype.kind != "f":  # of integers, a bound that is not given is no bound
        x = x if low == -np.inf else emit(_op.maximum(x, like(x, low)))
        return x if high == np.inf else _op.minimum(x, like(x, high))
    if low == 0 and high == np.inf:
        return _op.nn.relu(x)
    return _op.clip(x, float(low), float(high))


def dropout(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """Dropout does nothing in inference; in training mode it cannot be imported."""
    if scalar(inputs, 2, held):
        raise ValueError("it is in training mode; export the network in eval mode")
    return inputs[0]


def tile(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """Tile by constant repeats."""
    repeats = integers(inputs, 1, None, held)
    if repeats is None:
        raise TypeError("it has no repeats")
    return _op.tile(inputs[0], repeats)


def split(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """Split by lengths (an attribute up to opset 12), or evenly, the last part the smaller."""
    x, count = inputs[0], attrs["tvm_custom"]["num_outputs"]
    axis = attrs.get("axis", 0) % x.ty.ndim
    length = shape_of(x)[axis]
    parts = integers(inputs, 1, attrs.get("split"), held)
    if parts is None:
        size = -(-length // count)
        parts = [size] * (count - 1) + [length - size * (count - 1)]
    if sum(parts) != length or min(parts) < 1 or len(parts) != count:
        raise ValueError(f"its parts {parts} do not make up the {length} elements of axis {axis}")
    if count == 1:
        return x
    ends = np.cumsum(parts).tolist()
    return _op.split(x, ends[:-1], axis)


def is_inf(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """IsInf of either sign, or of one."""
    x = inputs[0]
    positive, negative = attrs.get("detect_positive", 1), attrs.get("detect_negative", 1)
    if positive and negative:
        return _op.isinf(x)
    if not positive and not negative:
        return relax.const(np.zeros(shape_of(x), bool))
    return _op.equal(x, like(x, np.inf if positive else -np.inf))


def power(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """Pow: the result has the base's type, whatever the exponent's is."""
    base, exponent = inputs[0], inputs[1]
    kind, other = str(base.ty.dtype), str(exponent.ty.dtype)
    if kind.startswith("float"):
        return _op.power(base, _cast(exponent, kind))
    real = _op.power(_cast(base, "float64"), _cast(exponent, "float64"))
    if "64" in kind + other and kind != "float64":
        raise ValueError(f"of {kind} to {other} it cannot be imported; cast to float32 first")
    return _op.astype(real, kind)


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
    """BitShift: by the type's width or more it gives 0, as ONNX has it and hardware does not."""
    x, by = inputs[0], inputs[1]
    dtype = str(x.ty.dtype)
    if not dtype.startswith("uint"):
        raise ValueError(f"of {dtype} it cannot be imported; only unsigned integers can")
    width = int(dtype.removeprefix("uint"))
    operator = _op.left_shift if attrs["direction"] == b"LEFT" else _op.right_shift
    fits = _op.less(by, like(by, width))
    return _op.where(fits, operator(x, _op.minimum(by, like(by, width - 1))), like(x, 0))


def prelu(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """PRelu: the slope is broadcast to x; one for each channel is what `prelu` knows."""
    x, slope = inputs[0], inputs[1]
    if not str(x.ty.dtype).startswith("float"):
        raise ValueError(f"of {x.ty.dtype} it cannot be imported; only floats can")
    rank, shape = x.ty.ndim, shape_of(slope)
    lengths = (1,) * (rank - len(shape)) + shape
    channels = shape_of(x)[1] if rank > 1 else 0
    if channels and lengths[1] == channels == int(np.prod(lengths)):
        return _op.nn.prelu(x, emit(_op.reshape(slope, (channels,))), axis=1)
    return _op.where(_op.less(x, like(x, 0)), _op.multiply(x, slope), x)


def sum_up(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """Sum of one or more tensors, broadcast."""
    return _fold(_op.add, inputs)


def mean(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """Mean of one or more tensors, broadcast."""
    return _op.divide(_fold(_op.add, inputs), like(inputs[0], len(inputs)))


def _fold(operator: Callable[..., relax.Expr], inputs: Inputs) -> relax.Expr:
    total = inputs[0]
    for value in inputs[1:]:
        total = emit(operator(total, value))
    return total


OWN: dict[str, Callable[[Inputs, dict[str, Any], Any], relax.Expr | None]] = {
    "BitShift": shift,
    "Clip": clip,
    "Div": divide,
    "Dropout": dropout,
    "IsInf": is_inf,
    "Max": lambda inputs, attrs, held: _fold(_op.maximum, inputs),
    "Mean": mean,
    "Min": lambda inputs, attrs, held: _fold(_op.minimum, inputs),
    "Mod": modulo,
    "PRelu": prelu,
    "Pow": power,
    "Split": split,
    "Sum": sum_up,
    "Tile": tile,
    **indexing.OWN,
    **reductions.OWN,
    **spatial.OWN,
}
