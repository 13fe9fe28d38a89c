"""Times the variants of a library in turn, so that a slow moment of the machine hits them all."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..library.loader import Library
    from .bars import Bars

_CALLS_PER_ROUND = 5
_LEAST_ROUNDS = 5


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
    nets = {name: library.open(name, preload=False) for name in library.variants}
    rounds: dict[str, list[list[float]]] = {name: [] for name in nets}
    start = time.perf_counter()
    while (passed := time.perf_counter() - start) < seconds or (
        len(rounds[library.manifest.plainest]) < _LEAST_ROUNDS
    ):
        done = min(int(passed), int(seconds))
        bars.step("time the variants in turn", done, max(1, int(seconds)), "seconds")
        for name, net in nets.items():
            net(*sample)  # brings its code and weights back into the caches
            rounds[name].append([time_ms(lambda: net(*sample)) for _ in range(_CALLS_PER_ROUND)])  # noqa: B023
    times = {name: np.array(found) for name, found in rounds.items()}
    plainest = np.median(times[library.manifest.plainest], axis=1)
    return tuple(
        Timed(
            variant=name,
            calls_count=found.size,
            p50_ms=float(np.median(found)),
            p90_ms=float(np.percentile(found, 90)),
            ratio_to_plainest=float(np.median(np.median(found, axis=1) / plainest)),
        )
        for name, found in times.items()
    )


def time_ms(call: Callable[[], object]) -> float:
    """Give the milliseconds of one call."""
    start = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - start)
