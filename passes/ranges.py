"""Where to clip an activation before rounding it to 8 bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tvm import relax

from ..frontend.model import Model
from .reference import Execution

LEVELS = 255
VALUES_PER_RUN = 2048
PERCENTILES = (100.0, 99.999, 99.99, 99.9, 99.5, 99.0)


@dataclass(frozen=True, kw_only=True)
class Range:
    """How a tensor becomes uint8: clamp(round(x / scale) + zero_point, 0, 255).

    `percentile` tells which part of the values lies inside; `error_ratio` is the mean over
    samples of |x - x'|² / |x|².
    """

    scale: float
    zero_point: int
    percentile: float
    error_ratio: float


def ranges(
    model: Model, inputs: Sequence[Tensor], wanted: Sequence[relax.Var]
) -> dict[relax.Var, Range]:
    """Choose a range for each wanted variable from its values over calibration inputs."""
    left, found = set(wanted), {}
    for var, value in zip(model.function.params, inputs, strict=False):
        if var in left:
            found[var] = best_range(_per_run(value))
    for var, value in Execution(model, inputs):
        if var in left:
            found[var] = best_range(_per_run(value))
    return found


def best_range(values: np.ndarray) -> Range:
    """Choose the range of least rounding error over values (runs, n).

    Candidates are the whole span and narrower percentiles of it, zero always inside (padding must
    stay exact). The error of each run is relative to that run's power, so that one run with an
    outlier does not decide for all the others.
    """
    tried = []
    for percentile in PERCENTILES:
        low, high = np.percentile(values, (100.0 - percentile, percentile))
        scale, zero_point = affine(float(low), float(high))
        tried.append((_error_ratio(values, scale, zero_point), percentile, scale, zero_point))
    error_ratio, percentile, scale, zero_point = min(tried, key=lambda each: each[0])
    return Range(scale=scale, zero_point=zero_point, percentile=percentile, error_ratio=error_ratio)


def affine(low: float, high: float) -> tuple[float, int]:
    """Return scale and zero point for a span widened to hold zero; scale 1 if it is empty."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32((high - low) / LEVELS))
    if scale < np.finfo(np.float32).tiny:
        return 1.0, 0
    return scale, int(np.clip(np.rint(-low / scale), 0, LEVELS))


def _error_ratio(values: np.ndarray, scale: float, zero_point: int) -> float:
    levels = np.clip(np.rint(values / scale) + zero_point, 0, LEVELS)
    error = np.square((levels - zero_point) * scale - values).mean(axis=1)
    power = np.square(values).mean(axis=1)
    return float(np.mean(error / np.where(power > 0, power, 1.0)))


def _per_run(value: Tensor) -> np.ndarray:
    """Take every run's extremes, and as many values as fit, as float64 (runs, n)."""
    flat = value.reshape(len(value), -1)
    places = flat.shape[1]
    if places > VALUES_PER_RUN:
        at = np.random.default_rng(0).choice(places, VALUES_PER_RUN, replace=False)
        ends = torch.stack([flat.amin(1), flat.amax(1)], dim=1)
        flat = torch.cat([flat[:, torch.from_numpy(at)], ends], dim=1)
    return flat.double().numpy()
