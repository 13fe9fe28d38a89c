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

from ..ir.recurrent import NAME as RECURRENT
from . import operators_nn as nn
from . import operators_recurrent as recurrent
from . import operators_reductions as reductions
from . import operators_shapes as shapes
from . import operators_windows as windows
from .attributes import torch_type
from .operators_nn import broadcast

Operator = Callable[..., Any]


def _unary(function: Operator) -> Operator:
    return lambda attrs, x: function(x)


def _binary(function: Operator) -> Operator:
    return lambda attrs, a, b: function(a, b)


def _sign(attrs: Any, x: Tensor) -> Tensor:
    """Give the sign; of NaN, NaN."""
    return torch.where(torch.isnan(x), x, torch.sign(x))


def _divide(attrs: Any, a: Tensor, b: Tensor) -> Tensor:
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def _clip(attrs: Any, x: Tensor, low: float, high: float) -> Tensor:
    if not x.is_floating_point():
        limits = torch.iinfo(x.dtype)
        low, high = (int(min(max(bound, limits.min), limits.max)) for bound in (low, high))
    return torch.clamp(x, low, high)


def _matmul(attrs: Any, a: Tensor, b: Tensor) -> Tensor:
    dtype = torch_type(attrs.out_dtype) if attrs.out_dtype else a.dtype
    return torch.matmul(a.to(dtype), b.to(dtype))


def _astype(attrs: Any, x: Tensor) -> Tensor:
    return x.to(torch_type(attrs.dtype))


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


_UNARY: dict[str, Operator] = {
    name: getattr(torch, name)
    for name in [
        *("abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "ceil", "cos", "cosh", "erf"),
        *("exp", "floor", "isfinite", "isinf", "isnan", "log", "logical_not", "negative", "round"),
        *("rsqrt", "sigmoid", "sin", "sinh", "sqrt", "square", "tan", "tanh", "trunc"),
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
    "bitwise_or": torch.bitwise_or,
    "bitwise_xor": torch.bitwise_xor,
    "left_shift": torch.bitwise_left_shift,
    "right_shift": torch.bitwise_right_shift,
    "atan2": torch.atan2,
    "log_add_exp": torch.logaddexp,
    "outer": torch.outer,
}
_REDUCE: dict[str, Operator] = {
    "sum": reductions.reduce(reductions.total),
    "mean": reductions.reduce(reductions.mean),
    "prod": reductions.reduce(reductions.product),
    "max": reductions.reduce(reductions.largest),
    "min": reductions.reduce(reductions.smallest),
    "variance": reductions.reduce(reductions.variance, integers=False),
    "std": reductions.reduce(reductions.deviation, integers=False),
    "argmax": reductions.extremum_at(torch.argmax),
    "argmin": reductions.extremum_at(torch.argmin),
    "cumsum": reductions.scan(torch.cumsum, 0),
    "cumprod": reductions.scan(torch.cumprod, 1),
    "sort": reductions.sort,
    "argsort": reductions.argsort,
    "topk": reductions.topk,
}
_SHAPES: dict[str, Operator] = {
    "reshape": lambda attrs, x, shape: x.reshape(shape),
    "broadcast_to": lambda attrs, x, shape: x.expand(shape),
    "flatten": _unary(torch.flatten),
    "permute_dims": shapes.permute,
    "expand_dims": shapes.expand_dims,
    "squeeze": shapes.squeeze,
    "concat": shapes.concat,
    "stack": shapes.stack,
    "split": shapes.split,
    "strided_slice": shapes.strided_slice,
    "flip": shapes.flip,
    "tile": shapes.tile,
    "repeat": shapes.repeat,
    "meshgrid": shapes.meshgrid,
    "full": shapes.full,
    "full_like": shapes.full_like,
    "zeros": shapes.zeros,
    "ones": shapes.ones,
    "arange": shapes.arange,
    "tril": shapes.tril,
    "triu": shapes.triu,
    "take": shapes.take,
    "gather_elements": shapes.gather_elements,
    "index_tensor": shapes.index_tensor,
}
_WINDOWS: dict[str, Operator] = {
    **{f"conv{rank}d": windows.conv for rank in (1, 2, 3)},
    **{f"conv{rank}d_transpose": windows.conv_transpose for rank in (1, 2, 3)},
    **{f"max_pool{rank}d": windows.max_pool for rank in (1, 2, 3)},
    **{f"avg_pool{rank}d": windows.avg_pool for rank in (1, 2, 3)},
    **{f"adaptive_avg_pool{rank}d": windows.adaptive_avg_pool for rank in (1, 2, 3)},
    "pad": windows.pad,
}

TABLE: dict[str, Operator] = {
    **{f"relax.{name}": _unary(function) for name, function in _UNARY.items()},
    **{f"relax.{name}": _binary(function) for name, function in _BINARY.items()},
    **{f"relax.{name}": function for name, function in {**_REDUCE, **_SHAPES}.items()},
    **{f"relax.nn.{name}": function for name, function in _WINDOWS.items()},
    "relax.divide": _divide,
    "relax.matmul": _matmul,
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
    "relax.nn.instance_norm": nn.instance_norm,
    "relax.nn.attention": nn.attention,
    "relax.nn.attention_bias": nn.attention,
    "relax.nn.pixel_shuffle": lambda attrs, x: F.pixel_shuffle(x, attrs.upscale_factor),
    "relax.bitwise_not": _unary(torch.bitwise_not),
    "relax.sign": _sign,
    "relax.einsum": lambda attrs, parts: torch.einsum(attrs.subscripts, *parts),
    "relax.quantize": _quantize,
    "relax.dequantize": _dequantize,
    RECURRENT: recurrent.recurrent,
}
