"""Operators on whole images: crops, affine grids, regions of interest."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax
from tvm.relax.frontend.onnx.onnx_frontend import RoiAlign

from ....ir.edit import shape_of
from ..arguments import Inputs, emit, integers

_op = relax.op


def center_crop_pad(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """CenterCropPad to constant lengths; what cannot be halved is less at the start."""
    x, wanted = inputs[0], integers(inputs, 1, None, held) or []
    lengths, rank = shape_of(x), x.ty.ndim
    axes = [axis % rank for axis in attrs.get("axes") or range(rank)]
    begin, end, width = [0] * rank, list(lengths), [0] * (2 * rank)
    for axis, size in zip(axes, wanted, strict=True):
        apart = abs(lengths[axis] - size)
        if size < lengths[axis]:
            begin[axis], end[axis] = apart // 2, apart // 2 + size
        else:
            width[2 * axis : 2 * axis + 2] = apart // 2, apart - apart // 2
    if begin != [0] * rank or end != list(lengths):
        x = emit(_op.strided_slice(x, list(range(rank)), begin, end))
    return _op.nn.pad(x, width, "constant", 0.0) if any(width) else x


def affine_grid(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """AffineGrid: the places that GridSample reads, (batch, …, 2 or 3), of a constant size."""
    theta, size = inputs[0], integers(inputs, 1, None, held) or []
    image, dtype = size[2:], str(theta.ty.dtype)
    axes = []
    for length in image:
        if attrs.get("align_corners", 0):
            axes.append(np.linspace(-1, 1, length) if length > 1 else np.array([-1.0]))
        else:
            axes.append((np.arange(length) * 2 + 1) / length - 1)
    grid = np.meshgrid(*axes, indexing="ij")[::-1]  # x first
    rows = np.stack([*(plane.ravel() for plane in grid), np.ones(int(np.prod(image)))], -1)
    turned = emit(_op.permute_dims(theta, [0, 2, 1]))
    y = emit(_op.matmul(relax.const(rows.astype(dtype)[None], dtype), turned))
    return _op.reshape(y, (size[0], *image, len(image)))


def roi_align(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """RoiAlign; up to opset 15 there is no half pixel."""
    older = attrs["tvm_custom"]["opset"] < 16
    default = b"output_half_pixel" if older else b"half_pixel"
    attrs.setdefault("coordinate_transformation_mode", default)
    return RoiAlign._impl(relax.BlockBuilder.current(), inputs, attrs, held, default)


OWN = {"AffineGrid": affine_grid, "CenterCropPad": center_crop_pad, "RoiAlign": roi_align}
