"""Resizing of one axis as weighted sums of picked elements: exact for every mode and any factor.

An output element is the sum of a few input elements, its taps. Which ones, and their weights, is
known at import, so an axis is resized by `take`, `multiply` and `add` alone. The coordinate
transformations and kernels are those of ONNX's Resize.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from tvm import relax

from ....ir.edit import shape_of
from .indices import take

_NEAREST: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "round_prefer_floor": lambda x: np.ceil(x - np.float32(0.5)),
    "round_prefer_ceil": lambda x: np.floor(x + np.float32(0.5)),
    "floor": np.floor,
    "ceil": np.ceil,
}


def coordinates(mode: str, length: int, wanted: int, factor: float) -> np.ndarray:
    """Return the place in the input, float32, of each of `wanted` output elements.

    `factor` is the scale that the source states, which need not be `wanted / length`.
    """
    x, scale = np.arange(wanted, dtype=np.float32), np.float32(factor)
    if mode == "asymmetric":
        return x / scale
    if mode == "align_corners":
        return x * np.float32(length - 1) / np.float32(max(wanted - 1, 1))
    if mode == "half_pixel" or (mode == "pytorch_half_pixel" and wanted > 1):
        return (x + np.float32(0.5)) / scale - np.float32(0.5)
    if mode == "pytorch_half_pixel":
        return np.zeros(wanted, np.float32)
    if mode == "half_pixel_symmetric":
        offset = np.float32(length / 2 * (1 - wanted / (length * factor)))
        return offset + (x + np.float32(0.5)) / scale - np.float32(0.5)
    raise ValueError(f"the coordinates {mode} are not supported")


def nearest(x: relax.Expr, axis: int, places: np.ndarray, rounding: str) -> relax.Expr:
    """Take the element nearest to each place."""
    last = shape_of(x)[axis] - 1
    found = np.clip(_NEAREST[rounding](places), 0, last).astype(np.int64)
    return take(x, relax.const(found, "int64"), axis)


def linear(x: relax.Expr, axis: int, places: np.ndarray) -> relax.Expr:
    """Interpolate between the two neighbours of each place; beyond the edge lies the edge."""
    low = np.floor(places)
    part = places - low
    return _weighted(x, axis, [(low, 1 - part), (low + 1, part)])


def cubic(
    x: relax.Expr, axis: int, places: np.ndarray, sharpness: float, *, exclude_outside: bool = False
) -> relax.Expr:
    """Interpolate by Keys' cubic kernel over four neighbours; `sharpness` is its a."""
    low = np.floor(places)
    taps = [(low + i, _keys(np.abs(places - low - i), sharpness)) for i in (-1, 0, 1, 2)]
    if exclude_outside:
        length = shape_of(x)[axis]
        taps = [(at, np.where((at < 0) | (at >= length), 0, weight)) for at, weight in taps]
        total = sum(weight for _, weight in taps)
        taps = [(at, weight / total) for at, weight in taps]
    return _weighted(x, axis, taps)


def _keys(distance: np.ndarray, a: float) -> np.ndarray:
    """Keys, Cubic Convolution Interpolation for Digital Image Processing (1981), equation 15."""
    d = distance.astype(np.float64)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, far)


def _weighted(x: relax.Expr, axis: int, taps: list[tuple[np.ndarray, np.ndarray]]) -> relax.Expr:
    if not str(x.ty.dtype).startswith("float"):
        raise ValueError(f"of {x.ty.dtype} only the mode nearest is supported")
    shape = [1] * x.ty.ndim
    shape[axis] = -1
    total, last = None, shape_of(x)[axis] - 1
    for places, weights in taps:
        found = np.clip(places, 0, last).astype(np.int64)
        picked = take(x, relax.const(found, "int64"), axis)
        share = weights.astype(str(x.ty.dtype)).reshape(shape)
        part = relax.op.multiply(picked, relax.const(share))
        total = part if total is None else relax.op.add(total, part)
    return total
