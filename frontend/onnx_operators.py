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
_PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}


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
    """Pad with constant widths: an attribute up to opset 10, inputs after."""
    mode = attrs.get("mode", b"constant").decode()
    if mode not in _PAD_MODES:
        raise ValueError(f"mode {mode} is not supported")
    widths = attrs.get("pads") or _array(inputs, 1, held)
    value = _scalar(inputs, 2, held)
    rank = inputs[0].ty.ndim
    axes = _array(inputs, 3, held)
    axes = list(range(rank)) if axes is None else [int(axis) % rank for axis in axes]
    full = [0] * (2 * rank)
    for i, axis in enumerate(axes):
        full[2 * axis], full[2 * axis + 1] = int(widths[i]), int(widths[i + len(axes)])
    fill = float(attrs.get("value", 0.0) if value is None else value)
    if mode == "constant" and min(full) >= 0:
        return relax.op.nn.pad(inputs[0], full, "constant", fill)
    if min(full) < 0:
        raise ValueError("negative widths are not supported")
    return relax.op.nn.pad(inputs[0], full, _PAD_MODES[mode])


OWN: dict[str, Callable[[Inputs, dict[str, Any], Any], relax.Expr]] = {
    "Clip": clip,
    "Dropout": dropout,
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
