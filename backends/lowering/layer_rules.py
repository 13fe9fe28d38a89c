"""Convolutions and dense layers become our kernels, their weights packed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from tvm import relax

from ...ir.convolutions import FORWARDS
from ..kernels import compute, elementwise, pack, winograd
from ..kernels.isa import VECTOR
from ..kernels.low_bit_weights import VALUES_IN_WORD
from ..kernels.sixteen_bit import stored
from . import geometry
from .values import Dequantized, Dynamic, Quantized, SixteenBitValue, Static, Value
from .walk import Rule, Walk, shape_of


def convolution(walk: Walk, call: relax.Call) -> Value | None:
    """Convolutions of a weight over one to three axes, in any number of groups."""
    weight, x = walk.value_of(call.args[1]), call.args[0]
    if not isinstance(weight, Static):
        return None
    window = geometry.window_of(call.attrs, shape_of(x), weight.array.shape[2:])
    width, more = shape_of(call)[-1], 0
    if len(shape_of(x)) == 3 and not walk.isa.whole_rows:
        more = geometry.spare_columns(width)
        window = geometry.wider(window, more)
    made = convolved(walk, x, weight.as_image(), window, int(call.attrs.groups))
    if not more or not isinstance(made, Dynamic):
        return made
    return replace(made, expr=walk.emit(relax.op.strided_slice(made.expr, [2], [0], [width])))


def convolved(
    walk: Walk, x: relax.Expr, weight: Static, window: compute.Window, groups: int
) -> Value | None:
    """Convolve by a weight (c_out, c_in / groups, kh, kw) in one of the ways that fit."""
    out, into, _, _ = weight.array.shape
    if into == 1 and groups == out > 1:
        return _depthwise(walk, x, weight, window)
    if groups > 1 and walk.isa.whole_rows:
        return None  # in one block of all channels, the groups would be one
    if groups == 1 and _takes_winograd(walk, x, weight, window):
        tile = walk.winograd.get(weight.name)
        if tile:
            return _winograd_conv2d(walk, x, weight, window, tile)
        walk.could_be_winograd.add(weight.name)
    return _conv2d(walk, x, weight, window, groups)


def matmul(walk: Walk, call: relax.Call) -> Value | None:
    """A dense layer, or a product of two activations."""
    right = walk.value_of(call.args[1])
    if isinstance(right, Static):
        return _dense(walk, call.args[0], right) if right.array.ndim == 2 else None
    shapes = [shape_of(arg) for arg in call.args]
    if len(shapes[0]) < 3 or shapes[0][:-2] != shapes[1][:-2]:
        return None
    operands = [walk.plain(arg) for arg in call.args]
    return Dynamic(walk.kernel(compute.batched_matmul, *operands))


@dataclass(frozen=True)
class _Operands:
    """What a kernel reads, as it is stored: `source`: the activation, of low precision as it is."""

    activation: relax.Expr
    weight: Static
    zero: relax.Var | None = None
    source: Quantized | SixteenBitValue | None = None

    @property
    def words(self) -> bool:
        """Whether the kernel reads eight values of the weight from a word: where it is smaller."""
        if self.source is not None or self.weight.scale is None or self.weight.bits != 4:
            return False
        inputs = self.weight.array.shape[1 - self.weight.scale_axis]
        return 4 * math.ceil(inputs / VALUES_IN_WORD) < inputs


def _operands(
    walk: Walk, x: relax.Expr, weight: Static, window: compute.Window | None
) -> _Operands:
    """What is stored, where both sides are of low precision and can be multiplied; else floats.

    An int8 weight stays so under floats too: the kernel widens it.
    """
    axis = 0 if window else 1
    source = _low_precision_source(walk, x, weight, axis)
    if source is None:
        activation = walk.channels_last(x) if window else walk.plain(x)
        alone = _widens(activation, weight, axis)
        return _Operands(activation, weight if alone else weight.as_float())
    if isinstance(source, SixteenBitValue):
        bits = replace(weight, array=stored(weight.array))
        return _Operands(walk.stored(source, shape_of(x), window is not None), bits, None, source)
    padded = window is not None and window.pads
    zero = walk.zero_point(source) if padded else None
    activation = walk.stored(source, shape_of(x), window is not None)
    return _Operands(activation, weight, zero, source)


def _widens(activation: relax.Expr, weight: Static, axis: int) -> bool:
    """Whether the kernel for these floats reads int8, scaled by output channel or its groups."""
    in_groups = weight.group_size is not None and weight.scale_axis == axis
    int8 = weight.array.dtype == np.int8 and (in_groups or weight.scaled_along(axis))
    return int8 and str(activation.ty.dtype) == "float32"


def _low_precision_source(
    walk: Walk, x: relax.Expr, weight: Static, axis: int
) -> Quantized | SixteenBitValue | None:
    """What is stored of x, where it and the weight (by output channel, `axis`) are of one type."""
    value = walk.value_of(x)
    if not isinstance(value, Dequantized) or not weight.scaled_along(axis):
        return None
    wanted = value.source.dtype if isinstance(value.source, SixteenBitValue) else "int8"
    return value.source if weight.array.dtype.name == wanted else None


def _as_float(
    walk: Walk, sums: relax.Var, operands: _Operands, window: compute.Window | None
) -> Dynamic:
    """What a kernel summed, as floats."""
    weight = operands.weight
    if isinstance(operands.source, Quantized):
        sums = _dequantized(walk, sums, weight, operands.source, window)
    elif operands.source is None and weight.scale is not None:
        if weight.group_size:
            return Dynamic(sums, window is not None)  # multiplied by their scales already
        scale = np.broadcast_to(weight.scale, shape_of(sums)[-1]).astype(np.float32)
        sums = walk.kernel(
            elementwise.scale_sums, sums, walk.weights.var(f"{weight.name}_scale", scale)
        )
    elif operands.source is None and weight.array.dtype == np.float16:
        # a layer that is itself of float16: the kernel's sums are float32 all the same
        sums = walk.emit(relax.op.astype(sums, "float16"))
    return Dynamic(sums, window is not None)


def _depthwise(walk: Walk, x: relax.Expr, weight: Static, window: compute.Window) -> Value:
    """A depthwise convolution."""
    operands = _operands(walk, x, weight, window)
    filters = walk.weights.var(weight.name, pack.pack_depthwise(operands.weight.array))
    arguments = operands.activation, filters, operands.zero
    sums = walk.kernel(compute.depthwise_conv2d, *arguments, window=window)
    return _as_float(walk, sums, operands, window)


def _conv2d(
    walk: Walk, x: relax.Expr, weight: Static, window: compute.Window, groups: int
) -> Value:
    """A convolution by its packed kernel."""
    operands = _operands(walk, x, weight, window)
    channels = weight.array.shape[0]
    lanes, depth = _blocking(walk, operands, channels)
    array, merged = pack.merged_groups(operands.weight.array, groups, lanes, depth)
    packed = _packed(walk, operands, pack.pack_conv2d(array, lanes, depth))
    settings = {
        "window": window,
        "channels": channels,
        "groups": merged,
        "layer_groups": groups,
        "group_size": operands.weight.group_size,
    }
    arguments = operands.activation, packed, operands.zero, _scales(walk, operands, lanes, depth)
    sums = walk.kernel(compute.conv2d, *arguments, **settings)
    return _as_float(walk, sums, operands, window)


def _dense(walk: Walk, x: relax.Expr, weight: Static) -> Value:
    """A dense layer by its packed kernel."""
    operands = _operands(walk, x, weight, None)
    channels = weight.array.shape[1]
    lanes, depth = _blocking(walk, operands, channels)
    packed = _packed(walk, operands, pack.pack_dense(operands.weight.array, lanes, depth))
    settings = {"channels": channels, "group_size": operands.weight.group_size}
    arguments = operands.activation, packed, _scales(walk, operands, lanes, depth)
    sums = walk.kernel(compute.dense, *arguments, **settings)
    return _as_float(walk, sums, operands, None)


def _packed(walk: Walk, operands: _Operands, values: np.ndarray) -> relax.Var:
    """A packed weight as an argument, eight values a word where they are read so."""
    stored = pack.pack_words(values) if operands.words else values
    return walk.weights.var(operands.weight.name, stored)


def _scales(walk: Walk, operands: _Operands, lanes: int, depth: int) -> relax.Var | None:
    """The scales of groups of features, of those too that packing adds; None without groups."""
    weight = operands.weight
    if not weight.group_size:
        return None
    axis = 1 - weight.scale_axis
    inputs, taps = weight.array.shape[axis], math.prod(weight.array.shape[2:])
    features = math.ceil(inputs / depth) * depth * taps
    groups = math.ceil(features / weight.group_size)
    scales = pack.pack_scales(weight.group_scales(), lanes, groups)
    return walk.weights.var(f"{weight.name}_scale", scales)


def _winograd_conv2d(
    walk: Walk, x: relax.Expr, weight: Static, window: compute.Window, tile: int
) -> Value:
    """A 3×3 convolution by Winograd's filtering."""
    filters = winograd.pack_winograd(weight.as_float().array, walk.isa.float_lanes, tile)
    packed = walk.weights.var(weight.name, filters)
    settings = {"window": window, "channels": weight.array.shape[0], "tile": tile}
    sums = walk.kernel(winograd.winograd_conv2d, walk.channels_last(x), packed, **settings)
    return Dynamic(sums, True)


