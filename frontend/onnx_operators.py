"""Where TVM's ONNX importer makes kernels, or takes padding wrongly, the operators said afresh.

Passes need high-level operators; a kernel (`call_tir`) hides what it does from them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tvm import relax
from tvm.ir import GenericConst
from tvm.relax.frontend.onnx import onnx_frontend

from .graph import shape_of

Inputs = Sequence[Any]
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


OWN: dict[str, Callable[[Inputs, dict[str, Any], Any], relax.Expr | None]] = {
    "Clip": clip,
    "Dropout": dropout,
    "Gather": gather,
    "Pad": pad,
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
