"""Weights of 8 or 4 bits under float activations, as kernels read them.

Levels of 8 bits are int8. Of 4 bits, two neighbours along the depth share a byte of uint8, level + 8
in each half, the first in the low one; so the depth of what is stored is half. Where groups of
features have scales of their own, levels are multiplied by them as they are read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tvm import te
from tvm.tirx import Expr

HALVES = "uint8"
_BITS, _OFFSET = 4, 8


def depth_of(weight: te.Tensor) -> int:
    """How many values of a packed weight lie side by side along its last axis."""
    return int(weight.shape[-1]) * (2 if weight.dtype == HALVES else 1)


def value_at(weight: te.Tensor, index: Sequence[Expr], to_sum: Callable[[Expr], Expr]) -> Expr:
    """What a packed weight holds at `index`, in the type of the sums."""
    if weight.dtype != HALVES:
        return to_sum(weight(*index))
    *lead, depth = index
    byte = weight(*lead, 0).astype("int32")
    return to_sum((byte >> depth * _BITS & 2**_BITS - 1) - _OFFSET)


def scaled(
    value: Expr, scales: te.Tensor | None, group_size: int | None, c: Expr, feature: Expr
) -> Expr:
    """A level of output `c` times the scale of the group that holds `feature`."""
    if scales is None:
        return value
    lanes = int(scales.shape[-1])
    return value * scales[c // lanes, feature // group_size, c % lanes]
