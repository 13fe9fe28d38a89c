"""How a reshape carries channels: through merged axes, and through axes that are split.

A reshape that splits a followed axis must leave a grid: (c) → (heads, width) can lose whole heads,
or the same position of every head, not one channel alone. One of the new axes carries on, and the
slots that meet along the others are tied. (heads, width) and (3, heads, width) carry heads, the
groups of a shuffle the same channel of each, (c, h, w) channels: `Slots.choose` has the options,
and coupling.py tries them in order until nothing that follows forbids removal.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from tvm import relax

from ...ir.graph import Graph, is_call, shape_of
from .slots import Axes, Axis, Slots

RESHAPE = "relax.reshape"


def reshape(slots: Slots, call: relax.Call, args: Sequence[Any]) -> Axes:
    """Match blocks of axes of equal size; merge channels into one axis, or split them."""
    before, after = shape_of(call.args[0]), shape_of(call)
    result: list[Axis] = [None] * len(after)
    single = [axis for axis, size in zip(args[0], before, strict=True) if size == 1]
    slots.pin(single, f"reshape to {after} drops it")
    for old, new in _blocks(before, after):
        known = [i for i in old if args[0][i] is not None and not slots.all_pinned(args[0][i])]
        if not known:
            continue
        if len(known) > 1:
            slots.pin([args[0][i] for i in known], f"reshape to {after} mixes channels")
            continue
        axes = [args[0][i] if i in known else None for i in old]
        ids = _merge(axes, [before[i] for i in old])
        for i, axis in zip(new, _place(slots, call, ids, [after[i] for i in new]), strict=True):
            result[i] = axis
    return tuple(result)


def shuffles(graph: Graph) -> frozenset[relax.Expr]:
    """Find the reshapes that begin a channel shuffle: a transpose and a reshape bring x's shape."""
    found = set()
    for _, end in graph.bindings:
        flip = graph.call(end.args[0], "relax.permute_dims") if is_call(end, RESHAPE) else None
        begin = graph.call(flip.args[0], RESHAPE) if flip is not None else None
        if begin is not None and shape_of(begin.args[0]) == shape_of(end):
            found.add(begin)
    return frozenset(found)


def _blocks(
    before: Sequence[int], after: Sequence[int]
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Pair the smallest runs of old and new axes (those of size 1 aside) of equal element count."""
    old = [i for i, size in enumerate(before) if size > 1]
    new = [i for i, size in enumerate(after) if size > 1]
    blocks, i, j = [], 0, 0
    while i < len(old) and j < len(new):
        a, b = i + 1, j + 1
        while (left := prod(before[k] for k in old[i:a])) != (
            right := prod(after[k] for k in new[j:b])
        ):
            a, b = (a + 1, b) if left < right else (a, b + 1)
        blocks.append((tuple(old[i:a]), tuple(new[j:b])))
        i, j = a, b
    return blocks


def _merge(axes: Sequence[Axis], sizes: Sequence[int]) -> np.ndarray:
    """Give every element of a block the slot of its one known axis."""
    grid: Any = 0
    for i, axis in enumerate(axes):
        if axis is not None:
            grid = axis.reshape([-1 if k == i else 1 for k in range(len(axes))])
    return np.broadcast_to(grid, sizes).reshape(-1)


def _place(slots: Slots, call: relax.Call, ids: np.ndarray, sizes: Sequence[int]) -> Sequence[Axis]:
    """Lay a block's slots along one axis of `sizes`: the one they vary along, or the chosen one."""
    if len(sizes) == 1:
        return [ids]
    grid = slots.roots(ids).reshape(sizes)
    for i in range(len(sizes)):
        along = np.moveaxis(grid, i, 0).reshape(sizes[i], -1)
        if (along == along[:, :1]).all():
            return [along[:, 0] if k == i else None for k in range(len(sizes))]
    chosen = slots.choose(call, tuple(sizes), grid)
    axis = slots.tie_rows(np.moveaxis(grid, chosen, 0).reshape(-1), sizes[chosen])
    return [axis if k == chosen else None for k in range(len(sizes))]
