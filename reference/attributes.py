"""What operators' attributes are in Python and torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def ints(values: Any) -> tuple[int, ...]:
    """Read an attribute that lists integers."""
    return tuple(int(value) for value in values)


def torch_type(dtype: Any) -> torch.dtype:
    """Return the torch type of a TVM type name."""
    found = getattr(torch, str(dtype))
    assert isinstance(found, torch.dtype), dtype
    return found


def per_axis(value: Tensor, x: Tensor, axes: Sequence[int]) -> Tensor:
    """Shape a tensor that has `axes` alone so that it broadcasts over x."""
    wanted = {axis % x.ndim for axis in axes}
    return value.reshape([x.shape[i] if i in wanted else 1 for i in range(x.ndim)])
