"""Layers and 8-bit values: convolutions and dense layers become our kernels, packed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from tvm import relax

from .isa import InstructionSet
from .kernels import compute, pack, winograd
from .values import Dequantized, Dynamic, Quantized, Static, Value
from .walk import FROM_CHANNELS_LAST, LEVELS, TO_CHANNELS_LAST, Rule, Walk, shape_of

_LOWEST = {"uint8": 0, "int8": -128}


def quantize(walk: Walk, call: relax.Call) -> Value | None:
    """An activation to 8-bit levels, of the sign that the board's kernels want."""
    scale, zero = (walk.value_of(arg) for arg in call.args[1:3])
    if not (isinstance(scale, Static) and isinstance(zero, Static)):
        return None
    if scale.array.size != 1 or str(call.attrs.out_dtype) not in _LOWEST:
        return None
    source = walk.real(walk.value_of(call.args[0]))
    dtype, stored = str(call.attrs.out_dtype), walk.isa.int8.activation_dtype
    offset = _LOWEST[stored] - _LOWEST[dtype]
    levels = Quantized(
        source.expr,
        source.channels_last,
        scale=float(scale.array.item()),
        zero_point=int(zero.array.item()) + offset,
        dtype=dtype,
        offset=offset,
    )
    inverse = walk.weights.var(f"{LEVELS}inverse_scale", np.array(1.0 / levels.scale, np.float32))
    expr = walk.kernel(compute.quantize, source.expr, inverse, walk.zero_point(levels))
    return replace(levels, expr=expr)


def dequantize(walk: Walk, call: relax.Call) -> Value | None:
    """Levels that a layer may read as they are, or an int8 weight with its scales."""
    value = walk.value_of(call.args[0])
    if isinstance(value, Quantized):
        return Dequantized(value)
    scale, zero = (walk.value_of(arg) for arg in call.args[1:3])
    if not (isinstance(value, Static) and isinstance(scale, Static) and isinstance(zero, Static)):
        return None
    if value.array.dtype != np.int8 or zero.array.any():
        return None
    axis = int(call.attrs.axis) % value.array.ndim
    return Static(value.array, value.name, scale=scale.array.reshape(-1), scale_axis=axis)


def conv2d(walk: Walk, call: relax.Call) -> Value | None:
    """Convolutions of a weight, in any number of groups."""
    weight = walk.value_of(call.args[1])
    attrs = call.attrs
    if not isinstance(weight, Static) or str(attrs.data_layout) != "NCHW":
        return None
    groups = int(attrs.groups)
    out, into, _, _ = weight.array.shape
    if into == 1 and groups == out > 1:
        return _depthwise(walk, call.args[0], weight, _window(attrs))
    return _layer(walk, call.args[0], weight, _window(attrs), groups)


def matmul(walk: Walk, call: relax.Call) -> Value | None:
    """A dense layer, or a product of two activations."""
    right = walk.value_of(call.args[1])
    if isinstance(right, Static):
        return _layer(walk, call.args[0], right, None) if right.array.ndim == 2 else None
    shapes = [shape_of(arg) for arg in call.args]
    if len(shapes[0]) < 3 or shapes[0][:-2] != shapes[1][:-2]:
        return None
    operands = [walk.plain(arg) for arg in call.args]
    return Dynamic(walk.kernel(compute.batched_matmul, *operands))


def _depthwise(walk: Walk, x: relax.Expr, weight: Static, window: compute.Window) -> Value:
    """A depthwise convolution, of levels where both sides are quantized."""
    value = walk.value_of(x)
    if not (isinstance(value, Dequantized) and weight.scaled_along(0)):
        filters = walk.weights.var(weight.name, pack.pack_depthwise(weight.as_float().array))
        image = walk.channels_last(x)
        sums = walk.kernel(compute.depthwise_conv2d, image, filters, window=window)
        return Dynamic(sums, True)
    filters = walk.weights.var(weight.name, pack.pack_depthwise(weight.array))
    operands = _stored(walk, value.source, window), filters, *_padding(walk, value.source, window)
    sums = walk.kernel(compute.depthwise_conv2d, *operands, window=window)
    return Dynamic(_dequantized(walk, sums, weight, value.source, window), True)


