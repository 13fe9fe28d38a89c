"""The reference meaning of the operators with weights, windows or norms, in torch (see TABLE)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def ints(values: Any) -> tuple[int, ...]:
    """Read an attribute that lists integers."""
    return tuple(int(value) for value in values)


def per_axis(value: Tensor, x: Tensor, axes: Sequence[int]) -> Tensor:
    """Shape a tensor that has `axes` alone so that it broadcasts over x."""
    wanted = {axis % x.ndim for axis in axes}
    return value.reshape([x.shape[i] if i in wanted else 1 for i in range(x.ndim)])


def layer_norm(attrs: Any, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """Normalize over `axes`, then scale and shift."""
    axes = ints(attrs.axes)
    centred = x - x.mean(dim=axes, keepdim=True)
    y = centred * torch.rsqrt(centred.square().mean(dim=axes, keepdim=True) + attrs.epsilon)
    y = y * per_axis(gamma, x, axes) if attrs.scale else y
    return y + per_axis(beta, x, axes) if attrs.center else y


def rms_norm(attrs: Any, x: Tensor, gamma: Tensor) -> Tensor:
    """Divide by the root mean square over `axes`, then scale."""
    axes = ints(attrs.axes)
    y = x * torch.rsqrt(x.square().mean(dim=axes, keepdim=True) + attrs.epsilon)
    return y * per_axis(gamma, x, axes)


def group_norm(attrs: Any, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor | None:
    """Normalize over groups of channels and the places behind them."""
    if attrs.channel_axis != 1 or ints(attrs.axes) != tuple(range(2, x.ndim)):
        return None
    return F.group_norm(x, attrs.num_groups, gamma, beta, attrs.epsilon)


def prelu(attrs: Any, x: Tensor, slope: Tensor) -> Tensor:
    """Scale negative values by a slope per channel."""
    return torch.where(x > 0, x, x * per_axis(slope, x, (attrs.axis,)))


def softplus(attrs: Any, x: Tensor) -> Tensor:
    """Compute log(1 + exp(beta x)) / beta."""
    return F.softplus(x, attrs.beta, attrs.threshold)


def _pad_spatial(x: Tensor, padding: Sequence[int], value: float) -> Tensor:
    """Pad the trailing axes by TVM's padding: all the starts, then all the ends."""
    half = len(padding) // 2
    pairs = [p for i in reversed(range(half)) for p in (padding[i], padding[half + i])]
    return F.pad(x, pairs, value=value) if any(pairs) else x


def conv(attrs: Any, x: Tensor, weight: Tensor) -> Tensor | None:
    """Convolve in one or two dimensions."""
    layouts = (attrs.data_layout, attrs.kernel_layout)
    if layouts not in (("NCHW", "OIHW"), ("NCW", "OIW")):
        return None
    convolve = F.conv2d if x.ndim == 4 else F.conv1d
    padding, half = ints(attrs.padding), len(attrs.padding) // 2
    if padding[:half] != padding[half:]:
        x, padding = _pad_spatial(x, padding, 0.0), (0,) * len(padding)
    stride, dilation = ints(attrs.strides), ints(attrs.dilation)
    return convolve(x, weight, None, stride, padding[:half], dilation, int(attrs.groups))


def conv2d_transpose(attrs: Any, x: Tensor, weight: Tensor) -> Tensor | None:
    """Convolve transposed."""
    padding = ints(attrs.padding)
    if (attrs.data_layout, attrs.kernel_layout) != ("NCHW", "IOHW") or padding[:2] != padding[2:]:
        return None
    return F.conv_transpose2d(
        x,
        weight,
        None,
        ints(attrs.strides),
        padding[:2],
        ints(attrs.output_padding),
        int(attrs.groups),
        ints(attrs.dilation),
    )


def max_pool2d(attrs: Any, x: Tensor) -> Tensor | None:
    """Take the largest of each window."""
    if attrs.ceil_mode or attrs.layout != "NCHW":
        return None
    x = _pad_spatial(x, ints(attrs.padding), float("-inf"))
    size, stride = ints(attrs.pool_size), ints(attrs.strides)
    return F.max_pool2d(x, size, stride, 0, ints(attrs.dilation))


def avg_pool2d(attrs: Any, x: Tensor) -> Tensor | None:
    """Take the mean of each window, padding counted or not."""
    if attrs.ceil_mode or attrs.layout != "NCHW" or ints(attrs.dilation) != (1, 1):
        return None
    size, stride, padding = (ints(v) for v in (attrs.pool_size, attrs.strides, attrs.padding))
    y = F.avg_pool2d(_pad_spatial(x, padding, 0.0), size, stride)
    if attrs.count_include_pad or not any(padding):
        return y
    inside = _pad_spatial(x.new_ones(1, 1, *x.shape[2:]), padding, 0.0)
    return y / F.avg_pool2d(inside, size, stride)


def adaptive_avg_pool2d(attrs: Any, x: Tensor) -> Tensor | None:
    """Take the means of as many windows as the output has."""
    if attrs.layout != "NCHW":
        return None
    size = x.shape[2:] if attrs.output_size is None else ints(attrs.output_size)
    return F.adaptive_avg_pool2d(x, size)


def pad(attrs: Any, x: Tensor) -> Tensor | None:
    """Pad with a constant."""
    width = ints(attrs.pad_width)
    if attrs.pad_mode != "constant":
        return None
    pairs = [p for i in reversed(range(x.ndim)) for p in width[2 * i : 2 * i + 2]]
    return F.pad(x, pairs, value=float(attrs.pad_value))


def attention(attrs: Any, q: Tensor, k: Tensor, v: Tensor, *bias: Tensor) -> Tensor | None:
    """Attend with q, k, v in (batch, length, heads, width)."""
    if attrs.causal_mask is not None or attrs.window_size is not None:
        return None
    scale = q.shape[-1] ** -0.5 if attrs.scale is None else float(attrs.scale)
    scores = scale * torch.einsum("bsnh,btnh->bnst", q, k)
    scores = scores + bias[0] if bias else scores
    return torch.einsum("bnst,btnh->bsnh", torch.softmax(scores, -1), v)
