"""Padding, pooling, resizing and transposed convolutions: every length is said explicitly."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax
from tvm.relax.frontend.onnx.onnx_frontend import AveragePool, ConvTranspose, MaxPool

from ....ir.edit import shape_of
from ..arguments import Inputs, array, emit, integers, like, scalar
from . import resample
from .indices import take
from .windows import max_pool_with_places

_PAD_MODES = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}
_NATIVE = ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel")


def same_padding(x: relax.Expr, weight: relax.Expr | None, attrs: dict[str, Any]) -> None:
    """Turn ``auto_pad`` into explicit ``pads``, in place."""
    mode = attrs.pop("auto_pad", b"NOTSET").decode()
    spatial = shape_of(x)[2:]
    if mode == "VALID":
        attrs["pads"] = (0,) * (2 * len(spatial))
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        return
    kernel = attrs.get("kernel_shape") or shape_of(weight)[2:]
    strides = attrs.get("strides") or (1,) * len(spatial)
    dilations = attrs.get("dilations") or (1,) * len(spatial)
    totals = []
    for length, k, stride, dilation in zip(spatial, kernel, strides, dilations, strict=True):
        windows = -(-length // stride)
        totals.append(max(0, (windows - 1) * stride + (k - 1) * dilation + 1 - length))
    attrs["pads"] = _halves(totals, more_at_end=mode == "SAME_UPPER")


def _halves(totals: list[int], *, more_at_end: bool) -> tuple[int, ...]:
    less = [total // 2 for total in totals]
    more = [total - half for total, half in zip(totals, less, strict=True)]
    return (*less, *more) if more_at_end else (*more, *less)


def pad(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """Pad by constant widths, an attribute up to opset 10, inputs after; negative widths cut."""
    x, mode = inputs[0], attrs.get("mode", b"constant").decode()
    rank = x.ty.ndim
    widths = integers(inputs, 1, attrs.get("pads"), held)
    axes = [axis % rank for axis in integers(inputs, 3, None, held) or range(rank)]
    before, after = np.zeros(rank, int), np.zeros(rank, int)
    before[axes], after[axes] = np.split(np.asarray(widths), 2)
    if min(*before, *after, 0) < 0:
        if mode != "constant":
            raise ValueError(f"negative widths in mode {mode} are not supported")
        ends = [length + min(0, a) for length, a in zip(shape_of(x), after, strict=True)]
        starts = [-min(0, b) for b in before]
        bounds = list(map(int, starts)), list(map(int, ends))
        x = emit(relax.op.strided_slice(x, list(range(rank)), *bounds))
    full = [int(max(0, width)) for pair in zip(before, after, strict=True) for width in pair]
    if not any(full):
        return x
    if mode != "constant":
        return _pad_from_inside(x, full, mode)
    value = scalar(inputs, 2, held)
    fill = attrs.get("value", 0.0) if value is None else value
    return relax.op.nn.pad(x, full, "constant", float(fill))


def _pad_from_inside(x: relax.Expr, widths: list[int], mode: str) -> relax.Expr:
    """Pad an axis at a time by taking its own elements again."""
    for axis, length in enumerate(shape_of(x)):
        places = np.arange(-widths[2 * axis], length + widths[2 * axis + 1])
        if len(places) == length:
            continue
        if mode == "reflect":
            period = max(2 * length - 2, 1)
            places = np.abs((places + length - 1) % period - (length - 1))
        elif mode == "wrap":
            places %= length
        places = np.clip(places, 0, length - 1)
        x = emit(take(x, relax.const(places, "int64"), axis))
    return x


def _pool(inputs: Inputs, attrs: dict[str, Any], held: Any, kind: Any) -> relax.Expr:
    """Pool with explicit pads alone: what ceil_mode adds at the end is padding, too."""
    x, rank = inputs[0], len(attrs["kernel_shape"])
    if rank != x.ty.ndim - 2 or rank > 3:
        raise ValueError(f"over {x.ty.ndim - 2} axes it is not supported")
    same_padding(x, None, attrs)
    pads = list(attrs.get("pads", (0,) * 2 * rank))
    if kind is MaxPool and attrs["tvm_custom"]["num_outputs"] > 1:
        extra = _ceil_padding(shape_of(x)[2:], pads, attrs) if attrs.get("ceil_mode", 0) else [0]
        pads[rank:] = [end + extra[i % len(extra)] for i, end in enumerate(pads[rank:])]
        return max_pool_with_places(x, attrs, pads)
    include = bool(attrs.pop("count_include_pad", 0)) and any(pads)
    extra = _ceil_padding(shape_of(x)[2:], pads, attrs) if attrs.pop("ceil_mode", 0) else [0] * rank
    if any(extra) and include:
        raise ValueError("ceil_mode with count_include_pad and pads is not supported")
    ends = [end + more for end, more in zip(pads[rank:], extra, strict=True)]
    plain = {**attrs, "pads": (*pads[:rank], *ends), "count_include_pad": include}
    return kind._impl_v1(None, inputs, plain, held)


def _ceil_padding(lengths: tuple[int, ...], pads: list[int], attrs: dict[str, Any]) -> list[int]:
    rank, extra = len(lengths), []
    strides, dilations = (attrs.get(key, (1,) * rank) for key in ("strides", "dilations"))
    for i, length in enumerate(lengths):
        window = (attrs["kernel_shape"][i] - 1) * dilations[i] + 1
        padded = length + pads[i] + pads[rank + i]
        count = -(-(padded - window) // strides[i]) + 1
        if (count - 1) * strides[i] >= length + pads[i]:  # it would see no input at all
            count -= 1
        extra.append(max(0, (count - 1) * strides[i] + window - padded))
    return extra


def max_pool(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """MaxPool, of 1 to 3 axes."""
    return _pool(inputs, attrs, held, MaxPool)


def average_pool(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """AveragePool, of 1 to 3 axes."""
    if any(step != 1 for step in attrs.get("dilations", ())):
        raise ValueError("dilations are not supported")
    return _pool(inputs, attrs, held, AveragePool)


def lp_pool(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """LpPool: (sum of |x|^p)^(1/p) over each window, zeros around."""
    x, power = inputs[0], attrs.pop("p", 2)
    if attrs.get("ceil_mode", 0):
        raise ValueError("ceil_mode is not supported")
    powers = relax.op.power(relax.op.abs(x), like(x, power))
    windows = {**attrs, "count_include_pad": 1}
    means = _pool([emit(powers)], windows, held, AveragePool)
    sums = relax.op.multiply(means, like(x, np.prod(attrs["kernel_shape"])))
    return relax.op.power(sums, like(x, 1 / power))


def conv_transpose(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """ConvTranspose; ``auto_pad`` and ``output_shape`` become pads."""
    x, weight, mode = inputs[0], inputs[1], attrs.pop("auto_pad", b"NOTSET").decode()
    lengths, rank = shape_of(x)[2:], x.ty.ndim - 2
    kernel = tuple(attrs.setdefault("kernel_shape", shape_of(weight)[2:]))
    strides, dilations = (tuple(attrs.get(key, (1,) * rank)) for key in ("strides", "dilations"))
    wanted = attrs.pop("output_shape", None)
    if mode.startswith("SAME") and wanted is None:
        wanted = [length * stride for length, stride in zip(lengths, strides, strict=True)]
    if wanted is not None:
        more = attrs.get("output_padding", (0,) * rank)
        totals = [
            strides[i] * (lengths[i] - 1)
            + more[i]
            + (kernel[i] - 1) * dilations[i]
            + 1
            - wanted[len(wanted) - rank + i]
            for i in range(rank)
        ]
        attrs["output_padding"] = [m - min(0, t) for m, t in zip(more, totals, strict=True)]
        totals = [max(0, total) for total in totals]
        attrs["pads"] = _halves(totals, more_at_end=mode != "SAME_LOWER")
    return ConvTranspose._impl_v1(relax.BlockBuilder.current(), inputs, attrs, held)


def resize(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """Resize. One axis after the other, or by TVM's own operator where it computes the same."""
    if len(inputs) == 2:  # opset 10: scales alone, asymmetric, floor
        inputs = [inputs[0], None, inputs[1]]
        attrs = {"coordinate_transformation_mode": b"asymmetric", "nearest_mode": b"floor", **attrs}
    x, text = inputs[0], _texts(attrs)
    if attrs.get("antialias") or text["coordinates"] == "tf_crop_and_resize":
        raise ValueError("antialias and tf_crop_and_resize are not supported")
    wanted, factors = _resized(x, inputs, attrs, held)
    if all(length == size for length, size in zip(shape_of(x), wanted, strict=True)) and all(
        factor == 1 for factor in factors
    ):
        return x
    if _is_native(x, wanted, factors, text):
        return _resize2d(x, wanted, attrs, text)
    whole = np.allclose(np.asarray(shape_of(x)) * factors, wanted, atol=1e-4)
    if text["coordinates"] == "align_corners" and not whole:
        raise ValueError("align_corners with scales that give no whole size is not supported")
    for axis, (length, size) in enumerate(zip(shape_of(x), wanted, strict=True)):
        if length != size or factors[axis] != 1:
            places = resample.coordinates(text["coordinates"], length, size, factors[axis])
            x = _resize_axis(x, axis, places, attrs, text)
    return x


