"""Slots: indices along the axes of weights, tied into those that live or go together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Axis = np.ndarray | None
Axes = tuple[Axis, ...]
"""For each axis of a tensor its slots, or None where nothing can be removed."""


class Slots:
    """Union-find over slots: indices along the axes of weights that live or go together."""

    def __init__(self) -> None:
        self._parent: list[int] = []
        self._pinned: dict[int, str] = {}

    def fresh(self, shape: Sequence[int]) -> Axes:
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

    def pin(self, axes: Sequence[Axis], why: str) -> None:
        """Forbid the removal of these slots, for the first reason given."""
        for axis in axes:
            for slot in () if axis is None else axis:
                self._pinned.setdefault(self.root(int(slot)), why)

    def why_pinned(self, root: int) -> str | None:
        """Return the reason why a slot must stay, or None."""
        return self._pinned.get(root)
