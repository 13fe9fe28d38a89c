"""ONNX operators that TVM's importer gets wrong, or makes kernels of, said afresh.

Passes need high-level operators; a kernel (`call_tir`) hides what it does from them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax
from tvm.ir import GenericConst
from tvm.relax.frontend.onnx import onnx_frontend

from ....ir.edit import shape_of
from ..arguments import Inputs, emit, given, integers, like, scalar
from . import (
    attention,
    choosing,
    einsum,
    images,
    indexing,
    reductions,
    signal,
    spatial,
    whole_numbers,
    windows,
)

_op = relax.op


def clip(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """Clip: bounds are attributes up to opset 10, inputs after."""
    x, dtype = inputs[0], np.dtype(str(inputs[0].ty.dtype))
    bounds = [onnx_frontend.get_constant(given(inputs, at), held) for at in (1, 2)]
    if not all(bound is None or isinstance(bound, GenericConst) for bound in bounds):
        for bound, operator in zip(bounds, (_op.maximum, _op.minimum), strict=True):
            x = x if bound is None else emit(operator(x, bound))
        return x
    low, high = scalar(inputs, 1, held), scalar(inputs, 2, held)
    low = attrs.get("min", -np.inf) if low is None else low
    high = attrs.get("max", np.inf) if high is None else high
    low = min(low, high)  # where they cross, ONNX gives the upper bound
    if low == -np.inf and high == np.inf:
        return x
    if dtype.kind != "f":  # of integers, a bound that is not given is no bound
        x = x if low == -np.inf else emit(_op.maximum(x, like(x, low)))
        return x if high == np.inf else _op.minimum(x, like(x, high))
    if low == 0 and high == np.inf:
        return _op.nn.relu(x)
    return _op.clip(x, float(low), float(high))


def dropout(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """Dropout does nothing in inference; in training mode it cannot be imported."""
    x, ratio = inputs[0], scalar(inputs, 1, held)
    if scalar(inputs, 2, held) and ratio != 0:
        raise ValueError("it is in training mode; export the network in eval mode")
    if attrs["tvm_custom"]["num_outputs"] == 1:
        return x
    return relax.Tuple([x, relax.const(np.ones(shape_of(x), bool))])


def tile(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """Tile by constant repeats."""
    repeats = integers(inputs, 1, None, held)
    if repeats is None:
        raise TypeError("it has no repeats")
    return _op.tile(inputs[0], repeats)


def split(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """Split by lengths (an attribute up to opset 12), or evenly, the last part the smaller."""
    x, count = inputs[0], attrs["tvm_custom"]["num_outputs"]
    axis = attrs.get("axis", 0) % x.ty.ndim
    length = shape_of(x)[axis]
    parts = integers(inputs, 1, attrs.get("split"), held)
    if parts is None:
        size = -(-length // count)
        parts = [size] * (count - 1) + [length - size * (count - 1)]
    if sum(parts) != length or min(parts) < 0 or len(parts) != count:
        raise ValueError(f"its parts {parts} do not make up the {length} elements of axis {axis}")
    ends, shape = np.cumsum(parts).tolist(), shape_of(x)
    if 0 not in parts:
        return x if count == 1 else _op.split(x, ends[:-1], axis)
    empty = np.zeros((*shape[:axis], 0, *shape[axis + 1 :]), str(x.ty.dtype))
    cut = [
        emit(_op.strided_slice(x, [axis], [end - size], [end])) if size else relax.const(empty)
        for end, size in zip(ends, parts, strict=True)
    ]
    return relax.Tuple(cut)


def concat(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr | None:
    """Concat without what is empty. None leaves shapes, and all else, to TVM's importer."""
    tensors = [isinstance(part.ty, relax.TensorType) for part in inputs]
    if not all(tensors) or all(0 not in shape_of(part) for part in inputs):
        return None
    kept = [part for part in inputs if 0 not in shape_of(part)] or inputs[:1]
    return kept[0] if len(kept) == 1 else _op.concat(kept, attrs["axis"])


def is_inf(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """IsInf of either sign, or of one."""
    x = inputs[0]
    positive, negative = attrs.get("detect_positive", 1), attrs.get("detect_negative", 1)
    if positive and negative:
        return _op.isinf(x)
    if not positive and not negative:
        return relax.const(np.zeros(shape_of(x), bool))
    return _op.equal(x, like(x, np.inf if positive else -np.inf))


def prelu(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """PRelu: the slope is broadcast to x; one for each channel is what `prelu` knows."""
    x, slope = inputs[0], inputs[1]
    if not str(x.ty.dtype).startswith("float"):
        raise ValueError(f"of {x.ty.dtype} it cannot be imported; only floats can")
    rank, shape = x.ty.ndim, shape_of(slope)
    lengths = (1,) * (rank - len(shape)) + shape
    channels = shape_of(x)[1] if rank > 1 else 0
    if channels and lengths[1] == channels == int(np.prod(lengths)):
        return _op.nn.prelu(x, emit(_op.reshape(slope, (channels,))), axis=1)
    return _op.where(_op.less(x, like(x, 0)), _op.multiply(x, slope), x)


def sum_up(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """Sum of one or more tensors, broadcast."""
    return _fold(_op.add, inputs)


def mean(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """Mean of one or more tensors, broadcast."""
    return _op.divide(_fold(_op.add, inputs), like(inputs[0], len(inputs)))


def _fold(operator: Callable[..., relax.Expr], inputs: Inputs) -> relax.Expr:
    total = inputs[0]
    for value in inputs[1:]:
        total = emit(operator(total, value))
    return total


OWN: dict[str, Callable[[Inputs, dict[str, Any], Any], relax.Expr | None]] = {
    "Clip": clip,
    "Concat": concat,
    "Dropout": dropout,
    "IsInf": is_inf,
    "Max": lambda inputs, attrs, held: _fold(_op.maximum, inputs),
    "Mean": mean,
    "Min": lambda inputs, attrs, held: _fold(_op.minimum, inputs),
    "PRelu": prelu,
    "Split": split,
    "Sum": sum_up,
    "Tile": tile,
    **attention.OWN,
    **choosing.OWN,
    **einsum.OWN,
    **images.OWN,
    **indexing.OWN,
    **reductions.OWN,
    **signal.OWN,
    **spatial.OWN,
    **whole_numbers.OWN,
    **windows.OWN,
}