def _texts(attrs: dict[str, Any]) -> dict[str, str]:
    return {
        "mode": attrs.get("mode", b"nearest").decode(),
        "rounding": attrs.get("nearest_mode", b"round_prefer_floor").decode(),
        "coordinates": attrs.get("coordinate_transformation_mode", b"half_pixel").decode(),
    }


def _resized(
    x: relax.Expr, inputs: Inputs, attrs: dict[str, Any], held: Any
) -> tuple[list[int], list[float]]:
    """Find every axis' length and factor from the scales or the sizes."""
    lengths = shape_of(x)
    axes = [axis % len(lengths) for axis in attrs.get("axes") or range(len(lengths))]
    scales, sizes = array(inputs, 2, held), array(inputs, 3, held)
    wanted, factors = list(lengths), [1.0] * len(lengths)
    policy = attrs.get("keep_aspect_ratio_policy", b"stretch").decode()
    if scales is not None and scales.size:
        for axis, scale in zip(axes, scales.tolist(), strict=True):
            wanted[axis], factors[axis] = int(lengths[axis] * scale), scale
    elif sizes is not None:
        exact = [size / lengths[axis] for axis, size in zip(axes, sizes.tolist(), strict=True)]
        if policy != "stretch":
            same = min(exact) if policy == "not_larger" else max(exact)
            exact = [same] * len(axes)
            sizes = np.array([int(same * lengths[a] + 0.5) for a in axes])
        for axis, size, factor in zip(axes, sizes, exact, strict=True):
            wanted[axis], factors[axis] = int(size), factor
    return wanted, factors


