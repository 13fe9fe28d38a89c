"""The reference meaning of each Relax operator, in torch.

`TABLE` maps an operator's name to a function of (attrs, arguments…). Shapes, numbers and tuples
arrive as plain Python values. A function returns None where it does not cover the call's form
(an asymmetric transposed convolution, say); the executor then runs that one call through TVM.
Every function stays within what torch.vmap can map.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from . import operators_nn as nn

Operator = Callable[..., Any]


def _unary(function: Operator) -> Operator:
    return lambda attrs, x: function(x)


def _binary(function: Operator) -> Operator:
    return lambda attrs, a, b: function(a, b)


def _divide(attrs: Any, a: Tensor, b: Tensor) -> Tensor:
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def _clip(attrs: Any, x: Tensor, low: float, high: float) -> Tensor:
    return torch.clamp(x, low, high)


def _astype(attrs: Any, x: Tensor) -> Tensor:
    return x.to(torch_type(attrs.dtype))


def _axes(axis: Any, x: Tensor) -> tuple[int, ...]:
    return tuple(range(x.ndim)) if axis is None else nn.ints(axis)


def _reduce(function: Operator) -> Operator:
    return lambda attrs, x: function(x, dim=_axes(attrs.axis, x), keepdim=attrs.keepdims)


def _sum(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    return torch.sum(x, dim=dim, keepdim=keepdim, dtype=x.dtype)


def _variance(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    return torch.var(x, dim=dim, keepdim=keepdim, correction=0)


def _std(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    return torch.std(x, dim=dim, keepdim=keepdim, correction=0)


def _permute(attrs: Any, x: Tensor) -> Tensor:
    return x.permute(nn.ints(attrs.axes) if attrs.axes is not None else tuple(range(x.ndim))[::-1])


def _expand_dims(attrs: Any, x: Tensor) -> Tensor:
    final = x.ndim + len(attrs.axis)
    for axis in sorted(int(a) % final for a in attrs.axis):
        x = x.unsqueeze(axis)
    return x


def _squeeze(attrs: Any, x: Tensor) -> Tensor:
    return x.squeeze() if attrs.axis is None else x.squeeze(nn.ints(attrs.axis))


def _concat(attrs: Any, parts: tuple[Tensor, ...]) -> Tensor:
    return torch.cat(parts, dim=int(attrs.axis or 0))


def _stack(attrs: Any, parts: tuple[Tensor, ...]) -> Tensor:
    return torch.stack(parts, dim=int(attrs.axis or 0))


def _split(attrs: Any, x: Tensor) -> tuple[Tensor, ...]:
    cuts = attrs.indices_or_sections
    at = int(cuts) if hasattr(cuts, "value") else list(nn.ints(cuts))
    return tuple(torch.tensor_split(x, at, dim=attrs.axis))


def _strided_slice(
    attrs: Any, x: Tensor, axes: Any, begin: Any, end: Any, strides: Any = None
) -> Tensor | None:
    strides = strides or (1,) * len(axes)
    if any(stride < 1 for stride in strides):
        return None
    at = [slice(None)] * x.ndim
    for axis, start, stop, step in zip(axes, begin, end, strides, strict=True):
        at[axis] = slice(start, stop, step)
    return x[tuple(at)]


def _take(attrs: Any, x: Tensor, indices: Tensor) -> Tensor:
    axis = 0 if attrs.axis is None else attrs.axis % x.ndim
    x = x.flatten() if attrs.axis is None else x
    at = indices.long()
    if attrs.mode == "clip":
        at = at.clamp(0, x.shape[axis] - 1)
    picked = x.movedim(axis, 0)[at]
    front = tuple(range(indices.ndim))
    return picked.movedim(front, tuple(axis + i for i in front)) if front else picked


def _full_like(attrs: Any, x: Tensor, value: Tensor) -> Tensor:
    dtype = x.dtype if attrs.dtype is None else torch_type(attrs.dtype)
    return torch.zeros_like(x, dtype=dtype) + value.to(dtype)


def _full(attrs: Any, shape: tuple[int, ...], value: Tensor) -> Tensor:
    return value.expand(shape).clone()


def _quantize(attrs: Any, x: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    """clamp(round(x / scale) + zero_point), ties to even, as TVM's legalization computes it."""
    dtype = torch_type(attrs.out_dtype)
    quantized = torch.round(x / broadcast(scale, x, attrs.axis)) + broadcast(
        zero_point, x, attrs.axis
    )
    limits = torch.iinfo(dtype)
    return quantized.clamp(limits.min, limits.max).to(dtype)


