"""What is done to each value between the contractions: quantized, dequantized, rounded, scaled."""

from __future__ import annotations

from tvm import te, tirx

from .sixteen_bit import float32_of, rounded_to


def dequantize_sums(sums: te.Tensor, scale: te.Tensor, correction: te.Tensor):
    """Dequantize integer sums (…, c): (sums − correction[c]) · scale[c].

    `correction` is the activation's zero point times the sum of the channel's weights; `scale`
    the product of both scales (Jacob et al., CVPR 2018, section 2.2).
    """
    return te.compute(
        sums.shape,
        lambda *i: (sums(*i) - correction[i[-1]]).astype("float32") * scale[i[-1]],
        name="dequantize_sums",
    )


def scale_sums(sums: te.Tensor, scale: te.Tensor):
    """Scale float sums (…, c) over quantized weights: sums · scale[c]."""
    return te.compute(sums.shape, lambda *i: sums(*i) * scale[i[-1]], name="scale_sums")


def quantize(x: te.Tensor, inverse_scale: te.Tensor, zero_point: te.Tensor):
    """Round x · inverse_scale + zero_point to the type of `zero_point`, ties to even, saturating.

    Scale and zero point are arguments, not constants: so equal layers are one function.
    """
    dtype = zero_point.dtype
    low, high = (0, 255) if dtype == "uint8" else (-128, 127)

    def one(value):
        nearest = tirx.nearbyint(value * inverse_scale()) + zero_point().astype("float32")
        return tirx.max(tirx.min(nearest, float(high)), float(low)).astype("int32").astype(dtype)

    return te.compute(x.shape, lambda *i: one(x(*i)), name="quantize")


def dequantize(x: te.Tensor, scale: te.Tensor, zero_point: te.Tensor):
    """Dequantize x of 8 bits: (x − zero_point) · scale."""

    def one(value):
        return (value.astype("float32") - zero_point().astype("float32")) * scale()

    return te.compute(x.shape, lambda *i: one(x(*i)), name="dequantize")


def rounded(x: te.Tensor, *, dtype: str):
    """Round floats to 16 bits, stored as `dtype`."""
    return te.compute(x.shape, lambda *i: rounded_to(x(*i), dtype), name="rounded")


def widened(x: te.Tensor):
    """Widen stored values of 16 bits to float32."""
    return te.compute(x.shape, lambda *i: float32_of(x(*i), x.dtype), name="widened")


def copied(x: te.Tensor):
    """The same values."""
    return te.compute(x.shape, lambda *i: x(*i), name="copied")


def shift_levels(x: te.Tensor, *, offset: int, dtype: str):
    """Give quantized values x + offset, in the other 8-bit type."""
    return te.compute(
        x.shape, lambda *i: (x(*i).astype("int32") + offset).astype(dtype), name="shift_levels"
    )