def _is_native(
    x: relax.Expr, wanted: list[int], factors: list[float], text: dict[str, str]
) -> bool:
    """Whether relax.image.resize2d, which knows lengths alone, computes the same."""
    exact = np.asarray(shape_of(x)) * factors
    return (
        x.ty.ndim == 4
        and text["coordinates"] in _NATIVE
        and str(x.ty.dtype) == "float32"
        and tuple(wanted[:2]) == shape_of(x)[:2]
        and bool(np.allclose(exact, wanted, atol=1e-4))
    )


def _resize2d(
    x: relax.Expr, wanted: list[int], attrs: dict[str, Any], text: dict[str, str]
) -> relax.Expr:
    return relax.op.image.resize2d(
        x,
        tuple(wanted[2:]),
        layout="NCHW",
        method="nearest_neighbor" if text["mode"] == "nearest" else text["mode"],
        coordinate_transformation_mode=text["coordinates"],
        rounding_method=text["rounding"],
        cubic_alpha=attrs.get("cubic_coeff_a", -0.75),
        cubic_exclude=attrs.get("exclude_outside", 0),
    )


def _resize_axis(
    x: relax.Expr, axis: int, places: np.ndarray, attrs: dict[str, Any], text: dict[str, str]
) -> relax.Expr:
    if text["mode"] == "nearest":
        made = resample.nearest(x, axis, places, text["rounding"])
    elif text["mode"] == "linear":
        made = resample.linear(x, axis, places)
    else:
        sharpness, exclude = attrs.get("cubic_coeff_a", -0.75), attrs.get("exclude_outside", 0)
        made = resample.cubic(x, axis, places, sharpness, exclude_outside=bool(exclude))
    return emit(made)


def upsample(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """Upsample (opsets 7 to 9): a Resize by scales, asymmetric, floor."""
    scales = attrs.pop("scales", None)
    given = inputs[1] if scales is None else relax.const(np.asarray(scales, "float32"))
    return resize([inputs[0], given], attrs, held)


OWN = {
    "AveragePool": average_pool,
    "ConvTranspose": conv_transpose,
    "LpPool": lp_pool,
    "MaxPool": max_pool,
    "Pad": pad,
    "Resize": resize,
    "Upsample": upsample,
}
