"""The grid that a weight is rounded to: signed levels times a scale for each group of features.

Weights are (..., O, F): outputs by features. Levels are symmetric, -limit to limit; zero is one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import PassError

SHRINKS = np.linspace(1.0, 0.4, 31)
"""The shares of the largest magnitude that `searched_scales` tries."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """`bits` a weight; `group_size` features share a scale (None: all of an output's)."""

    bits: int = 8
    group_size: int | None = None

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 8:
            raise PassError(f"weights of {self.bits} bits; choose 2 to 8")
        if self.group_size is not None and self.group_size < 1:
            raise PassError(f"groups of {self.group_size} features; choose 1 or more")

    @property
    def limit(self) -> int:
        """The largest level."""
        return int(2 ** (self.bits - 1) - 1)

    def grouped(self, values: np.ndarray) -> np.ndarray:
        """Cut the last axis: (..., F) becomes (..., groups, group_size), zeros behind."""
        size = self.group_size or values.shape[-1]
        missing = -values.shape[-1] % size
        padded = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, missing)])
        return padded.reshape(*values.shape[:-1], -1, size)

    def spread(self, scales: np.ndarray, features: int) -> np.ndarray:
        """Give each feature its group's scale: (..., groups) becomes (..., F)."""
        return np.repeat(scales, self.group_size or features, axis=-1)[..., :features]


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
    """Round to the nearest level, ties to even; `scales` broadcast over the weight."""
    return np.clip(np.rint(weight / scales), -grid.limit, grid.limit).astype(np.int8)
