"""Weights in the order in which the kernels read them; done once, at build time."""

from __future__ import annotations

import numpy as np


def pack_conv2d(weight: np.ndarray, lanes: int, depth: int) -> np.ndarray:
    """Pack (c_out, c_in, kh, kw) to (c_out/lanes, kh, kw, c_in/depth, lanes, depth)."""
    weight = _pad_to_multiple(_pad_to_multiple(weight, 0, lanes), 1, depth)
    out, into, kh, kw = weight.shape
    split = weight.reshape(out // lanes, lanes, into // depth, depth, kh, kw)
    return np.ascontiguousarray(split.transpose(0, 4, 5, 2, 1, 3))


def merged_groups(
    weight: np.ndarray, groups: int, lanes: int, depth: int
) -> tuple[np.ndarray, int]:
    """Merge neighbouring groups, zeros between them, until whole vectors belong to each.

    Gives the weight (c_out, c_in / groups, kh, kw) and the number of groups that are left. The
    multiplications by zero take no more vectors than the lanes that a group of few channels leaves
    empty.
    """
    if groups == 1:
        return weight, 1
    out, into = weight.shape[0] // groups, weight.shape[1]
    factor = next(
        factor
        for factor in range(1, groups + 1)
        if factor == groups
        or not (groups % factor or out * factor % lanes or into * factor % depth)
    )
    left = groups // factor
    merged = np.zeros((left, factor, out, factor, into, *weight.shape[2:]), weight.dtype)
    for index in range(factor):
        merged[:, index, :, index] = weight.reshape(left, factor, out, into, *weight.shape[2:])[
            :, index
        ]
    return merged.reshape(left * factor * out, factor * into, *weight.shape[2:]), left


def pack_dense(weight: np.ndarray, lanes: int, depth: int) -> np.ndarray:
    """Pack (k, n) to (n/lanes, k/depth, lanes, depth), zero-padded."""
    weight = _pad_to_multiple(_pad_to_multiple(weight, 1, lanes), 0, depth)
    k, n = weight.shape
    split = weight.reshape(k // depth, depth, n // lanes, lanes)
    return np.ascontiguousarray(split.transpose(2, 0, 3, 1))


def pack_words(values: np.ndarray) -> np.ndarray:
    """Pack values (…, 8), -8 to 7, to words (…, 1) of uint32, the first in the lowest 4 bits."""
    halves = values.view(np.uint8) & 15
    pairs = np.ascontiguousarray(halves[..., ::2] | halves[..., 1::2] << 4)
    return pairs.view("<u4").astype(np.uint32)


def pack_scales(scales: np.ndarray, lanes: int, groups: int) -> np.ndarray:
    """Pack (n, g) to (n/lanes, groups, lanes), zero-padded; `groups` is g or more."""
    scales = np.pad(scales, [(0, 0), (0, groups - scales.shape[1])])
    scales = _pad_to_multiple(scales, 0, lanes)
    return np.ascontiguousarray(scales.reshape(-1, lanes, groups).transpose(0, 2, 1))


def pack_recurrent(weight: np.ndarray, gates: int, lanes: int) -> np.ndarray:
    """Pack (gates · hidden, k) to (hidden/lanes, k, gates, lanes), zero-padded."""
    by_gate = weight.reshape(gates, -1, weight.shape[1])
    padded = _pad_to_multiple(by_gate, 1, lanes)
    split = padded.reshape(gates, -1, lanes, weight.shape[1])
    return np.ascontiguousarray(split.transpose(1, 3, 0, 2))


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
