"""Pooling over windows. The places of the largest elements are not computed.

torch lets the last window of `ceil_mode` reach beyond the padding where Relax does not: here the
padding at the end is what torch's own result needs, and windows are counted without `ceil_mode`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax

from ....ir.edit import shape_of
from ...windows import places_of_windows
from ..operator_call import OperatorCall
from .indexing import clipped_take

_MAX = {2: relax.op.nn.max_pool2d, 3: relax.op.nn.max_pool3d}
_AVERAGE = {2: relax.op.nn.avg_pool2d, 3: relax.op.nn.avg_pool3d}
_ADAPTIVE = {2: relax.op.nn.adaptive_avg_pool2d, 3: relax.op.nn.adaptive_avg_pool3d}


@dataclass(frozen=True)
class Windows:
    """Sizes, steps and padding along each pooled axis, and how far the last windows reach."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    start: tuple[int, ...]
    end: tuple[int, ...]
    given: tuple[int, ...]  # the padding at the end that was asked for


def _windows(
    call: OperatorCall,
    x: relax.Expr,
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    rank: int,
) -> Windows:
    size, padding, dilation = (_each(v, rank) for v in (size, padding, dilation))
    stride = _each(stride, rank) if stride else size
    lengths, results = shape_of(x)[-rank:], call.shape[-rank:]
    end = []
    for axis in range(rank):
        reach = (results[axis] - 1) * stride[axis] + dilation[axis] * (size[axis] - 1) + 1
        end.append(max(padding[axis], reach - lengths[axis] - padding[axis]))
    return Windows(size, stride, padding, tuple(end), padding)


def _each(values: Sequence[int], rank: int) -> tuple[int, ...]:
    return tuple(values) if len(values) == rank else tuple(values) * rank


def _batched(call: OperatorCall, x: relax.Expr, rank: int) -> relax.Expr:
    """Give an image a batch of one, where it has none."""
    if call.dtype != "float32":
        raise ValueError(f"it pools {call.dtype}; convert with .float()")
    return x if len(shape_of(x)) == rank + 2 else call.reshape(x, (1, *shape_of(x)))


def _max_pool(rank: int) -> Any:
    def convert(
        call: OperatorCall,
        x: relax.Expr,
        kernel_size: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        ceil_mode: bool,
    ) -> list[Any]:
        windows = _windows(call, x, kernel_size, stride, padding, dilation, rank)
        if call.reads_result(1):
            return _max_with_places(call, x, windows, _each(dilation, rank))
        pooled = call.emit(
            _MAX[rank],
            _batched(call, x, rank),
            pool_size=windows.size,
            strides=windows.stride,
            padding=(*windows.start, *windows.end),
            dilation=_each(dilation, rank),
        )
        return [call.reshape(pooled, call.shape), None]

    return convert


def _max_with_places(
    call: OperatorCall, x: relax.Expr, windows: Windows, dilation: Sequence[int]
) -> list[relax.Expr]:
    """The largest of each window and its place in the image: the windows' elements compared."""
    rank = len(windows.size)
    front, image, results = shape_of(x)[:-rank], shape_of(x)[-rank:], call.shape[-rank:]
    places = places_of_windows(
        image, windows.size, windows.stride, windows.start, results, dilation
    )
    count, inside = int(np.prod(image)), places.shape[1]
    lowest = call.cast(np.full((*front, 1), np.finfo("float32").min))
    flat = call.emit(relax.op.concat, [call.reshape(x, (*front, count)), lowest], len(front))
    at = relax.const(np.where(places < 0, count, places), "int64")
    picked = clipped_take(call, flat, at, len(front))
    which = call.emit(relax.op.argmax, picked, len(front) + 1, False)
    rows = relax.const(np.arange(len(places)) * inside, "int64")
    table = relax.const(places.ravel(), "int64")
    found = clipped_take(call, table, call.emit(relax.op.add, which, rows), 0)
    largest = call.emit(relax.op.max, picked, [len(front) + 1], False)
    return [call.reshape(value, call.shape) for value in (largest, found)]


