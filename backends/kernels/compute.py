"""What the kernels compute, as tensor expressions; `schedule.py` says how.

Activations are NHWC, channels innermost, so that one vector holds neighbouring channels and the
output of one kernel is the input of the next. Weights are packed ahead, `lanes` output channels
and `depth` input channels innermost (see `pack.py`). The multiply-accumulate is always the block
`contract`, its last axis the (padded) output channel.
"""

from __future__ import annotations

from dataclasses import dataclass

from tvm import te, tirx

from .low_bit_weights import WORDS, depth_of, scaled, value_at
from .sixteen_bit import STORED, real_of, rounded_to

CONTRACT = "contract"
PAD = "pad"
UNPAD = "unpad"
# The reduction axis of what is packed innermost, summed by one instruction.
DEPTH = "rd"
# The annotation of a grouped convolution: the groups that the layer has, before they are merged.
GROUPS = "groups"


@dataclass(frozen=True, kw_only=True)
class Window:
    """A convolution's geometry. Padding is (top, left, bottom, right), in pixels."""

    strides: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int]

    def output_size(self, x: te.Tensor, kernel: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the output for an input (n, h, w, c)."""
        _, *size, _ = shape_of(x)

        def along(i: int) -> int:
            reach = self.dilation[i] * (kernel[i] - 1) + 1
            return (size[i] + self.padding[i] + self.padding[i + 2] - reach) // self.strides[i] + 1

        return along(0), along(1)


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

    The padding is `zero` (), the level that stands for 0, or 0 without one. With several groups,
    each is whole blocks of outputs and whole depths of inputs;
    `layer_groups` is their number before they were merged so. `scales` (blocks, n, lanes) are of
    `group_size` features each, which are counted in the order (c_in, kh, kw).

    Returns (n, oh, ow, channels): int32 sums where both are 8 bits, float32 for all others.
    """
    n, _, _, _ = shape_of(x)
    blocks, kh, kw, depths, lanes, _ = shape_of(weight)
    depth = depth_of(weight)
    group_in, group_out = depths * depth, blocks * lanes // groups
    padded = pad(x, window.padding, groups * group_in, zero, _read_as(x, weight))
    oh, ow = window.output_size(x, (kh, kw))
    (sh, sw), (dh, dw) = window.strides, window.dilation
    rh, rw = te.reduce_axis((0, kh), "rh"), te.reduce_axis((0, kw), "rw")
    rc, rd = te.reduce_axis((0, depths), "rc"), te.reduce_axis((0, depth), DEPTH)
    to_sum = _accumulator(x, weight)

    def read(b, h, w, c):
        first = c // group_out * group_in if groups > 1 else 0
        return padded[b, h * sh + rh * dh, w * sw + rw * dw, first + rc * depth + rd]

    def real(c):
        value = value_at(weight, (c // lanes, rh, rw, rc, c % lanes, rd), to_sum)
        feature = ((rc * depth + rd) * kh + rh) * kw + rw
        return scaled(value, scales, group_size, c, feature)

    sums = te.compute(
        (n, oh, ow, blocks * lanes),
        lambda b, h, w, c: te.sum(to_sum(read(b, h, w, c)) * real(c), axis=[rh, rw, rc, rd]),
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
    rc, rd = te.reduce_axis((0, groups), "rc"), te.reduce_axis((0, depth), DEPTH)
    to_sum = _accumulator(x, weight)

    def real(c):
        value = value_at(weight, (c // lanes, rc, c % lanes, rd), to_sum)
        return scaled(value, scales, group_size, c, rc * depth + rd)

    sums = te.compute(
        (*lead, blocks * lanes),
        lambda *i: te.sum(to_sum(x(*i[:-1], rc * depth + rd)) * real(i[-1]), axis=[rc, rd]),
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
    padded = pad(x, window.padding, c, zero)
    oh, ow = window.output_size(x, (kh, kw))
    (sh, sw), (dh, dw) = window.strides, window.dilation
    rh, rw = te.reduce_axis((0, kh), "rh"), te.reduce_axis((0, kw), "rw")
    to_sum = _accumulator(x, weight)
    return te.compute(
        (n, oh, ow, c),
        lambda b, h, w, ch: te.sum(
            to_sum(padded[b, h * sh + rh * dh, w * sw + rw * dw, ch]) * to_sum(weight[rh, rw, ch]),
            axis=[rh, rw],
        ),
        name=CONTRACT,
    )


def batched_matmul(a: te.Tensor, b: te.Tensor):
    """Multiply a (…, i, k) by b (…, k, j), the leading axes equal: (…, i, j)."""
    k = te.reduce_axis((0, shape_of(a)[-1]), "rc")
    return te.compute(
        (*shape_of(a)[:-1], shape_of(b)[-1]),
        lambda *i: te.sum(a(*i[:-1], k) * b(*i[:-2], k, i[-1]), axis=[k]),
        name=CONTRACT,
    )


def dequantize_sums(sums: te.Tensor, scale: te.Tensor, correction: te.Tensor):
    """Turn integer sums (…, c) into reals: (sums − correction[c]) · scale[c].

    `correction` is the activation's zero point times the sum of the channel's weights; `scale`
    the product of both scales (Jacob et al., CVPR 2018, section 2.2).
    """
    return te.compute(
        sums.shape,
        lambda *i: (sums(*i) - correction[i[-1]]).astype("float32") * scale[i[-1]],
        name="dequantize_sums",
    )


def scale_sums(sums: te.Tensor, scale: te.Tensor):
    """Turn float sums (…, c) over levels of weights into reals: sums · scale[c]."""
    return te.compute(sums.shape, lambda *i: sums(*i) * scale[i[-1]], name="scale_sums")


def quantize(x: te.Tensor, inverse_scale: te.Tensor, zero_point: te.Tensor):
    """Round x · inverse_scale + zero_point to the type of `zero_point`, ties to even, saturating.

    Scale and zero point are arguments, not constants: so equal layers are one function.
    """
    dtype = zero_point.dtype
    low, high = (0, 255) if dtype == "uint8" else (-128, 127)

    def one(value):
        level = tirx.nearbyint(value * inverse_scale()) + zero_point().astype("float32")
        return tirx.max(tirx.min(level, float(high)), float(low)).astype("int32").astype(dtype)

    return te.compute(x.shape, lambda *i: one(x(*i)), name="quantize")


def dequantize(x: te.Tensor, scale: te.Tensor, zero_point: te.Tensor):
    """The reals that 8-bit levels x stand for: (x − zero_point) · scale."""

    def one(level):
        return (level.astype("float32") - zero_point().astype("float32")) * scale()

    return te.compute(x.shape, lambda *i: one(x(*i)), name="dequantize")


def rounded(x: te.Tensor, *, dtype: str):
    """Round reals to 16 bits, stored as `dtype`."""
    return te.compute(x.shape, lambda *i: rounded_to(x(*i), dtype), name="rounded")


def widened(x: te.Tensor):
    """The reals that stored values of 16 bits are."""
    return te.compute(x.shape, lambda *i: real_of(x(*i), x.dtype), name="widened")


def copied(x: te.Tensor):
    """The same values."""
    return te.compute(x.shape, lambda *i: x(*i), name="copied")


def shift_levels(x: te.Tensor, *, offset: int, dtype: str):
    """Give 8-bit levels x + offset, in the other 8-bit type."""
    return te.compute(
        x.shape, lambda *i: (x(*i).astype("int32") + offset).astype(dtype), name="shift_levels"
    )


def _accumulator(x: te.Tensor, weight: te.Tensor):
    """The cast from stored values to the type of the sums."""
    if weight.dtype in ("int8", WORDS) and x.dtype == "float32":
        return lambda value: value.astype("float32")
    if weight.dtype == "int8":
        return lambda value: value.astype("int32")
    if weight.dtype in STORED.values():
        return lambda value: real_of(value, weight.dtype)
    return lambda value: value


def _read_as(x: te.Tensor, weight: te.Tensor) -> str:
    """The type in which sums read x: pairs of 8 bits are widened once, ahead of all sums."""
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
):
    """Put `zero` around x (n, h, w, c): (top, left, bottom, right), and channels behind.

    Gives the values as `dtype`, or as they are.
    """
    top, left, bottom, right = padding
    n, h, w, c = shape_of(x)
    dtype = dtype or x.dtype
    if not any(padding) and (channels, dtype) == (c, x.dtype):
        return x
    value = tirx.const(0, dtype) if zero is None else zero().astype(dtype)

    def one(b, i, j, ch):
        sides = (i >= top, top), (i < h + top, bottom), (j >= left, left), (j < w + left, right)
        edges = (*sides, (ch < c, channels > c))
        inside = [condition for condition, needed in edges if needed]
        read = x[b, i - top, j - left, ch].astype(dtype)
        return tirx.if_then_else(tirx.all(*inside), read, value) if inside else read

    return te.compute((n, h + top + bottom, w + left + right, channels), one, name=PAD)


def shape_of(tensor: te.Tensor) -> tuple[int, ...]:
    """The fixed shape of a tensor."""
    return tuple(int(extent) for extent in tensor.shape)
