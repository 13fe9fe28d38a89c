"""The forms in which a layer's weight is stored: encoded, decoded, read and recognised here alone.

16 bits                       astype(w16, float32), w16 bfloat16 or float16
8 bits, a scale an output     dequantize(w8, scale, 0, axis), w8 as the layer has its weight
Groups of `size` features     dequantize(rows, scale, 0, 0), reshaped to (O, G * size), cut to
                              (O, F), and shaped as the layer reads it
                              rows int8 (O * G, size), scale (O * G,)
4 bits                        the same of rows = astype(concat(p & 15, p >> 4), int8) - 8
                              p uint8 (O * G, size / 2), quantized value + 8 in each half of a byte

The last group is filled up with zeros. With one group for all of an output's features, G is 1.
`read_weight` writes these forms in the IR, `form_of` recognises them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, prod
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
from tvm import relax
from tvm.ir import GenericConst

from ..errors import PassError
from .graph import Graph, shape_of, variables

if TYPE_CHECKING:
    from .layers import Layer
    from .model import Model
    from .rewrite import Body

SIXTEEN_BIT_TYPES = ("bfloat16", "float16")
"""The types of 16 bits in which a layer's weight may be stored."""
_NUMPY_TYPES = {"bfloat16": np.dtype(ml_dtypes.bfloat16), "float16": np.dtype(np.float16)}
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
        """The largest quantized value."""
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


@dataclass(frozen=True, kw_only=True)
class StoredForm:
    """How a weight is stored. `dtype` is its array's; `grid` is of a quantized one, None of floats.

    `scale` names the weight that holds its scales (None where they are none of the network's
    weights); they lie along `scale_axis`. `by_rows`: stored in rows of a group each, not in the
    layer's shape. `symmetric`: 0 stands for 0.
    """

    dtype: str
    grid: Grid | None = None
    scale: str | None = None
    scale_axis: int = 0
    by_rows: bool = False
    symmetric: bool = True

    @property
    def quantized(self) -> bool:
        """Whether it is read through dequantize."""
        return self.grid is not None

    def stored_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape in which the weight of a layer that reads `shape` is stored."""
        if not self.by_rows:
            return tuple(shape)
        rows, size = self._rows(shape)
        return rows, ceil(size / 2) if self.dtype == "uint8" else size

    def scale_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of its scales."""
        return (self._rows(shape)[0] if self.by_rows else shape[self.scale_axis],)

    def _rows(self, shape: Sequence[int]) -> tuple[int, int]:
        """How many rows there are, and how many features each holds; output channels come first."""
        assert self.grid is not None
        features = prod(shape[1:])
        size = self.grid.group_size or features
        return shape[0] * ceil(features / size), size


FLOAT32 = StoredForm(dtype="float32")


def form_in(layer: Layer, grid: Grid) -> StoredForm:
    """The form in which a layer's weight is stored on a grid."""
    by_rows = grid.bits <= _BITS or grid.group_size is not None
    return StoredForm(
        dtype="uint8" if grid.bits <= _BITS else "int8",
        grid=grid,
        scale=f"{layer.weight}_scale",
        scale_axis=0 if by_rows else layer.output_axis,
        by_rows=by_rows,
    )


def encode(values: np.ndarray, form: StoredForm, output_axis: int = 0) -> np.ndarray:
    """Store a weight: quantized values of its own shape, or floats that become 16 bits."""
    if form.grid is None:
        return values.astype(_NUMPY_TYPES.get(form.dtype, np.dtype(form.dtype)))
    if not form.by_rows:
        return np.ascontiguousarray(values)
    outputs = values.shape[output_axis]
    by_output = np.moveaxis(values, output_axis, 0).reshape(outputs, -1)
    grouped = form.grid.grouped(by_output)
    rows = grouped.reshape(-1, grouped.shape[-1])
    if form.dtype != "uint8":
        return np.ascontiguousarray(rows)
    shifted = (np.pad(rows, [(0, 0), (0, rows.shape[1] % 2)]) + _OFFSET).astype(np.uint8)
    low, high = np.split(shifted, 2, axis=1)
    return low | high << _BITS


def decode(stored: np.ndarray, form: StoredForm, shape: Sequence[int]) -> np.ndarray:
    """The values, of the layer's `shape`, of which `encode` made `stored`."""
    if form.grid is None:
        return stored.astype(np.float32)
    if not form.by_rows:
        return stored
    if form.dtype == "uint8":
        halves = np.concatenate([stored & 15, stored >> _BITS], axis=1)
        stored = halves.astype(np.int8) - np.int8(_OFFSET)
    return stored.reshape(shape[0], -1)[:, : prod(shape[1:])].reshape(shape)


def decode_scales(scales: np.ndarray, form: StoredForm, shape: Sequence[int]) -> np.ndarray:
    """The scales of a weight of `shape`: one a channel, or one a value where groups have theirs."""
    if form.grid is None or form.grid.group_size is None:
        return scales
    by_output = scales.reshape(shape[0], -1)
    return form.grid.spread(by_output, prod(shape[1:])).reshape(shape)


