"""Slots: indices along the axes of weights, tied into those that live or go together."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax

Axis = np.ndarray | None
Axes = tuple[Axis, ...]
"""For each axis of a tensor its slots, or None where nothing can be removed."""

UNFOLLOWED = "reads a tensor whose channels are not followed"


@dataclass(frozen=True, eq=False)
class AxisSplit:
    """A reshape that split a followed axis into several; `key` is the same for similar ones."""

    key: tuple[Any, ...]
    options: tuple[int, ...]
    slots: np.ndarray


class Slots:
    """Union-find over slots: indices along the axes of weights that live or go together.

    `choices` says which of the new axes each kind of reshape keeps, the first by default;
    `shuffles` holds the reshapes that begin a channel shuffle.
    """

    def __init__(
        self,
        choices: Mapping[tuple[Any, ...], int] | None = None,
        shuffles: Collection[relax.Expr] = (),
    ):
        self._parent: list[int] = []
        self._pinned: dict[int, str] = {}
        self._choices, self._shuffles = choices or {}, shuffles
        self.axis_splits: list[AxisSplit] = []

    def new_slots(self, shape: Sequence[int]) -> Axes:
        """Make new slots for every axis of a tensor longer than 1."""
        axes: list[Axis] = []
        for size in shape:
            start = len(self._parent)
            self._parent.extend(range(start, start + (size if size > 1 else 0)))
            axes.append(np.arange(start, start + size) if size > 1 else None)
        return tuple(axes)

    def root(self, slot: int) -> int:
        """Return the one slot that stands for all that are tied to this one."""
        while self._parent[slot] != slot:
            self._parent[slot] = self._parent[self._parent[slot]]
            slot = self._parent[slot]
        return slot

    def roots(self, axis: np.ndarray) -> np.ndarray:
        """Return the root of every slot of an axis."""
        return np.array([self.root(int(slot)) for slot in axis])

    def tie(self, one: Axis, other: Axis, why: str) -> Axis:
        """Tie two axes index by index; where only one is known, pin it."""
        if one is None or other is None:
            self.pin((one, other), why)
            return one if other is None else other
        for a, b in zip(one, other, strict=True):
            self._tie(self.root(int(a)), self.root(int(b)))
        return one

    def _tie(self, a: int, b: int) -> None:
        if a != b:
            self._parent[b] = a
            if b in self._pinned:
                self._pinned.setdefault(a, self._pinned.pop(b))

    def tie_rows(self, axis: np.ndarray, rows: int, *, across: bool = False) -> np.ndarray:
        """Tie each of `rows` equal runs of an axis within itself; return one slot for each.

        `across`: tie the same position of every run instead; return one slot for each position.
        """
        grid = axis.reshape(rows, -1).T if across else axis.reshape(rows, -1)
        for row in grid:
            self.tie(np.broadcast_to(row[:1], row[1:].shape), row[1:], "")
        return grid[:, 0]

    def choose(self, call: relax.Expr, sizes: tuple[int, ...], slots: np.ndarray) -> int:
        """Choose which axis of a grid of slots carries on, and remember that it was a choice."""
        shuffled = call in self._shuffles
        likely = (len(sizes) - 1, 0) if shuffled else (len(sizes) - 2, 0, len(sizes) - 1)
        split_axis = AxisSplit((*sizes, shuffled), tuple(dict.fromkeys(likely)), slots)
        self.axis_splits.append(split_axis)
        return split_axis.options[self._choices.get(split_axis.key, 0)]

    def pin(self, axes: Sequence[Axis], why: str) -> None:
        """Forbid the removal of these slots, for the first reason given."""
        for axis in axes:
            for slot in () if axis is None else axis:
                self._pinned.setdefault(self.root(int(slot)), why)

    def why_pinned(self, root: int) -> str | None:
        """Return the reason why a slot must stay, or None."""
        return self._pinned.get(root)

    def any_pinned(self, slots: np.ndarray) -> bool:
        """Whether one of these slots must stay."""
        return any(self.root(int(slot)) in self._pinned for slot in slots.flat)

    def all_pinned(self, slots: np.ndarray) -> bool:
        """Whether all of these slots must stay."""
        return all(self.root(int(slot)) in self._pinned for slot in slots.flat)
