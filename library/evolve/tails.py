"""What the tails of recorded latencies tell: more of the machine at the time than of a variant."""

from __future__ import annotations

import numpy as np

from .space import Floats


def even_tails(p50: Floats, p90: Floats) -> Floats:
    """Return 90th percentiles with one tail for all: medians times the median of p90 / p50.

    Variants are timed in turn on one machine. A moment that is slow for a tenth of one's calls, by
    chance, stands in its 90th percentile alone, and would rank it behind what is slower by median.

    Args:
        p50: medians, in any unit, (variants); NaN where unknown.
        p90: 90th percentiles, likewise.

    Returns:
        (variants); the 90th percentile as it is where no median is known, NaN where it is not.

    """
    known = (p50 > 0.0) & ~np.isnan(p90)
    if not known.any():
        return p90
    tail = max(float(np.median(p90[known] / p50[known])), 1.0)
    return np.where(known, p50 * tail, p90)
