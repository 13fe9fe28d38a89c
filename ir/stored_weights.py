"""How a narrow weight is stored, and how a layer that computes in floats reads it in the IR.

8 bits, a scale for each output   dequantize(w8, scale, 0, axis), w8 as the layer has its weight
By groups of `size` features      dequantize(rows, scale, 0, 0), reshaped to (O, G * size), cut to
                                  (O, F), and shaped as the layer reads it
                                  rows int8 (O * G, size), scale (O * G,)
4 bits                            the same of rows = astype(concat(p & 15, p >> 4), int8) - 8
                                  p uint8 (O * G, size / 2), level + 8 in each half of a byte

The last group is filled up with zeros. With one group for all of an output's features, G is 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from tvm import relax

from ..errors import PassError
from .graph import shape_of, variables
from .layers import Layer
from .model import Model
from .rewrite import Body

_BITS, _OFFSET = 4, 8


@dataclass(frozen=True, kw_only=True)
class Grid:
    """`bits` a weight; `group_size` features share a scale (None: all of an output's)."""

    bits: int = 8
    group_size: int | None = None

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 8:
            raise PassError(f"weights of {self.bits} bits; choose 2 to 8")
        if self.group_size is not None and self.group_size < 1:
            raise PassError(f"groups of {self.group_size} features; choose 1 or more")

    @property
    def limit(self) -> int:
        """The largest level."""
        return int(2 ** (self.bits - 1) - 1)

    def grouped(self, values: np.ndarray) -> np.ndarray:
        """Cut the last axis: (..., F) becomes (..., groups, group_size), zeros behind."""
        size = self.group_size or values.shape[-1]
        missing = -values.shape[-1] % size
        padded = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, missing)])
        return padded.reshape(*values.shape[:-1], -1, size)

    def spread(self, scales: np.ndarray, features: int) -> np.ndarray:
        """Give each feature its group's scale: (..., groups) becomes (..., F)."""
        return np.repeat(scales, self.group_size or features, axis=-1)[..., :features]


def is_plain(grid: Grid) -> bool:
    """Whether levels are stored as the layer has its weight."""
    return grid.bits > _BITS and grid.group_size is None


def packed(levels: np.ndarray, grid: Grid) -> np.ndarray:
    """Store levels (O, F) in rows of a group each, two levels a byte where they have 4 bits."""
    rows = grid.grouped(levels).reshape(-1, grid.group_size or levels.shape[-1])
    if grid.bits > _BITS:
        return np.ascontiguousarray(rows)
    shifted = (np.pad(rows, [(0, 0), (0, rows.shape[1] % 2)]) + _OFFSET).astype(np.uint8)
    low, high = np.split(shifted, 2, axis=1)
    return low | high << _BITS


def levels_of(stored: np.ndarray, outputs: int, features: int) -> np.ndarray:
    """The levels (O, F), int8, of which `packed` made `stored`."""
    if stored.dtype == np.uint8:
        halves = np.concatenate([stored & 15, stored >> _BITS], axis=1)
        stored = halves.astype(np.int8) - np.int8(_OFFSET)
    return stored.reshape(outputs, -1)[:, :features]


def read(body: Body, layer: Layer, grid: Grid) -> relax.Var:
    """Emit the real weight of a layer, in the shape that it had, and give its variable."""
    stored, scale = body.weight(layer.weight), body.weight(f"{layer.weight}_scale")
    name, zero = stored.name, relax.const(0, "int8")

    def real(levels: relax.Expr, axis: int) -> relax.Var:
        return body.emit(relax.op.dequantize(levels, scale, zero, axis), f"{name}_dq")

    if is_plain(grid):
        return real(stored, layer.output_axis)
    rows = real(stored if grid.bits > _BITS else _unpacked(body, stored), 0)
    outputs = layer.weight_shape[layer.output_axis]
    features = int(np.prod(layer.weight_shape)) // outputs
    whole = body.emit(relax.op.reshape(rows, (outputs, -1)), f"{name}_rows")
    if shape_of(whole)[1] > features:
        cut = relax.op.strided_slice(whole, axes=[1], begin=[0], end=[features])
        whole = body.emit(cut, f"{name}_cut")
    if layer.kind == "dense":
        return whole if layer.transposed else body.emit(relax.op.permute_dims(whole), f"{name}_t")
    return body.emit(relax.op.reshape(whole, layer.weight_shape), f"{name}_real")


def _unpacked(body: Body, stored: relax.Var) -> relax.Var:
    """Levels int8 (rows, size) of two in each byte: the first half of a row in the low bits."""
    name = stored.name
    low = body.emit(relax.op.bitwise_and(stored, relax.const(15, "uint8")), f"{name}_low")
    high = body.emit(relax.op.right_shift(stored, relax.const(_BITS, "uint8")), f"{name}_high")
    both = body.emit(relax.op.concat([low, high], axis=1), f"{name}_both")
    shifted = body.emit(relax.op.astype(both, "int8"), f"{name}_shifted")
    return body.emit(relax.op.subtract(shifted, relax.const(_OFFSET, "int8")), f"{name}_levels")


class ReadNarrow:
    """Rewrites bindings: each chosen weight is widened once, where it is first read."""

    def __init__(self, model: Model, chosen: Mapping[str, Layer], grids: Mapping[str, Grid]):
        variable = model.weight_vars()
        self._waiting = {variable[name]: (chosen[name], grids[name]) for name in chosen}

    def __call__(self, body: Body, var: relax.Var, value: relax.Expr) -> relax.Expr:
        """Return a binding's value over the widened weights."""
        for old in variables(value):
            if old in self._waiting:
                body.bind(old, read(body, *self._waiting.pop(old)))
        return body.of(value)
