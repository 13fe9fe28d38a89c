"""Layers with weights: dense, convolutional, and products of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import relax

from ....ir.edit import shape_of
from ..operator_call import OperatorCall

_CONVOLUTIONS = {
    3: (relax.op.nn.conv1d, relax.op.nn.conv1d_transpose),
    4: (relax.op.nn.conv2d, relax.op.nn.conv2d_transpose),
    5: (relax.op.nn.conv3d, relax.op.nn.conv3d_transpose),
}


def linear(
    call: OperatorCall, input: relax.Expr, weight: relax.Expr, bias: relax.Expr | None
) -> relax.Expr:
    """``x @ weight.T + bias``."""
    _floats(call)
    if len(shape_of(weight)) == 2:
        weight = call.emit(relax.op.permute_dims, weight)
    product = _product(call, input, weight)
    return product if bias is None else call.emit(relax.op.add, product, bias)


def _floats(call: OperatorCall) -> None:
    if call.dtype != "float32":
        raise ValueError(f"it multiplies matrices of {call.dtype}; convert them with .float()")


def _product(call: OperatorCall, a: relax.Expr, b: relax.Expr) -> relax.Expr:
    """A product of matrices, of which either may be a vector: then it is one for the product."""
    left, right = shape_of(a), shape_of(b)
    a = call.reshape(a, (1, *left)) if len(left) == 1 else a
    b = call.reshape(b, (*right, 1)) if len(right) == 1 else b
    product = call.emit(relax.op.matmul, a, b, "float32")
    shape = list(shape_of(product))
    if len(right) == 1:
        shape.pop(-1)
    if len(left) == 1:
        shape.pop(-2 if len(right) > 1 else -1)
    return call.reshape(product, shape)


def matmul(call: OperatorCall, x: relax.Expr, other: relax.Expr) -> relax.Expr:
    """A product of matrices, vectors or stacks of them."""
    _floats(call)
    return _product(call, x, other)


def mm(call: OperatorCall, x: relax.Expr, mat2: relax.Expr) -> relax.Expr:
    """A product of two matrices, or of two stacks."""
    return matmul(call, x, mat2)


def addmm(
    call: OperatorCall,
    x: relax.Expr,
    mat1: relax.Expr,
    mat2: relax.Expr,
    beta: float,
    alpha: float,
) -> relax.Expr:
    """``beta * x + alpha * mat1 @ mat2``; with beta 0, x is not read."""
    product = matmul(call, mat1, mat2)
    if alpha != 1:
        product = call.emit(relax.op.multiply, product, call.cast(alpha))
    if beta == 0:
        return product
    if beta != 1:
        x = call.emit(relax.op.multiply, x, call.cast(beta))
    return call.emit(relax.op.add, product, x)


def trilinear(
    call: OperatorCall,
    i1: relax.Expr,
    i2: relax.Expr,
    i3: relax.Expr,
    expand1: Sequence[int],
    expand2: Sequence[int],
    expand3: Sequence[int],
    sumdim: Sequence[int],
) -> relax.Expr:
    """The product of three tensors, each given new axes, summed over some."""
    parts = []
    for part, axes in ((i1, expand1), (i2, expand2), (i3, expand3)):
        parts.append(call.emit(relax.op.expand_dims, part, list(axes)) if axes else part)
    product = call.emit(relax.op.multiply, parts[0], parts[2])
    product = call.emit(relax.op.multiply, product, parts[1])
    return call.emit(relax.op.sum, product, list(sumdim), False)


def convolution(
    call: OperatorCall,
    input: relax.Expr,
    weight: relax.Expr,
    bias: relax.Expr | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> relax.Expr:
    """Convolve over one, two or three axes, forwards or transposed; a single image too."""
    _floats(call)
    rank, shape = len(shape_of(weight)), shape_of(input)
    if rank not in _CONVOLUTIONS:
        raise ValueError(f"its weight has {rank} axes; three to five can be imported")
    operator = _CONVOLUTIONS[rank][transposed]
    settings: dict[str, Any] = {
        "strides": _extents(stride, rank),
        "padding": _extents(padding, rank),
        "dilation": _extents(dilation, rank),
        "groups": groups,
        "out_dtype": "float32",
    }
    if transposed:
        settings["output_padding"] = _extents(output_padding, rank)
    x = call.reshape(input, (1, *shape)) if len(shape) == rank - 1 else input
    y = call.emit(operator, x, weight, **settings)
    if bias is not None:
        along = (1, shape_of(bias)[0], *(1,) * (rank - 2))
        y = call.emit(relax.op.add, y, call.emit(relax.op.reshape, bias, along))
    return call.reshape(y, call.shape)


def _extents(values: Sequence[int], rank: int) -> list[int]:
    """One number for each spatial axis; one alone is for all."""
    return list(values) if len(values) == rank - 2 else list(values) * (rank - 2)
