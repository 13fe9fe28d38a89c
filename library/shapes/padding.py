"""Inputs filled up to the next larger shape, and what comes out cut back to theirs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import InputError
from ..manifest import Signature
from ..weights import Array
from .dimensions import free_dimensions, output_axes


@dataclass(frozen=True)
class Padded:
    """Inputs of the shape `index`, and how far each output holds what was asked for."""

    index: int
    inputs: tuple[Array, ...]
    outputs: tuple[tuple[slice, ...], ...]

    def cut(self, outputs: Sequence[Array]) -> tuple[Array, ...]:
        """Cut the outputs back."""
        pairs = zip(outputs, self.outputs, strict=True)
        return tuple(np.ascontiguousarray(value[part]) for value, part in pairs)


class Padding:
    """Fills inputs of a size between two shapes with `values`, by input name."""

    def __init__(self, signatures: Sequence[Signature], values: Mapping[str, float]) -> None:
        self._signatures = signatures
        self._dimensions = free_dimensions(signatures)
        self._output_axes = output_axes(signatures, self._dimensions)
        self._values = [values.get(spec.name, 0) for spec in signatures[0].inputs]
        sizes = [sum(math.prod(s.shape) for s in each.inputs) for each in signatures]
        self._by_size = sorted(range(len(signatures)), key=sizes.__getitem__)

    def fit(self, arrays: Sequence[Array], beyond: int | None = None) -> Padded | None:
        """Fill up to the smallest shape that holds the arrays, other than `beyond`, or None.

        Raises:
            InputError: arrays differ in a dimension that they share.

        """
        extents = self._extents(arrays)
        for index in self._by_size if extents is not None else ():
            if index != beyond and all(
                wanted <= each.extents[index]
                for wanted, each in zip(extents or (), self._dimensions, strict=True)
            ):
                padded = self._fill(arrays, index)
                return None if padded is None else Padded(index, padded, self._cuts(extents or ()))
        return None

    def _extents(self, arrays: Sequence[Array]) -> tuple[int, ...] | None:
        """How long the arrays are in each free dimension; None where one lacks an axis."""
        specs = self._signatures[0].inputs
        if any(a.ndim != len(s.shape) for a, s in zip(arrays, specs, strict=True)):
            return None
        found = []
        for each in self._dimensions:
            given = {specs[i].name: arrays[i].shape[axis] for i, axis in each.places}
            if len(set(given.values())) > 1:
                listed = ", ".join(f"{extent} in {name}" for name, extent in given.items())
                raise InputError(f"a dimension that the inputs share is {listed}; give the same")
            found.append(next(iter(given.values())))
        return tuple(found) if min(found, default=1) > 0 else None

    def _fill(self, arrays: Sequence[Array], index: int) -> tuple[Array, ...] | None:
        """Put each array into the beginning of a full one; None where a fixed axis differs."""
        filled, free = [], {place for each in self._dimensions for place in each.places}
        for i, (array, spec) in enumerate(zip(arrays, self._signatures[index].inputs, strict=True)):
            axes = enumerate(zip(array.shape, spec.shape, strict=True))
            if array.dtype != spec.dtype or any(
                ours != theirs and (i, axis) not in free for axis, (ours, theirs) in axes
            ):
                return None
            full = np.full(spec.shape, self._values[i], array.dtype)
            full[tuple(map(slice, array.shape))] = array
            filled.append(full)
        return tuple(filled)

    def _cuts(self, extents: Sequence[int]) -> tuple[tuple[slice, ...], ...]:
        cuts = []
        for number, spec in enumerate(self._signatures[0].outputs):
            named = (self._output_axes.get((number, axis)) for axis in range(len(spec.shape)))
            cuts.append(tuple(slice(None if d is None else extents[d]) for d in named))
        return tuple(cuts)
