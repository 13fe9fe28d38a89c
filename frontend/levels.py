"""How integers stand for reals: real = (level - zero_point) * scale, for a tensor or a channel.

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
_UNSIGNED = 128  # uint8 levels are as much more than int8 ones
_WANTED = "scale and zero point must be constants; quantize statically, not as the network runs"


@dataclass(frozen=True, kw_only=True, eq=False)
class Levels:
    """Scale float32 () or (c,), zero point of the same shape in the levels' type; `axis` of the c.

    Values are checked: every scale is finite and above zero, so is its inverse.
    """

    scale: np.ndarray
    zero_point: np.ndarray
    axis: int

    @classmethod
    def checked(
        cls, shape: tuple[int, ...], scale: Any, zero_point: Any, dtype: str, axis: int
    ) -> Levels:
        """Check what a source gives for a tensor of `shape`; ValueError says what is wrong."""
        if (why := why_no_levels(dtype)) is not None:
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
    def of(cls, call: relax.Call) -> Levels:
        """Read a call of quantize or dequantize that `quantize` or `dequantize` below made."""
        scale, zero_point = (arg.value.numpy() for arg in call.args[1:3])
        return cls(scale=scale, zero_point=zero_point, axis=int(call.attrs.axis))

    @property
    def dtype(self) -> str:
        """The type of the levels."""
        return str(self.zero_point.dtype)

    @property
    def key(self) -> tuple[Any, ...]:
        """Tell one from another."""
        return self.dtype, self.axis, self.scale.tobytes(), self.zero_point.tobytes()

    def unsigned(self) -> Levels:
        """The same reals by uint8 levels, for int8 ones: each level is 128 more."""
        zeros = self.zero_point.astype(np.int32) + _UNSIGNED
        return replace(self, zero_point=zeros.astype(np.uint8))

    def quantize(self, x: relax.Expr) -> relax.Expr:
        """The levels of an activation."""
        return relax.op.quantize(x, *self._constants(), axis=self.axis, out_dtype=self.dtype)

    def dequantize(self, levels: relax.Expr) -> relax.Expr:
        """The reals of levels."""
        return relax.op.dequantize(levels, *self._constants(), axis=self.axis)

    def _constants(self) -> tuple[relax.Expr, relax.Expr]:
        return relax.const(self.scale, "float32"), relax.const(self.zero_point, self.dtype)

    def rounded(self, x: np.ndarray) -> np.ndarray:
        """The levels of a weight: to nearest, ties to even, saturating."""
        limits = np.iinfo(self.dtype)
        scale, zeros = (self.along(value, x.ndim) for value in (self.scale, self.zero_point))
        levels = np.rint(x.astype(np.float32) / scale) + zeros.astype(np.float32)
        return np.clip(levels, limits.min, limits.max).astype(self.dtype)

    def reals(self, levels: np.ndarray) -> np.ndarray:
        """The reals of a weight's levels, float64."""
        centred = levels.astype(np.int64) - self.along(
            self.zero_point.astype(np.int64), levels.ndim
        )
        return centred * self.along(self.scale.astype(np.float64), levels.ndim)

    def real(self, level: int) -> np.ndarray:
        """The real of one level: float32, of the scale's shape."""
        return (level - self.zero_point.astype(np.int32)).astype(np.float32) * self.scale

    def along(self, value: np.ndarray, rank: int) -> np.ndarray:
        """Shape one value a channel to broadcast over a tensor of that rank."""
        if value.ndim == 0:
            return value
        return value.reshape([-1 if axis == self.axis else 1 for axis in range(rank)])


def why_no_levels(dtype: str) -> str | None:
    """Why levels of that type cannot be imported, or None."""
    return None if dtype in _DTYPES else f"its levels are {dtype}; export with int8 or uint8 ones"


def constant(expr: relax.Expr) -> np.ndarray:
    """Give the value of a scale or a zero point; ValueError where the network computes it."""
    if not isinstance(expr, GenericConst):
        raise ValueError(_WANTED)  # noqa: TRY004
    return expr.value.numpy()


def _check_length(shape: tuple[int, ...], scale: np.ndarray, axis: int) -> None:
    if scale.ndim != 1:
        raise ValueError(f"its scale has the shape {scale.shape}; blocks cannot be imported")
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"axis {axis} is none of a tensor of shape {shape}")
    if scale.size != shape[axis]:
        raise ValueError(f"it has {scale.size} scales for the {shape[axis]} channels of {shape}")


def _check_values(scale: np.ndarray, zero_point: np.ndarray, dtype: str) -> None:
    narrow = scale.astype(np.float32)
    with np.errstate(divide="ignore", over="ignore"):
        usable = np.isfinite(narrow) & (narrow > 0) & np.isfinite(np.float32(1) / narrow)
    if not usable.all():
        bad = scale.reshape(-1)[np.argmin(usable.reshape(-1))]
        raise ValueError(f"a scale is {bad}; scales must be finite and above zero")
    limits = np.iinfo(dtype)
    outside = (zero_point < limits.min) | (zero_point > limits.max)
    if outside.any():
        bad = zero_point.reshape(-1)[np.argmax(outside.reshape(-1))]
        raise ValueError(f"zero point {bad} is no {dtype} level ({limits.min} to {limits.max})")
