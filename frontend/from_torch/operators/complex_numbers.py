"""Complex numbers as pairs: a real tensor with a last axis of real and imaginary parts.

Before  abs(_fft_r2c(x, [1], 0, True))
After   sqrt(sum(square(x @ matrix)))       matrix (length, 2 * bins), constant
Shapes  a complex (a, b) is (a, b, 2); what is not here is refused, as are complex outputs
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tvm import relax

from ....ir.edit import shape_of
from ...fourier import fourier_matrix
from ..operator_call import Converter, OperatorCall, axis_of
from .indexing import clipped_take, slice_, take
from .scattering import slice_scatter

_op = relax.op
Pair = tuple[relax.Expr, relax.Expr]


def _parts(call: OperatorCall, x: relax.Expr) -> Pair:
    """Give the real and the imaginary part."""
    real, imaginary = (take(call, x, relax.const(i, "int64"), len(shape_of(x)) - 1) for i in (0, 1))
    return real, imaginary


def _joined(call: OperatorCall, real: relax.Expr, imaginary: relax.Expr) -> relax.Expr:
    shape = np.broadcast_shapes(shape_of(real), shape_of(imaginary))
    parts = [call.reshape(call.broadcast(p, shape), (*shape, 1)) for p in (real, imaginary)]
    return call.emit(_op.concat, parts, len(shape))


def _transform(
    call: OperatorCall, x: relax.Expr, axis: int, length: int, *, inverse: bool, one_sided: bool
) -> relax.Expr:
    """Transform one axis of x (…, 1 or 2), not divided by the length."""
    rank = len(shape_of(x))
    order = [*(i for i in range(rank - 1) if i != axis), axis, rank - 1]
    x = call.permute(x, order)
    *front, count, parts = shape_of(x)
    matrix = fourier_matrix(count, parts, length, inverse=inverse, one_sided=one_sided)
    matrix = matrix * (length if inverse else 1)
    inside, bins, made = matrix.shape
    weight = relax.const(matrix.reshape(inside, bins * made).astype("float32"), "float32")
    y = call.emit(_op.matmul, call.reshape(x, (*front, inside)), weight)
    return call.permute(
        call.reshape(y, (*front, bins, made)), [order.index(i) for i in range(rank)]
    )


def _normalized(
    call: OperatorCall, y: relax.Expr, lengths: Sequence[int], normalization: int
) -> relax.Expr:
    """Divide by nothing (0), by the root of how many there are (1), or by how many (2)."""
    count = math.prod(lengths)
    scale = {0: 1.0, 1: 1 / math.sqrt(count), 2: 1 / count}[normalization]
    return y if scale == 1 else call.emit(_op.multiply, y, relax.const(scale, "float32"))


def _axes(x: relax.Expr, dim: Sequence[int], parts: int) -> list[int]:
    return [axis_of(d, len(shape_of(x)) - (parts == 2)) for d in dim]


def from_real(
    call: OperatorCall, x: relax.Expr, dim: Sequence[int], normalization: int, onesided: bool
) -> relax.Expr:
    """FFT of real values: one-sided along the last axis that is named."""
    axes, shape = _axes(x, dim, 1), shape_of(x)
    y = call.reshape(x, (*shape, 1))
    for at, axis in enumerate(reversed(axes)):
        one_sided = onesided and at == 0
        y = _transform(call, y, axis, shape[axis], inverse=False, one_sided=one_sided)
    return _normalized(call, y, [shape[axis] for axis in axes], normalization)


def to_real(
    call: OperatorCall, x: relax.Expr, dim: Sequence[int], normalization: int, last_dim_size: int
) -> relax.Expr:
    """Inverse FFT of one side, to real values."""
    *others, last = _axes(x, dim, 2)
    shape = shape_of(x)
    for axis in others:
        x = _transform(call, x, axis, shape[axis], inverse=True, one_sided=False)
    y = _transform(call, x, last, last_dim_size, inverse=True, one_sided=True)
    lengths = [*(shape[axis] for axis in others), last_dim_size]
    return call.reshape(_normalized(call, y, lengths, normalization), call.shape)


def of_complex(
    call: OperatorCall, x: relax.Expr, dim: Sequence[int], normalization: int, forward: bool
) -> relax.Expr:
    """FFT of complex values, there or back."""
    axes, shape = _axes(x, dim, 2), shape_of(x)
    for axis in axes:
        x = _transform(call, x, axis, shape[axis], inverse=not forward, one_sided=False)
    return _normalized(call, x, [shape[axis] for axis in axes], normalization)


def same(call: OperatorCall, x: relax.Expr) -> relax.Expr:
    """The same pairs: view_as_real, view_as_complex, clone."""
    return x


def part(index: int) -> Converter:
    """The real or the imaginary part."""

    def convert(call: OperatorCall, x: relax.Expr) -> relax.Expr:
        return _parts(call, x)[index]

    return convert


def absolute(call: OperatorCall, x: relax.Expr) -> relax.Expr:
    """The root of the sum of both squares."""
    return call.emit(_op.sqrt, call.emit(_op.sum, call.emit(_op.square, x), [-1], False))


def angle(call: OperatorCall, x: relax.Expr) -> relax.Expr:
    """The direction, from -pi to pi."""
    real, imaginary = _parts(call, x)
    return call.emit(_op.atan2, imaginary, real)


def made_of(call: OperatorCall, real: relax.Expr, imag: relax.Expr) -> relax.Expr:
    """``torch.complex``."""
    return _joined(call, real, imag)


def polar(call: OperatorCall, abs: relax.Expr, angle: relax.Expr) -> relax.Expr:
    """``torch.polar``."""
    turned = (call.emit(operator, angle) for operator in (_op.cos, _op.sin))
    return _joined(call, *(call.emit(_op.multiply, abs, value) for value in turned))


def conjugate(call: OperatorCall, x: relax.Expr) -> relax.Expr:
    """Turn the sign of the imaginary part."""
    return call.emit(_op.multiply, x, relax.const(np.array([1, -1], "float32")))


def negative(call: OperatorCall, x: relax.Expr) -> relax.Expr:
    """Turn both signs."""
    return call.emit(_op.negative, x)


def to_copy(call: OperatorCall, x: relax.Expr, dtype: Any = None) -> relax.Expr:
    """A real tensor as a complex one."""
    if shape_of(x) == (*call.shape, 2):
        return x
    x = call.cast(x, "float32")
    return _joined(call, x, relax.const(np.zeros(shape_of(x), "float32")))


def multiply(call: OperatorCall, x: relax.Expr, other: Any) -> relax.Expr:
    """A product; a real factor scales both parts."""
    pairs = list(call.complex_arguments[:2])
    if isinstance(other, complex):
        other, pairs = relax.const(np.array([other.real, other.imag], "float32")), [True, True]
    if all(pairs):
        (a, b), (c, d) = _parts(call, x), _parts(call, other)
        ac, bd, ad, bc = (call.emit(_op.multiply, *p) for p in ((a, c), (b, d), (a, d), (b, c)))
        return _joined(call, call.emit(_op.subtract, ac, bd), call.emit(_op.add, ad, bc))
    return _scaled(call, _op.multiply, *((x, other) if pairs[0] else (other, x)))


def _scaled(
    call: OperatorCall, operator: Callable[..., relax.Expr], pair: relax.Expr, real: Any
) -> relax.Expr:
    real = call.cast(real, "float32")
    return call.emit(operator, pair, call.reshape(real, (*shape_of(real), 1)))


def divide(call: OperatorCall, x: relax.Expr, other: Any) -> relax.Expr:
    """A quotient."""
    if not call.complex_arguments[1]:
        return _scaled(call, _op.divide, x, other)
    (c, d) = _parts(call, other)
    size = call.emit(_op.add, call.emit(_op.square, c), call.emit(_op.square, d))
    if call.complex_arguments[0]:
        product = multiply(call, x, conjugate(call, other))
    else:
        product = _scaled(call, _op.multiply, conjugate(call, other), x)
    return _scaled(call, _op.divide, product, size)


def plus(operator: Callable[..., relax.Expr]) -> Converter:
    """A sum or a difference; a real operand has no imaginary part."""

    def convert(call: OperatorCall, x: relax.Expr, other: Any) -> relax.Expr:
        values = []
        for index, value in enumerate((x, other)):
            if not call.complex_arguments[index]:
                value = call.cast(value, "float32")
                value = _joined(call, value, relax.const(np.zeros(shape_of(value), "float32")))
            values.append(value)
        return call.emit(operator, *values)

    return convert


def reshaped(call: OperatorCall, x: relax.Expr) -> relax.Expr:
    """What torch says that view, squeeze and unsqueeze give."""
    return call.reshape(x, (*call.shape, 2))


def expand(call: OperatorCall, x: relax.Expr, size: Sequence[int]) -> relax.Expr:
    """Broadcast."""
    return call.broadcast(x, (*call.shape, 2))


def permute(call: OperatorCall, x: relax.Expr, dims: Sequence[int]) -> relax.Expr:
    """Reorder the axes."""
    rank = len(call.shape)
    return call.permute(x, [*(axis_of(d, rank) for d in dims), rank])


def select(call: OperatorCall, x: relax.Expr, dim: int, index: int) -> relax.Expr:
    """One element of an axis, which goes."""
    axis = axis_of(dim, len(shape_of(x)) - 1)
    return clipped_take(call, x, relax.const(index % shape_of(x)[axis], "int64"), axis)


def cut(
    call: OperatorCall, x: relax.Expr, dim: int, start: int | None, end: int | None, step: int
) -> relax.Expr:
    """Slice an axis."""
    return slice_(call, x, axis_of(dim, len(shape_of(x)) - 1), start, end, step)


def cat(call: OperatorCall, tensors: Sequence[relax.Expr], dim: int) -> relax.Expr:
    """Join along an axis."""
    return call.emit(_op.concat, list(tensors), axis_of(dim, len(call.shape)))


def matmul(call: OperatorCall, x: relax.Expr, mat2: relax.Expr) -> relax.Expr:
    """A product of two matrices, or of two stacks."""
    (a, b), (c, d) = _parts(call, x), _parts(call, mat2)
    ac, bd, ad, bc = (call.emit(_op.matmul, *p) for p in ((a, c), (b, d), (a, d), (b, c)))
    return _joined(call, call.emit(_op.subtract, ac, bd), call.emit(_op.add, ad, bc))


def index_select(call: OperatorCall, x: relax.Expr, dim: int, index: relax.Expr) -> relax.Expr:
    """Take along an axis by a vector."""
    return take(call, x, index, axis_of(dim, len(call.shape)))


def put_slice(
    call: OperatorCall, x: relax.Expr, src: relax.Expr, dim: int, start: Any, end: Any, step: int
) -> relax.Expr:
    """Put src into a slice."""
    return slice_scatter(call, x, src, axis_of(dim, len(call.shape)), start, end, step)


def total(
    call: OperatorCall, x: relax.Expr, dim: Sequence[int] | None, keepdim: bool = False
) -> relax.Expr:
    """Sum over axes."""
    rank = len(shape_of(x)) - 1
    return call.emit(_op.sum, x, [axis_of(d, rank) for d in dim or range(rank)], keepdim)


CONVERTERS: dict[str, Converter] = {
    "_fft_r2c.default": from_real,
    "_fft_c2r.default": to_real,
    "_fft_c2c.default": of_complex,
    **dict.fromkeys(
        ("view_as_real.default", "view_as_complex.default", "clone.default", "alias.default"),
        same,
    ),
    "real.default": part(0),
    "imag.default": part(1),
    "abs.default": absolute,
    "angle.default": angle,
    "complex.default": made_of,
    "polar.default": polar,
    **dict.fromkeys(("_conj.default", "conj_physical.default"), conjugate),
    "neg.default": negative,
    "_to_copy.default": to_copy,
    **dict.fromkeys(("mul.Tensor", "mul.Scalar"), multiply),
    **dict.fromkeys(("div.Tensor", "div.Scalar"), divide),
    "add.Tensor": plus(_op.add),
    "sub.Tensor": plus(_op.subtract),
    "expand.default": expand,
    "permute.default": permute,
    "select.int": select,
    "slice.Tensor": cut,
    "cat.default": cat,
    "sum.dim_IntList": total,
    **dict.fromkeys(("bmm.default", "mm.default"), matmul),
    "index_select.default": index_select,
    "slice_scatter.default": put_slice,
}
RESHAPED = dict.fromkeys(("view.default", "unsqueeze.default", "squeeze.dims"), reshaped)