def read_weight(body: Body, layer: Layer, form: StoredForm) -> relax.Var:
    """Emit the float32 weight of a layer, in the shape that it had, and give its variable."""
    stored = body.weight(layer.weight)
    name = stored.name
    if form.scale is None:
        return body.emit(relax.op.astype(stored, "float32"), f"{name}_float32")
    scale, zero = body.weight(form.scale), relax.const(0, "int8")
    if form.by_rows and form.dtype == "uint8":
        stored = _unpack_nibbles(body, stored)
    dequantized = relax.op.dequantize(stored, scale, zero, form.scale_axis)
    rows = body.emit(dequantized, f"{name}_dq")
    if not form.by_rows:
        return rows
    outputs = layer.weight_shape[layer.output_axis]
    features = prod(layer.weight_shape) // outputs
    whole = body.emit(relax.op.reshape(rows, (outputs, -1)), f"{name}_rows")
    if shape_of(whole)[1] > features:
        cut = relax.op.strided_slice(whole, axes=[1], begin=[0], end=[features])
        whole = body.emit(cut, f"{name}_cut")
    if layer.kind == "dense":
        return whole if layer.transposed else body.emit(relax.op.permute_dims(whole), f"{name}_t")
    return body.emit(relax.op.reshape(whole, layer.weight_shape), f"{name}_float32")


def _unpack_nibbles(body: Body, stored: relax.Var) -> relax.Var:
    """Values int8 (rows, size) of two in each byte: the first half of a row in the low bits."""
    name = stored.name
    low = body.emit(relax.op.bitwise_and(stored, relax.const(15, "uint8")), f"{name}_low")
    high = body.emit(relax.op.right_shift(stored, relax.const(_BITS, "uint8")), f"{name}_high")
    both = body.emit(relax.op.concat([low, high], axis=1), f"{name}_both")
    shifted = body.emit(relax.op.astype(both, "int8"), f"{name}_shifted")
    return body.emit(relax.op.subtract(shifted, relax.const(_OFFSET, "int8")), f"{name}_int8")


def form_of(
    graph: Graph, names: Mapping[relax.Var, str], value: relax.Expr
) -> tuple[str, StoredForm] | None:
    """The weight that a layer reads as `value`, and its form; None where it reads no weight."""
    value = graph.origin(value)
    if value in names:
        return names[value], StoredForm(dtype=str(value.ty.dtype))
    widened = graph.call(value, "relax.astype")
    if widened is not None:
        stored = graph.origin(widened.args[0])
        return (names[stored], StoredForm(dtype=str(stored.ty.dtype))) if stored in names else None
    read = graph.call(value, "relax.dequantize")
    if read is not None:
        return _quantized_form(graph, names, read.args[0], read)
    return _rows_form(graph, names, value)


def _quantized_form(
    graph: Graph, names: Mapping[relax.Var, str], value: relax.Expr, read: relax.Call
) -> tuple[str, StoredForm] | None:
    """The form of the weight that is `value`, and is dequantized by `read`."""
    stored, scale, zero = (graph.origin(arg) for arg in (value, *read.args[1:]))
    if stored not in names:
        return None
    form = StoredForm(
        dtype=str(stored.ty.dtype),
        grid=Grid(),
        scale=names.get(scale),
        scale_axis=int(read.attrs.axis) % stored.ty.ndim,
        symmetric=isinstance(zero, GenericConst) and not zero.value.numpy().any(),
    )
    return names[stored], form


def _rows_form(
    graph: Graph, names: Mapping[relax.Var, str], value: relax.Expr
) -> tuple[str, StoredForm] | None:
    """Rows of a group each, dequantized, shaped (O, G * size), cut, and shaped as the layer's."""
    outputs = shape_of(value)[0]
    for op in ("relax.reshape", "relax.strided_slice", "relax.reshape"):
        step = graph.call(value, op)
        value = value if step is None else step.args[0]
    read = graph.call(value, "relax.dequantize")
    if read is None:
        return None
    nibbles = _nibbles(graph, read.args[0])
    found = _quantized_form(graph, names, read.args[0] if nibbles is None else nibbles, read)
    if found is None:
        return None
    name, form = found
    rows, size = shape_of(value)
    grid = Grid(bits=8 if nibbles is None else _BITS, group_size=size if rows > outputs else None)
    return name, replace(form, grid=grid, by_rows=True)


def _nibbles(graph: Graph, value: relax.Expr) -> relax.Expr | None:
    """The bytes that `_unpack_nibbles` unpacks to `value`, or None."""
    for op in ("relax.subtract", "relax.astype", "relax.concat"):
        step = graph.call(value, op)
        if step is None:
            return None
        value = step.args[0]
    low = graph.call(value.fields[0], "relax.bitwise_and")
    return None if low is None else low.args[0]


class ReadStoredWeights:
    """Rewrites bindings: each chosen weight, by name, is read by its form, once, where first read.

    `forms` are those of the weights of `chosen`.
    """

    def __init__(self, model: Model, chosen: Mapping[str, Layer], forms: Mapping[str, StoredForm]):
        variable = model.weight_vars()
        self._waiting = {variable[name]: (chosen[name], forms[name]) for name in chosen}

    def __call__(self, body: Body, var: relax.Var, value: relax.Expr) -> relax.Expr:
        """Return a binding's value over the dequantized weights."""
        for old in variables(value):
            if old in self._waiting:
                body.bind(old, read_weight(body, *self._waiting.pop(old)))
        return body.of(value)