max_pool2d, max_pool3d = _max_pool(2), _max_pool(3)


def _average_pool(rank: int) -> Any:
    def convert(
        call: OperatorCall,
        x: relax.Expr,
        kernel_size: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        ceil_mode: bool,
        count_include_pad: bool,
        divisor_override: int | None,
    ) -> relax.Expr:
        windows = _windows(call, x, kernel_size, stride, padding, (1,), rank)
        plain = windows.end == windows.given and divisor_override is None
        pooled = call.emit(
            _AVERAGE[rank],
            _batched(call, x, rank),
            pool_size=windows.size,
            strides=windows.stride,
            padding=(*windows.start, *windows.end),
            count_include_pad=count_include_pad if plain else True,
        )
        if not plain:
            counts = _counts(shape_of(x)[-rank:], windows, call.shape[-rank:], count_include_pad)
            divisors = (
                counts if divisor_override is None else np.full_like(counts, divisor_override)
            )
            factors = (np.prod(windows.size) / divisors).astype("float32")
            pooled = call.emit(relax.op.multiply, pooled, relax.const(factors[None, None]))
        return call.reshape(pooled, call.shape)

    return convert


def _counts(
    lengths: Sequence[int], windows: Windows, results: Sequence[int], padded: bool
) -> np.ndarray:
    """By how much each window's sum is divided: places in the tensor, or in its padding too."""
    counts = np.ones((), np.float64)
    for axis, length in enumerate(lengths):
        start = np.arange(results[axis]) * windows.stride[axis] - windows.start[axis]
        end = np.minimum(start + windows.size[axis], length + windows.given[axis])
        if not padded:
            start, end = np.maximum(start, 0), np.minimum(end, length)
        counts = np.multiply.outer(counts, end - start)
    return counts


avg_pool2d, avg_pool3d = _average_pool(2), _average_pool(3)


def _adaptive_average(rank: int) -> Any:
    def convert(call: OperatorCall, x: relax.Expr, output_size: Sequence[int]) -> relax.Expr:
        batched = _batched(call, x, rank)
        pooled = call.emit(_ADAPTIVE[rank], batched, tuple(call.shape[-rank:]))
        return call.reshape(pooled, call.shape)

    return convert


adaptive_avg_pool2d, adaptive_avg_pool3d = _adaptive_average(2), _adaptive_average(3)


def adaptive_max_pool2d(call: OperatorCall, x: relax.Expr, output_size: Sequence[int]) -> list[Any]:
    """Over windows of one size where the output's size divides the input's, else row by row."""
    sizes = list(zip(shape_of(x)[-2:], call.shape[-2:], strict=True))
    if all(length % wanted == 0 for length, wanted in sizes):
        kernel = [length // wanted for length, wanted in sizes]
        pooled = call.emit(relax.op.nn.max_pool2d, _batched(call, x, 2), kernel, kernel)
        return [call.reshape(pooled, call.shape), None]
    for axis, (length, wanted) in zip((-2, -1), sizes, strict=True):
        x = _max_of_spans(call, x, len(call.shape) + axis, length, wanted)
    return [x, None]


def _max_of_spans(
    call: OperatorCall, x: relax.Expr, axis: int, length: int, wanted: int
) -> relax.Expr:
    """Take spans that overlap as torch cuts them, the last place repeated to one length."""
    start = np.arange(wanted) * length // wanted
    end = -(-(np.arange(1, wanted + 1) * length) // wanted)
    steps = np.arange(int((end - start).max()))
    at = np.minimum(start[:, None] + steps, end[:, None] - 1)
    spans = clipped_take(call, x, relax.const(at.astype(np.int64), "int64"), axis)
    return call.emit(relax.op.max, spans, [axis + 1], False)
