"""The reference meaning of what makes, moves, cuts, joins and looks up values (see TABLE)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .attributes import ints, torch_type


def permute(attrs: Any, x: Tensor) -> Tensor:
    """Permute the axes, or reverse them."""
    return x.permute(ints(attrs.axes) if attrs.axes is not None else tuple(range(x.ndim))[::-1])


def expand_dims(attrs: Any, x: Tensor) -> Tensor:
    """Insert axes of one element."""
    final = x.ndim + len(attrs.axis)
    for axis in sorted(int(a) % final for a in attrs.axis):
        x = x.unsqueeze(axis)
    return x


def squeeze(attrs: Any, x: Tensor) -> Tensor:
    """Drop axes of one element."""
    return x.squeeze() if attrs.axis is None else x.squeeze(ints(attrs.axis))


def concat(attrs: Any, parts: tuple[Tensor, ...]) -> Tensor:
    """Join along an axis; along none, each is flattened first."""
    if attrs.axis is None:
        return torch.cat([part.flatten() for part in parts])
    return torch.cat(parts, dim=int(attrs.axis))


def stack(attrs: Any, parts: tuple[Tensor, ...]) -> Tensor:
    """Join along a new axis."""
    return torch.stack(parts, dim=int(attrs.axis or 0))


def split(attrs: Any, x: Tensor) -> Tensor | tuple[Tensor, ...]:
    """Cut at indices, or into pieces of one size, the last smaller where that does not fit.

    One piece is no tuple: so the IR's types have it.
    """
    cuts, axis = attrs.indices_or_sections, int(attrs.axis)
    if hasattr(cuts, "value"):
        pieces = torch.split(x, -(-x.shape[axis] // int(cuts)), dim=axis)
    else:
        pieces = torch.tensor_split(x, list(ints(cuts)), dim=axis)
    return x if len(pieces) == 1 else pieces


def strided_slice(
    attrs: Any, x: Tensor, axes: Any, begin: Any, end: Any, strides: Any = None
) -> Tensor:
    """Slice as Python does, backwards too."""
    for axis, start, stop, step in zip(axes, begin, end, strides or (1,) * len(axes), strict=True):
        if step > 0:
            x = x[(*(slice(None),) * (axis % x.ndim), slice(start, stop, step))]
        else:
            places = range(*slice(start, stop, step).indices(x.shape[axis]))
            x = x.index_select(axis, torch.tensor(places, dtype=torch.int64, device=x.device))
    return x


def flip(attrs: Any, x: Tensor) -> Tensor:
    """Reverse an axis."""
    return x.flip(int(attrs.axis))


def tile(attrs: Any, x: Tensor) -> Tensor:
    """Repeat the whole along each axis."""
    return x.tile(ints(attrs.repeats))


def repeat(attrs: Any, x: Tensor) -> Tensor:
    """Repeat each element."""
    axis = None if attrs.axis is None else int(attrs.axis)
    return x.repeat_interleave(int(attrs.repeats), dim=axis)


def meshgrid(attrs: Any, parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Spread vectors over a grid."""
    return torch.meshgrid(*parts, indexing=attrs.indexing)


def full_like(attrs: Any, x: Tensor, value: Tensor) -> Tensor:
    """Fill the shape of x."""
    dtype = x.dtype if attrs.dtype is None else torch_type(attrs.dtype)
    return value.to(dtype).expand(x.shape)


def full(attrs: Any, shape: tuple[int, ...], value: Tensor) -> Tensor:
    """Fill a shape."""
    dtype = value.dtype if attrs.dtype is None else torch_type(attrs.dtype)
    return value.to(dtype).expand(shape).clone()


def zeros(attrs: Any, shape: tuple[int, ...]) -> Tensor:
    """Fill a shape with zeros."""
    return torch.zeros(shape, dtype=torch_type(attrs.dtype))


def ones(attrs: Any, shape: tuple[int, ...]) -> Tensor:
    """Fill a shape with ones."""
    return torch.ones(shape, dtype=torch_type(attrs.dtype))


def arange(attrs: Any, start: float, end: float, step: float) -> Tensor:
    """Count from start, to before end."""
    return torch.arange(start, end, step, dtype=torch_type(attrs.dtype))


def tril(attrs: Any, x: Tensor, diagonal: int) -> Tensor:
    """Keep what is on a diagonal or below it."""
    return torch.tril(x, diagonal)


def triu(attrs: Any, x: Tensor, diagonal: int) -> Tensor:
    """Keep what is on a diagonal or above it."""
    return torch.triu(x, diagonal)


def take(attrs: Any, x: Tensor, indices: Tensor) -> Tensor:
    """Pick by index along an axis; what lies outside is an error, or what `mode` says."""
    axis = 0 if attrs.axis is None else int(attrs.axis) % x.ndim
    x = x.flatten() if attrs.axis is None else x
    extent, at = x.shape[axis], indices.long()
    outside = (at < 0) | (at >= extent)
    if attrs.mode == "wrap":
        at = at % extent
    elif attrs.mode in ("clip", "nan"):
        at = at.clamp(0, extent - 1)
    picked = x.movedim(axis, 0)[at]
    if attrs.mode == "nan":
        lost = outside.reshape(*outside.shape, *(1,) * (x.ndim - 1))
        picked = torch.where(lost, picked.new_full((), float("nan")), picked)
    front = tuple(range(indices.ndim))
    return picked.movedim(front, tuple(axis + i for i in front)) if front else picked


def gather_elements(attrs: Any, x: Tensor, indices: Tensor) -> Tensor:
    """Pick one element for each index along an axis."""
    axis = int(attrs.axis)
    at = indices.long()
    return torch.gather(x, axis, torch.where(at < 0, at + x.shape[axis], at))


def index_tensor(attrs: Any, x: Tensor, indices: tuple[Tensor, ...]) -> Tensor:
    """Pick by an index for each of the first axes, the indices broadcast."""
    return x[tuple(each.long() for each in indices)]
