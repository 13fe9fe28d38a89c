"""Free dimensions: the axes of inputs and outputs that differ between a library's shapes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..manifest import Signature, TensorSpec

Place = tuple[int, int]
"""Which input or output, and which of its axes."""


@dataclass(frozen=True)
class Dimension:
    """A free dimension: its extent at each shape, and the axes of inputs that have it.

    Axes whose extents are the same at every shape are one dimension.
    """

    extents: tuple[int, ...]
    places: tuple[Place, ...]


def free_dimensions(signatures: Sequence[Signature]) -> tuple[Dimension, ...]:
    """Give the dimensions of inputs that differ between shapes."""
    places: dict[tuple[int, ...], list[Place]] = {}
    for place, extents in _extents([signature.inputs for signature in signatures]):
        if len(set(extents)) > 1:
            places.setdefault(extents, []).append(place)
    return tuple(Dimension(extents, tuple(found)) for extents, found in places.items())


def output_axes(
    signatures: Sequence[Signature], dimensions: Sequence[Dimension]
) -> dict[Place, int | None]:
    """Say of each axis of an output that differs which dimension it is; None for any other."""
    by_extents = {each.extents: index for index, each in enumerate(dimensions)}
    return {
        place: by_extents.get(extents)
        for place, extents in _extents([signature.outputs for signature in signatures])
        if len(set(extents)) > 1
    }


def _extents(specs: Sequence[Sequence[TensorSpec]]) -> Iterator[tuple[Place, tuple[int, ...]]]:
    """Give each axis of each tensor, with its extents at all shapes."""
    for number, same in enumerate(zip(*specs, strict=True)):
        for axis, extents in enumerate(zip(*(spec.shape for spec in same), strict=True)):
            yield (number, axis), extents
