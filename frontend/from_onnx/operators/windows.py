"""Windows picked out and laid back by constant places: any number of axes, any step.

Before  Col2Im(columns, image, block)
After   sum(take(columns, places), -1)       what falls on each place of the image
Before  MaxPool(x) -> (y, places)            with `places` read
After   max and argmax of take(x, windows)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tvm import relax

from ....ir.edit import shape_of
from ...windows import places_of_windows
from ..arguments import Inputs, emit, integers, like
from .indices import take, within

_op = relax.op


def col2im(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """Col2Im: windows laid back, what overlaps added up."""
    x = inputs[0]
    image, block = (integers(inputs, at, None, held) or [] for at in (1, 2))
    rank = len(image)
    steps, dilations = (list(attrs.get(key, (1,) * rank)) for key in ("strides", "dilations"))
    pads = list(attrs.get("pads", (0,) * 2 * rank))
    counts = [
        (image[i] + pads[i] + pads[rank + i] - dilations[i] * (block[i] - 1) - 1) // steps[i] + 1
        for i in range(rank)
    ]
    places = places_of_windows(image, block, steps, pads[:rank], counts, dilations)
    batch, channels = shape_of(x)[0], shape_of(x)[1] // places.shape[1]
    return laid_back(x, places.T, (batch, channels), image)


def laid_back(
    x: relax.Expr, places: np.ndarray, front: Sequence[int], image: Sequence[int]
) -> relax.Expr:
    """Add up what falls on each place of an image; `places` are those of x's last elements."""
    order = np.argsort(places.ravel(), kind="stable")
    at = places.ravel()[order]
    order, at = order[at >= 0], at[at >= 0]
    turn = np.arange(len(at)) - np.searchsorted(at, at)  # the how manieth on its place
    sources = np.full((int(np.prod(image)), int(turn.max()) + 1), places.size, np.int64)
    sources[at, turn] = order
    flat = emit(_op.reshape(x, (*front, places.size)))
    if (sources == places.size).any():
        flat = emit(_op.concat([flat, like(x, np.zeros((*front, 1)))], -1))
    picked = emit(take(flat, relax.const(sources, "int64"), -1))
    return emit(_op.reshape(emit(_op.sum(picked, [-1], False)), (*front, *image)))


def max_pool_with_places(x: relax.Expr, attrs: dict[str, Any], pads: Sequence[int]) -> relax.Expr:
    """MaxPool with the place of each maximum in the whole tensor; pads are explicit."""
    kernel, (batch, channels, *image) = attrs["kernel_shape"], shape_of(x)
    rank = len(kernel)
    steps, dilations = (list(attrs.get(key, (1,) * rank)) for key in ("strides", "dilations"))
    counts = [
        (image[i] + pads[i] + pads[rank + i] - dilations[i] * (kernel[i] - 1) - 1) // steps[i] + 1
        for i in range(rank)
    ]
    places = places_of_windows(image, kernel, steps, pads[:rank], counts, dilations)
    size, (windows, inside) = int(np.prod(image)), places.shape
    flat = emit(_op.reshape(x, (batch, channels, size)))
    lowest = np.finfo("float32").min if str(x.ty.dtype).startswith("float") else 0
    flat = emit(_op.concat([flat, like(x, np.full((batch, channels, 1), lowest))], -1))
    picked = emit(take(flat, relax.const(np.where(places < 0, size, places), "int64"), -1))
    largest, which = emit(_op.max(picked, [-1], False)), emit(_op.argmax(picked, -1, False))
    if attrs.get("storage_order", 0):
        places = _column_major(places, image)
    at = emit(_op.add(which, relax.const(np.arange(windows) * inside, "int64")))
    at = emit(take(relax.const(places.ravel(), "int64"), at, 0))
    offsets = np.arange(batch * channels).reshape(batch, channels, 1) * size
    at = emit(_op.add(at, relax.const(offsets, "int64")))
    shape = (batch, channels, *counts)
    return relax.Tuple([emit(_op.reshape(value, shape)) for value in (largest, at)])


def _column_major(places: np.ndarray, image: Sequence[int]) -> np.ndarray:
    coordinates = np.unravel_index(np.maximum(places, 0), image)
    return np.asarray(np.ravel_multi_index(coordinates, image, order="F"))


def max_unpool(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """MaxUnpool: each maximum put where it came from, zeros elsewhere."""
    x, places, kernel = inputs[0], inputs[1], attrs["kernel_shape"]
    shape, rank = shape_of(x), len(kernel)
    steps, pads = attrs.get("strides", (1,) * rank), attrs.get("pads", (0,) * 2 * rank)
    own = [
        (shape[2 + i] - 1) * steps[i] + kernel[i] - pads[i] - pads[rank + i] for i in range(rank)
    ]
    smaller = (*shape[:2], *own)
    whole = tuple(integers(inputs, 2, None, held) or smaller)
    size = int(np.prod(smaller))
    at = emit(_op.reshape(emit(within(places, size)), (int(np.prod(shape)),)))
    zeros = like(x, np.zeros(size))
    values = emit(_op.reshape(x, (int(np.prod(shape)),)))
    y = emit(_op.reshape(emit(_op.scatter_elements(zeros, at, values, 0, "update")), smaller))
    if whole == smaller:
        return y
    raise ValueError(f"its output_shape {whole} is not {smaller}, which its windows give")


OWN = {"Col2Im": col2im, "MaxUnpool": max_unpool}
