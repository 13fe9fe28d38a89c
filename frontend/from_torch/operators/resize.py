"""Resizing of images.

Where both read the same places, Relax's resize2d is used, which backends know. Everything else is
linear along each axis: a product with the matrix that torch's own operator has for that axis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tvm import relax

from ....ir.edit import shape_of
from ..operator_call import OperatorCall
from .indexing import clipped_take

_aten = torch.ops.aten
Resize = Callable[[Tensor, list[int], float | None, float | None], Tensor]

_BREADTH = 2
"""Of the images of unit vectors: torch 2.13 antialiases one that is a pixel wide wrongly."""


def _factors(
    x: relax.Expr, scale_factors: Sequence[float] | None
) -> tuple[float | None, float | None]:
    return (None, None) if scale_factors is None else tuple(scale_factors)  # type: ignore


def _is_plain(x: relax.Expr, call: OperatorCall, factors: Sequence[float | None]) -> bool:
    """Whether a scale that was given is the ratio of the sizes."""
    return all(
        factor is None or length * factor == result
        for length, result, factor in zip(shape_of(x)[2:], call.shape[2:], factors, strict=True)
    )


def _resize2d(call: OperatorCall, x: relax.Expr, **settings: Any) -> relax.Expr:
    return call.emit(relax.op.image.resize2d, x, call.shape[2:], layout="NCHW", **settings)


def _by_matrices(
    call: OperatorCall, x: relax.Expr, resize: Resize, factors: Sequence[float | None]
) -> relax.Expr:
    """Multiply from the left, so that no pass takes the matrix for a layer's weight."""
    for axis in (2, 3):
        matrix = _matrix(resize, shape_of(x)[axis], call.shape[axis], axis, factors[axis - 2])
        if not np.array_equal(matrix, np.eye(shape_of(x)[axis])):
            x = x if axis == 2 else call.permute(x, [0, 1, 3, 2])
            x = call.emit(relax.op.matmul, relax.const(matrix), x)
            x = x if axis == 2 else call.permute(x, [0, 1, 3, 2])
    return x


def _matrix(
    resize: Resize, length: int, result: int, axis: int, factor: float | None
) -> np.ndarray:
    """(result, length): what torch makes of each unit vector along the axis."""
    units = torch.eye(length).expand(1, _BREADTH, length, length)
    image = units.permute(0, 2, 3, 1) if axis == 2 else units.permute(0, 2, 1, 3)
    size, scales = [result, _BREADTH], [factor, None]
    if axis == 3:
        size, scales = size[::-1], scales[::-1]
    found = resize(image.contiguous(), size, *scales)
    found = found[0, :, :, 0] if axis == 2 else found[0, :, 0]
    return found.T.contiguous().numpy()


def bilinear(
    call: OperatorCall,
    input: relax.Expr,
    output_size: Sequence[int] | None,
    align_corners: bool,
    scale_factors: Sequence[float] | None,
) -> relax.Expr:
    """Between the four neighbours."""
    factors = _factors(input, scale_factors)
    alone = align_corners and 1 in call.shape[2:]  # TVM would divide by 0
    if not alone and (align_corners or _is_plain(input, call, factors)):
        coordinates = "align_corners" if align_corners else "half_pixel"
        return _resize2d(call, input, method="linear", coordinate_transformation_mode=coordinates)

    def resize(x: Tensor, size: list[int], *scales: float | None) -> Tensor:
        return _aten.upsample_bilinear2d(x, size, align_corners, *scales)

    return _by_matrices(call, input, resize, factors)


def nearest(
    call: OperatorCall,
    input: relax.Expr,
    output_size: Sequence[int] | None,
    scale_factors: Sequence[float] | None,
) -> relax.Expr:
    """Pixel i from pixel floor(i * input length / output length), as torch rounds that."""
    factors = _factors(input, scale_factors)
    whole = all(r % n == 0 for n, r in zip(shape_of(input)[2:], call.shape[2:], strict=True))
    if whole and _is_plain(input, call, factors):
        return _resize2d(
            call,
            input,
            method="nearest_neighbor",
            coordinate_transformation_mode="asymmetric",
            rounding_method="floor",
        )
    for axis in (2, 3):
        matrix = _matrix(
            _aten.upsample_nearest2d,
            *(shape_of(input)[axis], call.shape[axis], axis, factors[axis - 2]),
        )
        places = relax.const(matrix.argmax(1).astype(np.int64), "int64")
        input = clipped_take(call, input, places, axis)
    return input


def _antialiased(operator: Any) -> Any:
    def convert(
        call: OperatorCall,
        x: relax.Expr,
        output_size: Sequence[int],
        align_corners: bool,
        scales_h: float | None,
        scales_w: float | None,
    ) -> relax.Expr:
        def resize(image: Tensor, size: list[int], *scales: float | None) -> Tensor:
            return operator(image, size, align_corners, *scales)

        return _by_matrices(call, x, resize, (scales_h, scales_w))

    return convert


bilinear_antialiased = _antialiased(_aten._upsample_bilinear2d_aa)
bicubic_antialiased = _antialiased(_aten._upsample_bicubic2d_aa)
