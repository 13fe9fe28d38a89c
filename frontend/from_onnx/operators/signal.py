"""Fourier transforms as products with constant matrices.

Before  STFT(x, step, window)            x (batch, samples, 1)
After   take(x, frames) @ matrix         frames (count, length), matrix (length, 2 * bins)
Shapes  small ones: the matrix grows with the square of the length
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax
from tvm.ir import GenericConst
from tvm.relax.frontend.onnx import onnx_frontend

from ....ir.edit import shape_of
from ...fourier import fourier_matrix
from ..arguments import Inputs, emit, given, scalar
from .indices import take

_op = relax.op


def dft(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """DFT along an axis, there or back; the last axis holds real and imaginary parts."""
    x, rank = inputs[0], inputs[0].ty.ndim
    axis = scalar(inputs, 2, held)
    default = 1 if attrs["tvm_custom"]["opset"] < 20 else -2
    axis = int(attrs.get("axis", default) if axis is None else axis) % rank
    one_sided, inverse = bool(attrs.get("onesided", 0)), bool(attrs.get("inverse", 0))
    length = scalar(inputs, 1, held)
    if length is None:
        given = shape_of(x)[axis]
        length = 2 * (given - 1) if inverse and one_sided else given
    order = [*(i for i in range(rank - 1) if i != axis), axis, rank - 1]
    x = emit(_op.permute_dims(x, order))
    count, parts = shape_of(x)[-2:]
    matrix = fourier_matrix(count, parts, int(length), inverse=inverse, one_sided=one_sided)
    y = _product(x, matrix)
    return _op.permute_dims(y, [order.index(i) for i in range(rank)])


def stft(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """STFT: the DFT of overlapping frames, each multiplied by a window."""
    x = inputs[0]
    x = x if x.ty.ndim == 3 else emit(_op.expand_dims(x, -1))
    step, window = int(scalar(inputs, 1, held)), given(inputs, 2)
    length = scalar(inputs, 3, held)
    if length is None:
        if window is None:
            raise ValueError("it has neither a window nor a frame length")
        length = shape_of(window)[0]
    length = int(length)
    samples, parts = shape_of(x)[1:]
    frames = 1 + (samples - length) // step
    if frames < 1 or step < 1:
        raise ValueError(f"its frames of {length} do not fit {samples} samples in steps of {step}")
    matrix = fourier_matrix(
        length, parts, length, inverse=False, one_sided=bool(attrs.get("onesided", 1))
    )
    places = np.arange(frames)[:, None] * step + np.arange(length)
    framed = emit(take(x, relax.const(places, "int64"), 1))
    known = None if window is None else onnx_frontend.get_constant(window, held)
    if isinstance(known, GenericConst):
        factors = np.repeat(known.value.numpy().astype(np.float64), parts)
        matrix = matrix * factors[:, None, None]
    elif window is not None:
        framed = emit(_op.multiply(framed, emit(_op.expand_dims(window, 1))))
    return _product(framed, matrix)


def _product(x: relax.Expr, matrix: np.ndarray) -> relax.Expr:
    """Multiply the last two axes, flattened, with the matrix' first."""
    *front, count, parts = shape_of(x)
    inside, bins, made = matrix.shape
    dtype = str(x.ty.dtype)
    if not dtype.startswith("float"):
        raise ValueError(f"of {dtype} it cannot be imported; only floats can")
    flat = emit(_op.reshape(x, (*front, count * parts)))
    weight = relax.const(matrix.reshape(inside, bins * made).astype(dtype), dtype)
    return emit(_op.reshape(emit(_op.matmul(flat, weight)), (*front, bins, made)))


OWN = {"DFT": dft, "STFT": stft}
