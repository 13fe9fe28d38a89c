"""Weights in the order in which the kernels read them; done once, at build time."""

from __future__ import annotations

import numpy as np


def pack_conv2d(weight: np.ndarray, lanes: int, depth: int) -> np.ndarray:
    """Pack (c_out, c_in, kh, kw) to (c_out/lanes, kh, kw, c_in/depth, lanes, depth)."""
    weight = _pad_to_multiple(_pad_to_multiple(weight, 0, lanes), 1, depth)
    out, into, kh, kw = weight.shape
    split = weight.reshape(out // lanes, lanes, into // depth, depth, kh, kw)
    return np.ascontiguousarray(split.transpose(0, 4, 5, 2, 1, 3))


def pack_dense(weight: np.ndarray, lanes: int, depth: int) -> np.ndarray:
    """Pack (k, n) to (n/lanes, k/depth, lanes, depth), zero-padded."""
    weight = _pad_to_multiple(_pad_to_multiple(weight, 1, lanes), 0, depth)
    k, n = weight.shape
    split = weight.reshape(k // depth, depth, n // lanes, lanes)
    return np.ascontiguousarray(split.transpose(2, 0, 3, 1))


def pack_depthwise(weight: np.ndarray) -> np.ndarray:
    """Pack (c, 1, kh, kw) to (kh, kw, c)."""
    return np.ascontiguousarray(weight[:, 0].transpose(1, 2, 0))


def _pad_to_multiple(array: np.ndarray, axis: int, multiple: int) -> np.ndarray:
    missing = -array.shape[axis] % multiple
    if not missing:
        return array
    widths = [(0, 0)] * array.ndim
    widths[axis] = (0, missing)
    return np.pad(array, widths)
