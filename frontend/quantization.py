"""Affine quantization: value = (quantized - zero_point) * scale, per tensor or per channel.

Source  ONNX operators QuantizeLinear and DequantizeLinear, opset 21; torch's
        quantized_decomposed.quantize_per_tensor and its relatives
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tvm import relax
from tvm.ir import GenericConst

_DTYPES = ("int8", "uint8", "int32")  # the last holds biases
_UINT8_OFFSET = 128  # what an int8 value and its zero point gain when they become uint8
_WANTED = "scale and zero point must be constants; quantize statically, not as the network runs"


@dataclass(frozen=True, kw_only=True, eq=False)
class QuantParams:
    """Scale float32 () or (c,), zero point of the same shape and the quantized dtype; `axis` of c.

    Every scale is finite and positive, and so is its inverse.
    """

    scale: np.ndarray
    zero_point: np.ndarray
    axis: int

    @classmethod
    def from_source(
        cls, shape: tuple[int, ...], scale: Any, zero_point: Any, dtype: str, axis: int
    ) -> QuantParams:
        """Check what a source gives for a tensor of `shape`; ValueError says what is wrong."""
        if (why := why_unsupported(dtype)) is not None:
            raise ValueError(why)
        scale, zero_point = np.asarray(scale), np.asarray(zero_point)
        per_channel = scale.size != 1
        if per_channel:
            _check_length(shape, scale, axis)
        if zero_point.size not in (1, scale.size) or zero_point.ndim > 1:
            raise ValueError(f"it has {scale.size} scales, but {zero_point.size} zero points")
        _check_values(scale, zero_point, dtype)
        length = (scale.size,) if per_channel else ()
        zeros = np.broadcast_to(zero_point.reshape(-1 if zero_point.size > 1 else ()), length)
        return cls(
            scale=scale.reshape(length).astype(np.float32),
            zero_point=zeros.astype(dtype),
            axis=axis % len(shape) if per_channel else -1,
        )

    @classmethod
    def from_call(cls, call: relax.Call) -> QuantParams:
        """Read the parameters of a call that `quantize` or `dequantize` below made."""
        scale, zero_point = (arg.value.numpy() for arg in call.args[1:3])
        return cls(scale=scale, zero_point=zero_point, axis=int(call.attrs.axis))

    @property
    def dtype(self) -> str:
        """The type of the quantized values."""
        return str(self.zero_point.dtype)

    @property
    def key(self) -> tuple[Any, ...]:
        """A hashable value, equal for equal parameters."""
        return self.dtype, self.axis, self.scale.tobytes(), self.zero_point.tobytes()

    def to_uint8(self) -> QuantParams:
        """The same values quantized to uint8 instead of int8: each integer is 128 more."""
        zeros = self.zero_point.astype(np.int32) + _UINT8_OFFSET
        return replace(self, zero_point=zeros.astype(np.uint8))

    def quantize(self, x: relax.Expr) -> relax.Expr:
        """Quantize an activation, in the network."""
        return relax.op.quantize(x, *self._constants(), axis=self.axis, out_dtype=self.dtype)

    def dequantize(self, quantized: relax.Expr) -> relax.Expr:
        """Dequantize an activation, in the network."""
        return relax.op.dequantize(quantized, *self._constants(), axis=self.axis)

    def _constants(self) -> tuple[relax.Expr, relax.Expr]:
        return relax.const(self.scale, "float32"), relax.const(self.zero_point, self.dtype)

    def quantize_array(self, x: np.ndarray) -> np.ndarray:
        """Quantize a weight: to nearest, ties to even, saturating."""
        limits = np.iinfo(self.dtype)
        scale, zeros = (self.broadcast(value, x.ndim) for value in (self.scale, self.zero_point))
        quantized = np.rint(x.astype(np.float32) / scale) + zeros.astype(np.float32)
        return np.clip(quantized, limits.min, limits.max).astype(self.dtype)

    def dequantize_array(self, quantized: np.ndarray) -> np.ndarray:
        """Dequantize a weight, to float64."""
        zeros = self.broadcast(self.zero_point.astype(np.int64), quantized.ndim)
        scale = self.broadcast(self.scale.astype(np.float64), quantized.ndim)
        return (quantized.astype(np.int64) - zeros) * scale

    def dequantize_value(self, quantized: int) -> np.ndarray:
        """Dequantize one integer: float32, of the scale's shape."""
        return (quantized - self.zero_point.astype(np.int32)).astype(np.float32) * self.scale

    def broadcast(self, value: np.ndarray, rank: int) -> np.ndarray:
        """Reshape one value per channel so that it broadcasts over a tensor of that rank."""
        if value.ndim == 0:
            return value
        return value.reshape([-1 if axis == self.axis else 1 for axis in range(rank)])


def why_unsupported(dtype: str) -> str | None:
    """Why quantized values of that type cannot be imported, or None."""
    if dtype in _DTYPES:
        return None
    return f"its quantized values are {dtype}; export with int8 or uint8"


def constant_value(expr: relax.Expr) -> np.ndarray:
    """Give the value of a scale or a zero point; ValueError where the network computes it."""
    if not isinstance(expr, GenericConst):
        raise ValueError(_WANTED)  # noqa: TRY004
    return expr.value.numpy()


def _check_length(shape: tuple[int, ...], scale: np.ndarray, axis: int) -> None:
    if scale.ndim != 1:
        raise ValueError(
            f"its scale has the shape {scale.shape}; block-wise quantization cannot be imported"
        )
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"axis {axis} is out of range for a tensor of shape {shape}")
    if scale.size != shape[axis]:
        raise ValueError(f"it has {scale.size} scales for the {shape[axis]} channels of {shape}")


def _check_values(scale: np.ndarray, zero_point: np.ndarray, dtype: str) -> None:
    float32 = scale.astype(np.float32)
    with np.errstate(divide="ignore", over="ignore"):
        usable = np.isfinite(float32) & (float32 > 0) & np.isfinite(np.float32(1) / float32)
    if not usable.all():
        bad = scale.reshape(-1)[np.argmin(usable.reshape(-1))]
        raise ValueError(f"a scale is {bad}; scales must be finite and positive")
    limits = np.iinfo(dtype)
    outside = (zero_point < limits.min) | (zero_point > limits.max)
    if outside.any():
        bad = zero_point.reshape(-1)[np.argmax(outside.reshape(-1))]
        raise ValueError(
            f"zero point {bad} is out of range for {dtype} ({limits.min} to {limits.max})"
        )
