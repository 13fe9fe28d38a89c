"""Where TVM's ONNX importer makes kernels, or takes padding wrongly, the operators said afresh.

Passes need high-level operators; a kernel (`call_tir`) hides what it does from them.
"""

from __future__ import annotations

from collections.abc import Callable, MutableSequence
from typing import Any

import numpy as np
from tvm import relax
from tvm.ir import GenericConst
from tvm.relax.frontend.onnx import onnx_frontend

from ...ir.edit import shape_of

Inputs = MutableSequence[Any]
_PAD_MODES = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}


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
    less = [total // 2 for total in totals]
    more = [total - half for total, half in zip(totals, less, strict=True)]
    attrs["pads"] = (*less, *more) if mode == "SAME_UPPER" else (*more, *less)


def clip(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """Clip: bounds are attributes up to opset 10, constant inputs after."""
    low, high = _scalar(inputs, 1, held), _scalar(inputs, 2, held)
    low = attrs.get("min", -np.inf) if low is None else low
    high = attrs.get("max", np.inf) if high is None else high
    low = min(low, high)  # where they cross, ONNX gives the upper bound
    if low == -np.inf and high == np.inf:
        return inputs[0]
    if low == 0 and high == np.inf:
        return relax.op.nn.relu(inputs[0])
    return relax.op.clip(inputs[0], float(low), float(high))


def dropout(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """Dropout does nothing in inference; in training mode it cannot be imported."""
    if _scalar(inputs, 2, held):
        raise ValueError("it is in training mode; export the network in eval mode")
    return inputs[0]


def pad(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """Pad by constant widths, an attribute up to opset 10, inputs after; negative widths cut."""
    x, mode = inputs[0], attrs.get("mode", b"constant").decode()
    widths = attrs.get("pads") or _array(inputs, 1, held)
    given = _array(inputs, 3, held)
    rank = x.ty.ndim
    axes = list(range(rank)) if given is None else [int(axis) % rank for axis in given]
    before, after = np.zeros(rank, int), np.zeros(rank, int)
    before[axes], after[axes] = np.split(np.asarray(widths), 2)
    if min(*before, *after) < 0:
        if mode != "constant":
            raise ValueError(f"negative widths in mode {mode} are not supported")
        ends = [length + min(0, a) for length, a in zip(shape_of(x), after, strict=True)]
        starts = [-min(0, b) for b in before]
        x = relax.op.strided_slice(
            x, list(range(rank)), list(map(int, starts)), list(map(int, ends))
        )
    full = [int(max(0, width)) for pair in zip(before, after, strict=True) for width in pair]
    if mode != "constant":
        return relax.op.nn.pad(x, full, _PAD_MODES[mode])
    value = _scalar(inputs, 2, held)
    fill = attrs.get("value", 0.0) if value is None else value
    return relax.op.nn.pad(x, full, "constant", float(fill))


def gather(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr | None:
    """Gather: negative places count from the end. None leaves shapes to TVM's importer."""
    x, places = inputs[0], onnx_frontend.get_constant(inputs[1], held)
    if not isinstance(x.ty, relax.TensorType):
        return None
    axis = attrs.get("axis", 0) % x.ty.ndim
    length = shape_of(x)[axis]
    if not isinstance(places, GenericConst):
        dtype = str(places.ty.dtype)
        wrapped = relax.op.add(places, relax.const(length, dtype))
        negative = relax.op.less(places, relax.const(0, dtype))
        return relax.op.take(x, relax.op.where(negative, wrapped, places), axis)
    indices = places.value.numpy().astype(np.int64)
    if indices.size and not -length <= indices.min() <= indices.max() < length:
        raise ValueError(f"an index is outside the {length} elements of axis {axis}")
    indices = np.where(indices < 0, indices + length, indices)
    return relax.op.take(x, relax.const(indices, "int64"), axis)


def tile(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """Tile by constant repeats."""
    repeats = _array(inputs, 1, held)
    if repeats is None:
        raise TypeError("it has no repeats")
    return relax.op.tile(inputs[0], [int(count) for count in repeats])


def resize(inputs: Inputs, attrs: dict[str, Any], held: Any) -> None:
    """Leave Resize to TVM's importer, less what it would get wrong.

    It computes places from the lengths, ONNX from the scales: the same where the scaled length is
    whole.
    """
    mode = attrs.get("coordinate_transformation_mode", b"half_pixel").decode()
    if mode in ("half_pixel_symmetric", "tf_crop_and_resize") or attrs.get("antialias"):
        raise ValueError(f"mode {mode} with antialias {attrs.get('antialias', 0)} is not supported")
    if attrs.get("keep_aspect_ratio_policy", b"stretch") != b"stretch" or attrs.get("axes"):
        raise ValueError("axes and keep_aspect_ratio_policy are not supported")
    scales = _array(inputs, 2, held)
    if scales is not None and scales.size == 0:
        inputs[2] = None
    elif scales is not None:
        lengths = np.asarray(shape_of(inputs[0])) * scales
        if not np.allclose(lengths, np.round(lengths), atol=1e-4):
            raise ValueError("its scales do not give whole sizes; export with sizes")


def upsample(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """Upsample (opsets 7 to 9): output pixel i comes from place i / scale."""
    mode = attrs.get("mode", b"nearest").decode()
    scales = attrs.get("scales") or _array(inputs, 1, held)
    exact = np.asarray(shape_of(inputs[0])) * scales
    if (
        mode not in ("nearest", "linear")
        or len(exact) != 4
        or not np.allclose(exact, exact.round())
    ):
        raise ValueError("only whole sizes of images, nearest or linear, are supported")
    return relax.op.image.resize2d(
        inputs[0],
        tuple(int(length) for length in exact.round()[2:]),
        layout="NCHW",
        method="nearest_neighbor" if mode == "nearest" else "linear",
        coordinate_transformation_mode="asymmetric",
        rounding_method="floor",
    )


def refuse(operator: str, attrs: dict[str, Any], rank: int) -> None:
    """Refuse settings that TVM's importer ignores or gets wrong."""
    if operator == "LayerNormalization" and attrs["tvm_custom"]["num_outputs"] > 1:
        raise ValueError("its mean and deviation are not supported as outputs")
    if operator == "RMSNormalization" and attrs.get("axis", -1) not in (-1, rank - 1):
        raise ValueError("only the last axis is supported")
    if operator == "ConvTranspose" and ("output_shape" in attrs or "auto_pad" in attrs):
        raise ValueError("output_shape and auto_pad are not supported; export with pads")
    if operator == "BatchNormalization" and attrs.get("training_mode"):
        raise ValueError("it is in training mode; export the network in eval mode")
    if operator == "RoiAlign" and attrs.get("mode", b"avg") != b"avg":
        raise ValueError("only the mode avg is supported")
    if operator == "SpaceToDepth" and attrs.get("mode", b"DCR") != b"DCR":
        raise ValueError("only the mode DCR is supported")


OWN: dict[str, Callable[[Inputs, dict[str, Any], Any], relax.Expr | None]] = {
    "Clip": clip,
    "Dropout": dropout,
    "Gather": gather,
    "Pad": pad,
    "Resize": resize,
    "Tile": tile,
    "Upsample": upsample,
}
PADDED = ("Conv", "MaxPool", "AveragePool")


def _array(inputs: Inputs, index: int, held: Any) -> np.ndarray | None:
    given = inputs[index] if index < len(inputs) else None
    if given is None:
        return None
    constant = onnx_frontend.get_constant(given, held)
    if not isinstance(constant, GenericConst):
        raise TypeError(
            f"its input {index} is computed by the network; only constants are supported"
        )
    return constant.value.numpy()


def _scalar(inputs: Inputs, index: int, held: Any) -> Any:
    value = _array(inputs, index, held)
    return None if value is None else value.item()