def _layer(
    walk: Walk, x: relax.Expr, weight: Static, window: compute.Window | None, groups: int = 1
) -> Value:
    """A convolution (with a window) or dense layer by its packed kernel."""
    value = walk.value_of(x)
    channels = weight.array.shape[0 if window else 1]
    integer = isinstance(value, Dequantized) and weight.scaled_along(0 if window else 1)
    if (
        window
        and not integer
        and groups == 1
        and _takes_winograd(weight.array.shape, window, walk.isa)
    ):
        tile = walk.winograd.get(weight.name)
        if tile:
            return _winograd_conv2d(walk, x, weight, window, tile)
        walk.could_be_winograd.add(weight.name)
    lanes, depth = _blocking(walk, integer, channels)
    if integer:
        assert isinstance(value, Dequantized)
        activation, padding = (
            _stored(walk, value.source, window),
            _padding(walk, value.source, window),
        )
    else:
        weight = weight.as_float()
        activation = walk.channels_last(x) if window else walk.plain(x)
        padding = ()
    if window is not None:
        array, merged = pack.merged_groups(weight.array, groups, lanes, depth)
        packed = walk.weights.var(weight.name, pack.pack_conv2d(array, lanes, depth))
        settings = {
            "window": window,
            "channels": channels,
            "groups": merged,
            "layer_groups": groups,
        }
        sums = walk.kernel(compute.conv2d, activation, packed, *padding, **settings)
    else:
        packed = walk.weights.var(weight.name, pack.pack_dense(weight.array, lanes, depth))
        sums = walk.kernel(compute.dense, activation, packed, channels=channels)
    if integer:
        assert isinstance(value, Dequantized)
        sums = _dequantized(walk, sums, weight, value.source, window)
    return Dynamic(sums, window is not None)


def _winograd_conv2d(
    walk: Walk, x: relax.Expr, weight: Static, window: compute.Window, tile: int
) -> Value:
    """A 3×3 convolution by Winograd's filtering."""
    filters = winograd.pack_winograd(weight.as_float().array, walk.isa.float_lanes, tile)
    packed = walk.weights.var(weight.name, filters)
    settings = {"window": window, "channels": weight.array.shape[0], "tile": tile}
    sums = walk.kernel(winograd.winograd_conv2d, walk.channels_last(x), packed, **settings)
    return Dynamic(sums, True)


def _takes_winograd(shape: tuple[int, ...], window: compute.Window, isa: InstructionSet) -> bool:
    """Whether a convolution by a weight of `shape` (c_out, c_in, kh, kw) can be Winograd's."""
    plain = window.strides == (1, 1) and window.dilation == (1, 1)
    whole = not any(channels % isa.float_lanes for channels in shape[:2])
    return plain and shape[2:] == (3, 3) and whole and not isa.whole_rows


def _blocking(walk: Walk, integer: bool, channels: int) -> tuple[int, int]:
    """Output channels in a block, and input channels summed at once."""
    if walk.isa.whole_rows:
        return channels, 1
    return (walk.isa.int8.lanes, walk.isa.int8.depth) if integer else (walk.isa.float_lanes, 1)


def _padding(walk: Walk, source: Quantized, window: compute.Window | None) -> tuple[relax.Var, ...]:
    """The zero point, where the kernel pads by it."""
    return (walk.zero_point(source),) if window is not None and any(window.padding) else ()


def _stored(walk: Walk, source: Quantized, window: compute.Window | None) -> relax.Expr:
    """The 8-bit levels in the layout that the kernel reads."""
    if window is not None and not source.channels_last:
        return walk.transposed(source.expr, TO_CHANNELS_LAST)
    if window is None and source.channels_last:
        return walk.transposed(source.expr, FROM_CHANNELS_LAST)
    return source.expr


def _dequantized(
    walk: Walk, sums: relax.Var, weight: Static, source: Quantized, window: compute.Window | None
) -> relax.Var:
    """Sums as reals, with the scales and the correction as weights."""
    assert weight.scale is not None
    reduced = (1, 2, 3) if window else (0,)
    totals = weight.array.astype(np.int32).sum(axis=reduced, dtype=np.int32)
    scale = np.broadcast_to(weight.scale * np.float32(source.scale), totals.shape)
    return walk.kernel(
        compute.dequantize_sums,
        sums,
        walk.weights.var(f"{weight.name}_scale", scale.astype(np.float32)),
        walk.weights.var(f"{weight.name}_correction", totals * np.int32(source.zero_point)),
    )


def _window(attrs) -> compute.Window:
    """The geometry of a relax.nn.conv2d call."""
    return compute.Window(
        strides=tuple(int(v) for v in attrs.strides),  # type: ignore[arg-type]
        padding=tuple(int(v) for v in attrs.padding),  # type: ignore[arg-type]
        dilation=tuple(int(v) for v in attrs.dilation),  # type: ignore[arg-type]
    )


RULES: dict[str, Rule] = {
    "relax.quantize": quantize,
    "relax.dequantize": dequantize,
    "relax.nn.conv2d": conv2d,
    "relax.matmul": matmul,
}
