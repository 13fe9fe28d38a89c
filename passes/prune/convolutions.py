"""How convolutions carry channels from what they read and their weight to what they give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tvm import relax

from ...ir.convolutions import kind_of
from ...ir.graph import shape_of
from .slots import UNFOLLOWED, Axes, Axis, Slots

_MOVES = "a convolution moves over it"


def tie_convolution(slots: Slots, call: relax.Call, args: Sequence[Any]) -> Axes:
    """Tie what a convolution reads to its weight; see `_tie_groups` for grouped ones."""
    (_, channels, *places), (out, per_group, *kernel) = args[0], args[1]
    slots.pin((*places, *kernel), _MOVES)
    if int(call.attrs.groups) == 1:
        slots.tie(channels, per_group, UNFOLLOWED)
    else:
        _tie_groups(slots, call, channels, out, per_group)
    return (None, out, *[None] * len(places))


def _tie_groups(slots: Slots, call: relax.Call, channels: Axis, out: Axis, per_group: Axis) -> None:
    """Tie whole groups, or the same channel of every group: whichever leaves more to choose from.

    Whole groups: what group i reads and gives goes at once, and the convolution has fewer groups.
    The same channel of every group: the groups stay, each with fewer inputs or outputs.
    """
    groups, c_in = int(call.attrs.groups), shape_of(call.args[1])[1]
    c_out = shape_of(call)[1] // groups
    free = channels is not None and not slots.any_pinned(channels)
    if c_in == c_out == 1 or (free and (c_in == 1 or groups >= max(c_in, c_out))):
        first = None if channels is None else slots.tie_rows(channels, groups)
        given = None if out is None else slots.tie_rows(out, groups)
        slots.tie(first, given, UNFOLLOWED)
        return
    inputs = None if channels is None else slots.tie_rows(channels, groups, across=True)
    slots.tie(inputs, per_group, UNFOLLOWED)
    if out is not None:
        slots.tie_rows(out, groups, across=True)


def tie_transposed(slots: Slots, call: relax.Call, args: Sequence[Any]) -> Axes:
    """Tie what a transposed convolution reads to its weight (c_in, c_out / groups, *kernel).

    A depthwise one is fewer groups with each channel that goes; of a grouped one goes the same
    channel of every group.
    """
    (_, channels, *places), (into, per_group, *kernel) = args[0], args[1]
    groups, rest = int(call.attrs.groups), [None] * len(places)
    slots.pin((*places, *kernel), _MOVES)
    slots.tie(channels, into, UNFOLLOWED)
    if groups == 1:
        return (None, per_group, *rest)
    if kind_of(call) == "depthwise":
        return (None, into, *rest)
    if into is not None:
        slots.tie_rows(into, groups, across=True)
    return (None, None if per_group is None else np.tile(per_group, groups), *rest)
