"""Summaries of what each variant of a library takes, timed in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...explore.measure.timing import ratio, time_in_turn

if TYPE_CHECKING:
    from ...library.loader import Library
    from ..shared.bars import Bars


@dataclass(frozen=True, kw_only=True)
class Timed:
    """A variant's single calls; the ratio is the median over rounds, of medians within a round."""

    variant: str
    calls_count: int
    p50_ms: float
    p90_ms: float
    ratio_to_plainest: float


def time_variants(
    library: Library, sample: Sequence[np.ndarray], seconds: float, bars: Bars
) -> tuple[Timed, ...]:
    """Time every variant on one input for about `seconds` in all."""

    def tell(passed_s: float) -> None:
        done = min(int(passed_s), int(seconds))
        bars.step("time the variants in turn", done, max(1, int(seconds)), "seconds")

    nets = {name: library.open(name, preload=False) for name in library.variants}
    times = time_in_turn(nets, sample, seconds, tell)
    return tuple(
        Timed(
            variant=name,
            calls_count=found.size,
            p50_ms=float(np.median(found)),
            p90_ms=float(np.percentile(found, 90)),
            ratio_to_plainest=ratio(found, times[library.manifest.plainest]),
        )
        for name, found in times.items()
    )
