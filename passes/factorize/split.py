"""The decision to split a layer: the parts that take its place, what they cost and lose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np

from ...ir.layers import Layer


@dataclass(frozen=True, kw_only=True)
class Part:
    """One of the layers that take a layer's place; `shape` is its weight's as stored.

    Padding is that before each axis, then that behind each. A dense part has a shape alone.
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...] = (1, 1)
    padding: tuple[int, ...] = (0, 0, 0, 0)
    dilation: tuple[int, ...] = (1, 1)
    groups: int = 1

    def output_places(self, places: tuple[int, ...]) -> tuple[int, ...]:
        """The extents of what it gives for an input of those extents."""
        if len(self.shape) == 2:
            return places
        half = len(places)
        around = [a + b for a, b in zip(self.padding[:half], self.padding[half:], strict=True)]
        sizes = zip(places, around, self.shape[2:], self.strides, self.dilation, strict=True)
        return tuple((at + pad - d * (k - 1) - 1) // s + 1 for at, pad, k, s, d in sizes)


@dataclass(frozen=True, kw_only=True)
class Split:
    """A layer to be split; `ranks` are the channels between the parts, where they are reduced.

    `whole_ms` and `parts_ms` are a call's time, of the layer alone, where it was measured.
    `factors` are the parts' weights as stored. The last `branches` parts read the same tensor, and
    their outputs are concatenated.
    """

    layer: str
    form: str
    branches: int = 1
    ranks: tuple[int, ...]
    full_ranks: tuple[int, ...]
    error_ratio: float
    macs_count_before: int
    macs_count_after: int
    whole_ms: float | None = None
    parts_ms: float | None = None
    parts: tuple[Part, ...]
    factors: tuple[np.ndarray, ...] = field(repr=False, compare=False)

    def describe(self) -> str:
        """Say in one line what the layer is split into."""
        timed = ""
        if self.whole_ms is not None:
            timed = f", {self.whole_ms:.4g} -> {self.parts_ms:.4g} ms for the layer alone"
        return (
            f"{self.layer}: {self.form}, {len(self.parts)} parts, {self.describe_ranks()}, "
            f"{self.macs_count_before:,} -> {self.macs_count_after:,} MACs, "
            f"error {self.error_ratio:.1%}{timed}"
        )

    def describe_ranks(self) -> str:
        """Say how many channels are left between the parts."""
        pairs = zip(self.ranks, self.full_ranks, strict=True)
        return (
            f"rank {', '.join(f'{r} of {full}' for r, full in pairs)}"
            if self.ranks
            else "full rank"
        )

    def output_branches(self) -> tuple[tuple[str, slice], ...]:
        """The parts that give the layer's outputs, and which of the outputs each gives."""
        if self.branches == 1:
            return ((self.names()[-1], slice(None)),)
        ends = np.cumsum([part.shape[0] for part in self.parts[-self.branches :]])
        starts = [0, *ends[:-1]]
        shares = (slice(int(a), int(b)) for a, b in zip(starts, ends, strict=True))
        return tuple(zip(self.names()[-self.branches :], shares, strict=True))

    def names(self) -> tuple[str, ...]:
        """The names of the parts' layers."""
        return tuple(f"{self.layer}.{i}" for i in range(len(self.parts)))


def parts_macs_count(layer: Layer, parts: Sequence[Part], branches: int = 1) -> int:
    """Count the multiply-adds of one run of a layer's parts."""
    if layer.kind == "dense":
        rows = prod(layer.output_shape[:-1])
        return rows * sum(prod(part.shape) for part in parts)
    places, total = layer.input_shape[2:], 0
    for i, part in enumerate(parts):
        given = part.output_places(places)
        total += prod(part.shape) * prod(given)
        if i < len(parts) - branches:
            places = given
    return layer.output_shape[0] * total
