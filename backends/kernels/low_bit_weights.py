"""Weights of 8 or 4 bits under float activations, as kernels read them.

Values of 8 bits are int8. Of 4 bits, eight neighbours along the depth share a word of uint32, the
first in its lowest bits, so that two shifts give a vector of values. Where groups of features have
scales of their own, values are multiplied by them as they are read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tvm import te
from tvm.tirx import Expr, reinterpret

WORDS = "uint32"
VALUES_IN_WORD = 8
_WORD_BITS, _BITS = 32, 4


def depth_of(weight: te.Tensor) -> int:
    """How many values of a packed weight lie side by side along its last axis."""
    return int(weight.shape[-1]) * (VALUES_IN_WORD if weight.dtype == WORDS else 1)


def value_at(weight: te.Tensor, index: Sequence[Expr], to_sum: Callable[[Expr], Expr]) -> Expr:
    """What a packed weight holds at `index`, in the type of the sums."""
    if weight.dtype != WORDS:
        return to_sum(weight(*index))
    *lead, depth = index
    to_top = (_WORD_BITS - _BITS - depth * _BITS).astype(WORDS)
    at_top = reinterpret("int32", weight(*lead, 0) << to_top)
    return to_sum(at_top >> _WORD_BITS - _BITS)


def scaled(
    value: Expr, scales: te.Tensor | None, group_size: int | None, c: Expr, feature: Expr
) -> Expr:
    """A quantized value of output `c` times the scale of the group that holds `feature`."""
    if scales is None:
        return value
    lanes = int(scales.shape[-1])
    return value * scales[c // lanes, feature // group_size, c % lanes]