def _dequantize(attrs: Any, x: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    centred = x.to(torch.int32) - broadcast(zero_point, x, attrs.axis).to(torch.int32)
    return centred.to(torch.float32) * broadcast(scale, x, attrs.axis)


def broadcast(value: Tensor, x: Tensor, axis: int) -> Tensor:
    """Shape a scale or zero point, of one element or one for each index of an axis, for x."""
    return value.reshape(()) if value.numel() == 1 else nn.per_axis(value, x, (axis,))


def torch_type(dtype: Any) -> torch.dtype:
    """Return the torch type of a TVM type name."""
    return getattr(torch, str(dtype))


_UNARY: dict[str, Operator] = {
    name: getattr(torch, name)
    for name in [
        *("abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "ceil", "cos", "cosh", "erf"),
        *("exp", "floor", "isfinite", "isinf", "isnan", "log", "logical_not", "negative", "round"),
        *("rsqrt", "sigmoid", "sign", "sin", "sinh", "sqrt", "square", "tan", "tanh", "trunc"),
        *("zeros_like", "ones_like"),
    ]
}
_BINARY: dict[str, Operator] = {
    "add": torch.add,
    "subtract": torch.subtract,
    "multiply": torch.multiply,
    "power": torch.pow,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "floor_divide": torch.floor_divide,
    "floor_mod": torch.remainder,
    "mod": torch.fmod,
    "equal": torch.eq,
    "not_equal": torch.ne,
    "greater": torch.gt,
    "greater_equal": torch.ge,
    "less": torch.lt,
    "less_equal": torch.le,
    "logical_and": torch.logical_and,
    "logical_or": torch.logical_or,
    "logical_xor": torch.logical_xor,
    "bitwise_and": torch.bitwise_and,
    "right_shift": torch.bitwise_right_shift,
    "matmul": torch.matmul,
}
_REDUCE: dict[str, Operator] = {
    "mean": torch.mean,
    "sum": _sum,
    "max": torch.amax,
    "min": torch.amin,
    "variance": _variance,
    "std": _std,
}

TABLE: dict[str, Operator] = {
    **{f"relax.{name}": _unary(function) for name, function in _UNARY.items()},
    **{f"relax.{name}": _binary(function) for name, function in _BINARY.items()},
    **{f"relax.{name}": _reduce(function) for name, function in _REDUCE.items()},
    "relax.divide": _divide,
    "relax.clip": _clip,
    "relax.astype": _astype,
    "relax.where": lambda attrs, condition, a, b: torch.where(condition, a, b),
    "relax.nn.relu": _unary(torch.relu),
    "relax.nn.relu6": _unary(F.relu6),
    "relax.nn.silu": _unary(F.silu),
    "relax.nn.selu": _unary(F.selu),
    "relax.nn.gelu": _unary(F.gelu),
    "relax.nn.gelu_tanh": lambda attrs, x: F.gelu(x, approximate="tanh"),
    "relax.nn.leakyrelu": lambda attrs, x: F.leaky_relu(x, attrs.alpha),
    "relax.nn.prelu": nn.prelu,
    "relax.nn.softplus": nn.softplus,
    "relax.nn.softmax": lambda attrs, x: torch.softmax(x, attrs.axis),
    "relax.nn.log_softmax": lambda attrs, x: torch.log_softmax(x, attrs.axis),
    "relax.nn.layer_norm": nn.layer_norm,
    "relax.nn.rms_norm": nn.rms_norm,
    "relax.nn.group_norm": nn.group_norm,
    "relax.nn.conv1d": nn.conv,
    "relax.nn.conv2d": nn.conv,
    "relax.nn.conv2d_transpose": nn.conv2d_transpose,
    "relax.nn.max_pool2d": nn.max_pool2d,
    "relax.nn.avg_pool2d": nn.avg_pool2d,
    "relax.nn.adaptive_avg_pool2d": nn.adaptive_avg_pool2d,
    "relax.nn.pad": nn.pad,
    "relax.nn.attention": nn.attention,
    "relax.nn.attention_bias": nn.attention,
    "relax.nn.pixel_shuffle": lambda attrs, x: F.pixel_shuffle(x, attrs.upscale_factor),
    "relax.reshape": lambda attrs, x, shape: x.reshape(shape),
    "relax.broadcast_to": lambda attrs, x, shape: x.expand(shape),
    "relax.flatten": _unary(torch.flatten),
    "relax.permute_dims": _permute,
    "relax.expand_dims": _expand_dims,
    "relax.squeeze": _squeeze,
    "relax.concat": _concat,
    "relax.stack": _stack,
    "relax.split": _split,
    "relax.strided_slice": _strided_slice,
    "relax.take": _take,
    "relax.full_like": _full_like,
    "relax.full": _full,
    "relax.quantize": _quantize,
    "relax.dequantize": _dequantize,
}
