"""What the kernels compute, as tensor expressions; `schedule.py` says how.

Activations are NHWC, channels innermost, so that one vector holds neighbouring channels and the
output of one kernel is the input of the next. Weights are packed ahead, `lanes` output channels
and `depth` input channels innermost (see `pack.py`). The multiply-accumulate is always the block
`contract`, its last axis the (padded) output channel; the axes that it sums over tell which kernel
it is (`work_of`).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from tvm import te, tirx
from tvm.s_tir import SBlock
from tvm.tirx import IterVar

from .low_bit_weights import WORDS, depth_of, scaled, value_at
from .sixteen_bit import STORED, float32_of
from .window import Frames, Window
from .work import Work, extents

CONTRACT = "contract"
PAD = "pad"
UNPAD = "unpad"
# The reduction axes: filter rows and columns, channels, and what is packed innermost and summed by
# one instruction.
_ROWS, _COLUMNS, _CHANNELS, DEPTH = "rh", "rw", "rc", "rd"
_KERNELS = {
    (_ROWS, _COLUMNS, _CHANNELS, DEPTH): "direct conv",
    (_CHANNELS, DEPTH): "dense",
    (_ROWS, _COLUMNS): "depthwise conv",
    (_CHANNELS,): "matmul",
}
# The annotation of a grouped convolution: the groups that the layer has, before they are merged.
GROUPS = "groups"


def conv2d(
    x: te.Tensor,
    weight: te.Tensor,
    zero: te.Tensor | None = None,
    scales: te.Tensor | None = None,
    *,
    window: Window,
    channels: int,
    groups: int = 1,
    layer_groups: int = 1,
    group_size: int | None = None,
):
    """Convolve x (n, h, w, c_in) by weight (blocks, kh, kw, c_in/groups/depth, lanes, depth).

    The padding is `zero` (), the quantized value that stands for 0, or 0 without one. With several
    groups, each is whole blocks of outputs and whole depths of inputs; `layer_groups` is their
    number before they were merged so. `scales` (blocks, n, lanes) are of `group_size` features
    each, which are counted in the order (c_in, kh, kw).

    Returns (n, oh, ow, channels): int32 sums where both are 8 bits, float32 for all others.
    """
    n, _, _, _ = shape_of(x)
    blocks, kh, kw, depths, lanes, _ = shape_of(weight)
    depth = depth_of(weight)
    group_in, group_out = depths * depth, blocks * lanes // groups
    padded = pad(x, window.padding, groups * group_in, zero, _read_as(x, weight), window.frames)
    oh, ow = window.output_size(x, (kh, kw))
    (_, sw), (_, dw) = window.strides, window.dilation
    rh, rw = te.reduce_axis((0, kh), _ROWS), te.reduce_axis((0, kw), _COLUMNS)
    rc, rd = te.reduce_axis((0, depths), _CHANNELS), te.reduce_axis((0, depth), DEPTH)
    to_sum = _accumulator(x, weight)

    def read(b, h, w, c):
        first = c // group_out * group_in if groups > 1 else 0
        return padded[b, window.row(h, rh), w * sw + rw * dw, first + rc * depth + rd]

    def weight_at(c):
        value = value_at(weight, (c // lanes, rh, rw, rc, c % lanes, rd), to_sum)
        feature = ((rc * depth + rd) * kh + rh) * kw + rw
        return scaled(value, scales, group_size, c, feature)

    sums = te.compute(
        (n, oh, ow, blocks * lanes),
        lambda b, h, w, c: te.sum(to_sum(read(b, h, w, c)) * weight_at(c), axis=[rh, rw, rc, rd]),
        name=CONTRACT,
        attrs={GROUPS: layer_groups} if layer_groups > 1 else None,
    )
    return first_channels(sums, channels)


def dense(
    x: te.Tensor,
    weight: te.Tensor,
    scales: te.Tensor | None = None,
    *,
    channels: int,
    group_size: int | None = None,
):
    """Multiply x (…, k) by packed weight (blocks, k/depth, lanes, depth): (…, channels).

    `scales` (blocks, n, lanes) are of `group_size` inputs each.
    """
    blocks, groups, lanes, _ = shape_of(weight)
    depth = depth_of(weight)
    lead = shape_of(x)[:-1]
    x = _pad_last(x, groups * depth, _read_as(x, weight))
    rc, rd = te.reduce_axis((0, groups), _CHANNELS), te.reduce_axis((0, depth), DEPTH)
    to_sum = _accumulator(x, weight)

    def weight_at(c):
        value = value_at(weight, (c // lanes, rc, c % lanes, rd), to_sum)
        return scaled(value, scales, group_size, c, rc * depth + rd)

    sums = te.compute(
        (*lead, blocks * lanes),
        lambda *i: te.sum(to_sum(x(*i[:-1], rc * depth + rd)) * weight_at(i[-1]), axis=[rc, rd]),
        name=CONTRACT,
    )
    return first_channels(sums, channels)


def depthwise_conv2d(
    x: te.Tensor, weight: te.Tensor, zero: te.Tensor | None = None, *, window: Window
):
    """Convolve each channel of x (n, h, w, c) by its own filter of weight (kh, kw, c).

    The padding is `zero` (), as for `conv2d`.

    Returns (n, oh, ow, c): int32 sums where both are 8 bits, float32 for all others.
    """
    n, _, _, c = shape_of(x)
    kh, kw, _ = shape_of(weight)
    padded = pad(x, window.padding, c, zero, frames=window.frames)
    oh, ow = window.output_size(x, (kh, kw))
    (_, sw), (_, dw) = window.strides, window.dilation
    rh, rw = te.reduce_axis((0, kh), _ROWS), te.reduce_axis((0, kw), _COLUMNS)
    to_sum = _accumulator(x, weight)
    return te.compute(
        (n, oh, ow, c),
        lambda b, h, w, ch: te.sum(
            to_sum(padded[b, window.row(h, rh), w * sw + rw * dw, ch]) * to_sum(weight[rh, rw, ch]),
            axis=[rh, rw],
        ),
        name=CONTRACT,
    )


def batched_matmul(a: te.Tensor, b: te.Tensor):
    """Multiply a (…, i, k) by b (…, k, j), the leading axes equal: (…, i, j)."""
    k = te.reduce_axis((0, shape_of(a)[-1]), _CHANNELS)
    return te.compute(
        (*shape_of(a)[:-1], shape_of(b)[-1]),
        lambda *i: te.sum(a(*i[:-1], k) * b(*i[:-2], k, i[-1]), axis=[k]),
        name=CONTRACT,
    )


def work_of(blocks: Mapping[str, SBlock]) -> Work:
    """Which kernel of this module these blocks are, and how much it computes."""
    contract = blocks[CONTRACT]
    *lead, channels = extents(contract, IterVar.DataPar)
    if UNPAD in blocks:
        channels = extents(blocks[UNPAD])[-1]
    summed = {
        axis.var.name.removeprefix("v_"): int(axis.dom.extent)
        for axis in contract.iter_vars
        if axis.iter_type == IterVar.CommReduce
    }
    kernel, outputs = _KERNELS[tuple(summed)], prod(lead) * channels
    performed = outputs * prod(summed.values())
    if DEPTH not in summed:
        return Work(kernel=kernel, macs_count=performed, performed_macs_count=performed)
    inputs = int(blocks.get(PAD, contract).reads[0].source.shape[-1])
    groups = int(contract.annotations.get(GROUPS, 1))
    macs = outputs * summed.get(_ROWS, 1) * summed.get(_COLUMNS, 1) * inputs // groups
    # one group's padding is of packing alone; merged groups do multiply the zeros between them
    done = performed if groups > 1 else macs
    return Work(kernel=kernel, macs_count=macs, performed_macs_count=done)


def _accumulator(x: te.Tensor, weight: te.Tensor):
    """The cast from stored values to the type of the sums."""
    if weight.dtype in ("int8", WORDS) and x.dtype == "float32":
        return lambda value: value.astype("float32")
    if weight.dtype == "int8":
        return lambda value: value.astype("int32")
    if weight.dtype in STORED.values():
        return lambda value: float32_of(value, weight.dtype)
    return lambda value: value


def _read_as(x: te.Tensor, weight: te.Tensor) -> str:
    """The type in which sums read x: what is widened once, ahead of all sums.

    That are pairs of 8 bits, and float16, which is only stored so.
    """
    if weight.dtype == x.dtype == "float16":
        return "float32"
    return "int16" if (x.dtype, weight.dtype, depth_of(weight)) == ("uint8", "int8", 2) else x.dtype


def first_channels(sums: te.Tensor, channels: int):
    """Give the first `channels` of (…, c): what the packing added goes."""
    if shape_of(sums)[-1] == channels:
        return sums
    return te.compute((*shape_of(sums)[:-1], channels), lambda *i: sums(*i), name=UNPAD)


def _pad_last(x: te.Tensor, extent: int, dtype: str) -> te.Tensor:
    """Put zeros behind x (…, k), up to (…, extent), as `dtype`."""
    k = shape_of(x)[-1]
    if (extent, dtype) == (k, x.dtype):
        return x

    def one(*i):
        read = x(*i).astype(dtype)
        return read if extent == k else tirx.if_then_else(i[-1] < k, read, tirx.const(0, dtype))

    return te.compute((*shape_of(x)[:-1], extent), one, name=PAD)


def pad(
    x: te.Tensor,
    padding: tuple[int, int, int, int],
    channels: int,
    zero: te.Tensor | None = None,
    dtype: str | None = None,
    frames: Frames | None = None,
):
    """Put `zero` around x (n, h, w, c): (top, left, bottom, right), and channels behind.

    Where x is `frames`, around each of them, and their own padding before and behind them.
    Gives the values as `dtype`, or as they are.
    """
    top, left, bottom, right = padding
    n, h, w, c = shape_of(x)
    dtype = dtype or x.dtype
    count, height = (1, h) if frames is None else frames.places
    front, back = (0, 0) if frames is None else frames.padding
    if not any((*padding, front, back)) and (channels, dtype) == (c, x.dtype):
        return x
    value = tirx.const(0, dtype) if zero is None else zero().astype(dtype)
    around = height + top + bottom

    def one(b, i, j, ch):
        frame, row, above = i // around, i, i - top
        if frames is not None:
            row = i % around
            above = (frame - front) * height + row - top
        in_time = (frame >= front, front), (frame < count + front, back)
        sides = (row >= top, top), (row < height + top, bottom), (j >= left, left)
        edges = (*in_time, *sides, (j < w + left, right), (ch < c, channels > c))
        inside = [condition for condition, needed in edges if needed]
        read = x[b, above, j - left, ch].astype(dtype)
        return tirx.if_then_else(tirx.all(*inside), read, value) if inside else read

    shape = (n, (count + front + back) * around, w + left + right, channels)
    return te.compute(shape, one, name=PAD)


def shape_of(tensor: te.Tensor) -> tuple[int, ...]:
    """The fixed shape of a tensor."""
    return tuple(int(extent) for extent in tensor.shape)
