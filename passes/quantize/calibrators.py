"""Where to clip an activation before rounding it to 8 bits: one function for each way to choose.

Each takes values (runs, n) as float64, every run's extremes among them, and gives a `Range` that
holds zero, so that padding stays exact. Outliers are what they differ about: "minmax" keeps them
all, "percentile" drops a fixed share, "mse" and "entropy" weigh them against the others' rounding,
"auto" does so run by run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tvm import relax

from ...errors import PassError
from ...ir.model import Model
from ...reference.execution import Execution

STEPS = 255
PERCENTILES = (100.0, 99.999, 99.99, 99.9, 99.5, 99.0)
HISTOGRAM_BINS = 2048
VALUES_PER_RUN = 2048


@dataclass(frozen=True, kw_only=True)
class Range:
    """How a tensor becomes uint8: clamp(round(x / scale) + zero_point, 0, 255).

    `inside_ratio` is the share of the values that is not clipped; `error_ratio` the mean over runs
    of |x - x'|² / |x|².
    """

    scale: float
    zero_point: int
    inside_ratio: float
    error_ratio: float


Calibrator = Callable[[np.ndarray], Range]


def auto(values: np.ndarray) -> Range:
    """Take the span or the percentile of it that rounds with least error.

    The error of each run is relative to that run's power, so that one run with an outlier does not
    decide for all the others.
    """
    spans = (np.percentile(values, (100.0 - share, share)) for share in PERCENTILES)
    tried = [_range(values, low, high) for low, high in spans]
    return min(tried, key=lambda each: each.error_ratio)


def minmax(values: np.ndarray) -> Range:
    """Take the whole span."""
    return _range(values, values.min(), values.max())


def percentile(values: np.ndarray) -> Range:
    """Take the span without the largest and the smallest 0.01 % of the values."""
    return _range(values, *np.percentile(values, (0.01, 99.99)))


def mse(values: np.ndarray) -> Range:
    """Shrink the span by the factor that leaves the least mean squared error, over all runs."""
    low, high = values.min(), values.max()

    def error(factor: float) -> float:
        scale, zero_point = affine(low * factor, high * factor)
        return float(np.mean(np.square(_rounding_error(values, scale, zero_point))))

    coarse = np.geomspace(1e-4, 1.0, 73)
    at = int(np.argmin([error(factor) for factor in coarse]))
    fine = np.geomspace(coarse[max(at - 1, 0)], coarse[min(at + 1, len(coarse) - 1)], 17)
    best = min((*fine, coarse[at]), key=error)
    return _range(values, low * best, high * best)


def entropy(values: np.ndarray) -> Range:
    """Clip magnitudes where the rounded histogram loses least information (KL divergence).

    Source  S. Migacz, 8-bit Inference with TensorRT, GTC 2017. There a tensor is int8, symmetric;
            one of a single sign has all 255 steps for its magnitudes here, another 128. Zeros
            do not count: they are exact, and ReLU's would outweigh all else.
    """
    low, high = values.min(), values.max()
    sizes = np.abs(values[values != 0])
    if not sizes.size:
        return minmax(values)
    counts, edges = np.histogram(sizes, bins=HISTOGRAM_BINS, range=(0, sizes.max()))
    steps = STEPS if low >= 0 or high <= 0 else 128
    kept = range(steps, HISTOGRAM_BINS + 1)
    best = min(kept, key=lambda bins: _divergence(counts.astype(np.float64), bins, steps))
    return _range(values, max(low, -edges[best]), min(high, edges[best]))


CALIBRATORS: Mapping[str, Calibrator] = {
    "auto": auto,
    "minmax": minmax,
    "percentile": percentile,
    "mse": mse,
    "entropy": entropy,
}


def affine(low: float, high: float) -> tuple[float, int]:
    """Return scale and zero point for a span widened to hold zero; scale 1 if it is empty."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32((high - low) / STEPS))
    if scale < np.finfo(np.float32).tiny:
        return 1.0, 0
    return scale, int(np.clip(np.rint(-low / scale), 0, STEPS))


def _range(values: np.ndarray, low: float, high: float) -> Range:
    scale, zero_point = affine(float(low), float(high))
    error = np.square(_rounding_error(values, scale, zero_point)).mean(axis=1)
    power = np.square(values).mean(axis=1)
    return Range(
        scale=scale,
        zero_point=zero_point,
        inside_ratio=float(np.mean((values >= low) & (values <= high))),
        error_ratio=float(np.mean(error / np.where(power > 0, power, 1.0))),
    )


def _rounding_error(values: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """Return what rounding changes: x' - x."""
    quantized = np.clip(np.rint(values / scale) + zero_point, 0, STEPS)
    return (quantized - zero_point) * scale - values


def _divergence(counts: np.ndarray, bins: int, steps: int) -> float:
    """KL(P, Q): P the first `bins` with the rest in the last, Q those bins merged to `steps`."""
    inside = counts[:bins]
    p = inside.copy()
    p[-1] += counts[bins:].sum()
    step = np.arange(bins) * steps // bins
    merged = np.bincount(step, inside) / np.maximum(np.bincount(step, inside > 0), 1)
    q = np.where(inside > 0, merged[step], 0.0)
    seen = p > 0
    if (q[seen] == 0).any():
        return float("inf")
    p, q = p[seen] / p.sum(), q[seen] / q.sum()
    return float(np.sum(p * np.log(p / q)))


def ranges(
    model: Model, inputs: Sequence[Tensor], wanted: Sequence[relax.Var], calibrator: Calibrator
) -> dict[relax.Var, Range]:
    """Choose a range for each wanted variable from its values over calibration inputs."""
    left = set(wanted)
    return {
        var: calibrator(_finite(var, per_run(value)))
        for var, value in _values(model, inputs)
        if var in left
    }


def _values(model: Model, inputs: Sequence[Tensor]) -> Iterator[tuple[relax.Var, Tensor]]:
    yield from zip(model.function.params, inputs, strict=False)
    yield from Execution(model, inputs)


def per_run(value: Tensor) -> np.ndarray:
    """Take every run's extremes, and as many values as fit, as float64 (runs, n)."""
    flat = value.reshape(len(value), -1)
    places = flat.shape[1]
    if places > VALUES_PER_RUN:
        at = np.random.default_rng(0).choice(places, VALUES_PER_RUN, replace=False)
        ends = torch.stack([flat.amin(1), flat.amax(1)], dim=1)
        flat = torch.cat([flat[:, torch.from_numpy(at)], ends], dim=1)
    return flat.double().numpy()


def _finite(var: relax.Var, values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        raise PassError(
            f"{var.name} becomes NaN or infinite on the calibration data, so it has no range; "
            "check the network and its data"
        )
    return values
