"""Operands of known seeds, and what layers make of them in float64, to compare kernels with."""

from __future__ import annotations

import numpy as np
import torch


def drawn(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def normal(*shape: int) -> np.ndarray:
    return drawn(int(np.prod(shape)), shape)


def convolved(x: np.ndarray, weight: np.ndarray, window, pad_value: float, groups=1) -> np.ndarray:
    """In float64 (exact for 8-bit integers): x NHWC, weight OIHW, result NHWC."""
    top, left, bottom, right = window.padding
    widths = ((0, 0), (top, bottom), (left, right), (0, 0))
    padded = np.pad(x.astype(np.float64), widths, constant_values=pad_value)
    result = torch.nn.functional.conv2d(
        torch.from_numpy(padded.transpose(0, 3, 1, 2)),
        torch.from_numpy(weight.astype(np.float64)),
        stride=window.strides,
        dilation=window.dilation,
        groups=groups,
    )
    return result.numpy().transpose(0, 2, 3, 1)


def expected_conv2d(x, w, strides, padding, dilation, groups):
    """Sums and sums of magnitudes, in float64: x NCHW, w OIHW, both NCHW."""
    top, left, bottom, right = padding
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    n, _, height, width = x.shape
    out, into, kh, kw = w.shape
    (sh, sw), (dh, dw) = strides, dilation
    oh, ow = (height - dh * (kh - 1) - 1) // sh + 1, (width - dw * (kw - 1) - 1) // sw + 1
    sums = np.zeros((2, n, out, oh, ow))
    for group in range(groups):
        o = slice(group * out // groups, (group + 1) * out // groups)
        c = slice(group * into, (group + 1) * into)
        for i in range(kh):
            for j in range(kw):
                rows = slice(i * dh, i * dh + (oh - 1) * sh + 1, sh)
                columns = slice(j * dw, j * dw + (ow - 1) * sw + 1, sw)
                seen, taps = x[:, c, rows, columns], w[o, :, i, j]
                sums[0, :, o] += np.einsum("nchw,oc->nohw", seen, taps)
                sums[1, :, o] += np.einsum("nchw,oc->nohw", np.abs(seen), np.abs(taps))
    return sums


def assert_summed_in_float32(found, exact, magnitude, terms):
    """The error of float32 sums of `terms` products, in any order."""
    bound = (terms + 2) * 2.0**-23 * magnitude + 1e-30
    assert found.dtype == np.float32
    assert (np.abs(found - exact) <= bound).all()
