"""The reference meaning of reductions, scans, sorting and searching, in torch (see TABLE)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .attributes import ints, torch_type

Reduction = Callable[[Tensor, tuple[int, ...], bool], Tensor]


def reduce(function: Reduction, *, integers: bool = True) -> Callable[..., Tensor | None]:
    """A reduction over `axis`, all axes where that is None; the type stays."""

    def reduced(attrs: Any, x: Tensor) -> Tensor | None:
        if not integers and not x.is_floating_point():
            return None
        axes = tuple(range(x.ndim)) if attrs.axis is None else ints(attrs.axis)
        if not axes:  # a number, or no axis: each value by itself
            return function(x.unsqueeze(-1), (-1,), False)
        return function(x, axes, bool(attrs.keepdims))

    return reduced


def total(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    """Add up."""
    return torch.sum(x, dim=axes, keepdim=keep, dtype=x.dtype)


def mean(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    """Average; of integers towards zero."""
    if x.is_floating_point():
        return torch.mean(x, dim=axes, keepdim=keep)
    count = math.prod(x.shape[axis] for axis in axes)
    return torch.div(total(x, axes, keep), count, rounding_mode="trunc")


def product(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    """Multiply all."""
    for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
        x = torch.prod(x, dim=axis, keepdim=keep, dtype=x.dtype)
    return x


def largest(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    """Take the largest."""
    return torch.amax(x, dim=axes, keepdim=keep)


def smallest(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    """Take the smallest."""
    return torch.amin(x, dim=axes, keepdim=keep)


def variance(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    """Average the squared distance from the mean."""
    return torch.var(x, dim=axes, keepdim=keep, correction=0)


def deviation(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    """Take the square root of the variance."""
    return torch.std(x, dim=axes, keepdim=keep, correction=0)


def extremum_at(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The index of the largest or smallest value, int64; the first of equal ones."""

    def found(attrs: Any, x: Tensor) -> Tensor:
        if attrs.axis is None:
            at = function(x.flatten(), dim=0)
            return at.reshape((1,) * x.ndim) if attrs.keepdims else at
        return function(x, dim=int(attrs.axis), keepdim=bool(attrs.keepdims))

    return found


def scan(function: Callable[..., Tensor], start: int) -> Callable[..., Tensor]:
    """Sums or products of all before and, unless exclusive, of the value itself."""

    def scanned(attrs: Any, x: Tensor) -> Tensor:
        axis = 0 if attrs.axis is None else int(attrs.axis)
        x = x.flatten() if attrs.axis is None else x
        dtype = x.dtype if attrs.dtype is None else torch_type(attrs.dtype)
        if attrs.exclusive:
            first = torch.full_like(x.narrow(axis, 0, 1), start)
            x = torch.cat([first, x.narrow(axis, 0, x.shape[axis] - 1)], dim=axis)
        return function(x, dim=axis, dtype=dtype)

    return scanned


def sort(attrs: Any, x: Tensor) -> Tensor:
    """Sort along an axis."""
    return torch.sort(x, dim=int(attrs.axis), descending=bool(attrs.descending), stable=True)[0]


def argsort(attrs: Any, x: Tensor) -> Tensor:
    """Give the indices that sort; equal values keep their order."""
    order = torch.argsort(x, dim=int(attrs.axis), descending=bool(attrs.descending), stable=True)
    return order.to(torch_type(attrs.dtype))


def topk(attrs: Any, x: Tensor) -> Any:
    """Give the k largest or smallest in order, their indices, or both."""
    order = torch.argsort(
        x, dim=int(attrs.axis), descending=bool(attrs.largest), stable=True
    ).narrow(int(attrs.axis), 0, int(attrs.k))
    values, indices = torch.gather(x, int(attrs.axis), order), order.to(torch_type(attrs.dtype))
    return {"both": (values, indices), "values": values, "indices": indices}[attrs.ret_type]
