"""The reference meaning of norms, activations and attention, in torch (see TABLE)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .attributes import ints, per_axis


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
    axes = sorted(axis % x.ndim for axis in ints(attrs.axes))
    if attrs.channel_axis % x.ndim != 1 or axes != list(range(2, x.ndim)):
        return None
    return F.group_norm(x, attrs.num_groups, gamma, beta, attrs.epsilon)


def broadcast(value: Tensor, x: Tensor, axis: int) -> Tensor:
    """Shape a value of one element, or of one for each index of an axis, for x."""
    return value.reshape(()) if value.numel() == 1 else per_axis(value, x, (axis,))


def prelu(attrs: Any, x: Tensor, slope: Tensor) -> Tensor:
    """Scale negative values by a slope for each channel, or by one."""
    return torch.where(x > 0, x, x * broadcast(slope, x, attrs.axis))


def softplus(attrs: Any, x: Tensor) -> Tensor:
    """Compute log(1 + exp(beta x)) / beta."""
    return F.softplus(x, attrs.beta, attrs.threshold)


def instance_norm(attrs: Any, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """Normalize over `axes`, then scale and shift each channel."""
    axes, channel = ints(attrs.axes), (int(attrs.channel_axis),)
    centred = x - x.mean(dim=axes, keepdim=True)
    y = centred * torch.rsqrt(centred.square().mean(dim=axes, keepdim=True) + attrs.epsilon)
    y = y * per_axis(gamma, x, channel) if attrs.scale else y
    return y + per_axis(beta, x, channel) if attrs.center else y


def attention(attrs: Any, q: Tensor, k: Tensor, v: Tensor, *bias: Tensor) -> Tensor | None:
    """Attend with q, k, v in (batch, length, heads, width)."""
    if attrs.window_size is not None:
        return None
    scale = q.shape[-1] ** -0.5 if attrs.scale is None else float(attrs.scale)
    scores = scale * torch.einsum("bsnh,btnh->bnst", q, k)
    scores = scores + bias[0] if bias else scores
    if attrs.causal_mask is not None:
        later = k.shape[1] - q.shape[1] if attrs.causal_mask == "BottomRight" else 0
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril(later)
        scores = scores.masked_fill(~seen, float("-inf"))
    return torch.einsum("bnst,btnh->bsnh", torch.softmax(scores, -1), v)
