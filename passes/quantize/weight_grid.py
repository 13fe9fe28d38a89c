"""Scales and rounding on the grid of a stored weight (`ir/stored_weights.py`).

Weights are (..., O, F): outputs by features.
"""

from __future__ import annotations

import numpy as np

from ...ir.stored_weights import Grid

SHRINKS = np.linspace(1.0, 0.4, 31)
"""The shares of the largest magnitude that `searched_scales` tries."""


def largest_scales(weight: np.ndarray, grid: Grid) -> np.ndarray:
    """Return the scales (..., O, groups) at which nothing is clipped; 1 where all is zero."""
    largest = np.abs(grid.grouped(weight)).max(axis=-1)
    scale = np.where(largest > 0, largest / grid.limit, 1.0).astype(np.float32)
    return np.maximum(scale, np.finfo(np.float32).tiny)


def searched_scales(weight: np.ndarray, grid: Grid, power: np.ndarray) -> np.ndarray:
    """Return the scales (..., O, groups) of least squared error, clipping where that pays.

    `power` (..., F) is the mean square of what each feature is multiplied with.
    """
    largest, groups = largest_scales(weight, grid), grid.grouped(weight)
    counts = grid.grouped(power)[..., None, :, :]
    best, least = largest, np.full(largest.shape, np.inf)
    for shrink in SHRINKS:
        scale = np.maximum(largest * np.float32(shrink), np.finfo(np.float32).tiny)
        rounded = nearest(groups, scale[..., None], grid) * scale[..., None]
        error = (counts * np.square(rounded - groups)).sum(axis=-1)
        best, least = np.where(error < least, scale, best), np.minimum(error, least)
    return best


def nearest(weight: np.ndarray, scales: np.ndarray, grid: Grid) -> np.ndarray:
    """Round to the nearest quantized value, ties to even; `scales` broadcast over the weight."""
    return np.clip(np.rint(weight / scales), -grid.limit, grid.limit).astype(np.int8)
