"""The latency of every combination: its cells' and crossings', corrected by timings end to end.

Source  A. F. Siegel, Robust regression using repeated medians, Biometrika 69, 1982
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

import numpy as np
from scipy.stats import siegelslopes

from ...errors import UsageError
from ...library.evolve.space import Cells, Floats
from .bound import Bound, bound_of
from .chain import ChainSum
from .metric import finite

_SHARES = (0.05, 0.5, 0.95)
_LEAST_SPREAD_RATIO = 0.1
"""So much must sums differ, against their median, before an offset can be told from a scale."""
_LEAST_SHARE = 0.5
"""So much of what a scale alone gives must be left of the shortest of all combinations."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """A combination timed end to end in turn with the dense one: a figure of each a round.

    Where one call in seven is an outlier, 15 rounds leave it one ratio in a thousand.
    """

    cells: Cells
    total_ms: tuple[float, ...]
    dense_ms: tuple[float, ...]

    def __post_init__(self) -> None:
        figures = (*self.total_ms, *self.dense_ms)
        if not self.total_ms or len(self.total_ms) != len(self.dense_ms):
            raise UsageError(
                f"combination {self.cells} has {len(self.total_ms)} timings, the dense one beside "
                f"it {len(self.dense_ms)}; time both in each round"
            )
        if not all(isfinite(figure) and figure > 0 for figure in figures):
            raise UsageError(f"a timing of {self.cells} is no time above 0: {figures}")

    @property
    def ratio(self) -> float:
        """Latency over the dense one's: what slows both for a while cancels, as outliers do."""
        return float(np.median(np.divide(self.total_ms, self.dense_ms)))


@dataclass(frozen=True, kw_only=True)
class LatencyPrediction:
    """latency = scale · (Σ cells + Σ crossings) + offset_ms.

    `bound` is of the error's share of the prediction, on both sides. `sum_ratios` says how much the
    timings depart from the sums alone, `error_ratios` how much held-out ones do from the
    prediction: (share of them, measured over expected less 1), from the fastest on.
    """

    scale: float
    offset_ms: float
    bound: Bound
    sum_ratios: tuple[tuple[float, float], ...]
    error_ratios: tuple[tuple[float, float], ...]

    def of_sums(self, sums_ms: Floats) -> Floats:
        """Predict from the sums over cells and crossings."""
        return self.scale * sums_ms + self.offset_ms

    def space_fields(self) -> dict[str, float]:
        """Give the fields of `Space`."""
        return {"latency_scale": self.scale, "latency_offset_ms": self.offset_ms}

    def plain(self) -> dict[str, Any]:
        """Give numbers, tuples and dicts alone; None for what has no limit."""
        return finite(asdict(self))


def predict_latency(
    parts: ChainSum, timings: Sequence[Timing], held_out: Sequence[Timing]
) -> LatencyPrediction:
    """Fit to timings, judge by held-out ones, which are drawn like those that are asked about.

    `parts`: each cell's and each crossing's latency in ms, timed alone. The dense combination's
    latency is the median of all its timings.

    Raises:
        UsageError: nothing was timed, or the cells' latencies sum up to nothing.

    """
    if not timings or not held_out:
        raise UsageError(
            "latency is fitted to timings of combinations and judged by others; time some of both"
        )
    dense_ms = float(np.median(np.concatenate([timing.dense_ms for timing in timings])))
    sums, measured = _figures(parts, timings, dense_ms)
    scale, offset_ms = _fit(sums, measured, parts.least)
    judged_sums, judged = _figures(parts, held_out, dense_ms)
    errors = judged / (scale * judged_sums + offset_ms) - 1
    return LatencyPrediction(
        scale=scale,
        offset_ms=offset_ms,
        bound=bound_of(np.abs(errors)),
        sum_ratios=_quantiles(np.append(measured / sums, judged / judged_sums) - 1),
        error_ratios=_quantiles(errors),
    )


def _figures(parts: ChainSum, timings: Sequence[Timing], dense_ms: float) -> tuple[Floats, Floats]:
    """Sums of parts, and latencies as they are when the dense combination takes `dense_ms`."""
    sums = parts.of([timing.cells for timing in timings])
    if not (np.isfinite(sums) & (sums > 0)).all():
        raise UsageError("latencies of cells sum up to no time above 0; measure each cell alone")
    return sums, dense_ms * np.array([timing.ratio for timing in timings])


def _fit(sums: Floats, measured: Floats, least_sum: float) -> tuple[float, float]:
    """Give scale and offset; no offset where sums differ too little, or none makes sense.

    `least_sum` is of all combinations, timed or not: a line through timings that scatter may tell
    that the shortest take next to nothing, or less.
    """
    scale_alone = float(np.median(measured / sums))
    if np.ptp(sums) > _LEAST_SPREAD_RATIO * np.median(sums):
        scale, offset = (float(figure) for figure in siegelslopes(measured, sums))
        if scale > 0 and scale * least_sum + offset > _LEAST_SHARE * scale_alone * least_sum:
            return scale, offset
    return scale_alone, 0.0


def _quantiles(found: Floats) -> tuple[tuple[float, float], ...]:
    return tuple((share, float(np.quantile(found, share))) for share in _SHARES)