def _takes_winograd(walk: Walk, x: relax.Expr, weight: Static, window: compute.Window) -> bool:
    """Whether a convolution of floats by `weight` (c_out, c_in, kh, kw) can be Winograd's.

    Filters transformed ahead are floats: int8 weights would be four times as large, and more.
    """
    if _low_precision_source(walk, x, weight, 0) is not None or weight.array.dtype == np.int8:
        return False
    plain = window.strides == window.dilation == (1, 1) and window.frames is None
    whole = not any(channels % walk.isa.float_lanes for channels in weight.array.shape[:2])
    return plain and weight.array.shape[2:] == (3, 3) and whole and not walk.isa.whole_rows


def _blocking(walk: Walk, operands: _Operands, channels: int) -> tuple[int, int]:
    """Output channels in a block, and input channels summed at once."""
    depth, lanes = VALUES_IN_WORD if operands.words else 1, walk.isa.float_lanes
    if operands.source is not None:
        dot = walk.isa.dot(str(operands.weight.array.dtype))
        depth, lanes = dot.depth, dot.lanes
    return _whole_row(channels) if walk.isa.whole_rows else lanes, depth


def _whole_row(channels: int) -> int:
    """One block of all output channels, in whole vectors."""
    return math.ceil(channels / VECTOR) * VECTOR


def _dequantized(
    walk: Walk, sums: relax.Var, weight: Static, source: Quantized, window: compute.Window | None
) -> relax.Var:
    """Sums as floats, with the scales and the correction as weights."""
    assert weight.scale is not None
    reduced = (1, 2, 3) if window else (0,)
    totals = weight.array.astype(np.int32).sum(axis=reduced, dtype=np.int32)
    known = np.float32(source.scale if isinstance(source.scale, float) else 1.0)
    scale = np.broadcast_to(weight.scale * known, totals.shape)
    dequantized = walk.kernel(
        elementwise.dequantize_sums,
        sums,
        walk.weights.var(f"{weight.name}_scale", scale.astype(np.float32)),
        walk.weights.var(f"{weight.name}_correction", totals * np.int32(source.zero_point)),
    )
    if isinstance(source.scale, float):
        return dequantized
    return walk.emit(relax.op.multiply(dequantized, source.scale))


RULES: dict[str, Rule] = {
    **dict.fromkeys(FORWARDS, convolution),
    "relax.matmul": matmul,
}
