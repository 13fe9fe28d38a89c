"""Made-up calls: a clock that a test moves, and seeded times with the outliers of real machines."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from adaspring.library.live.live import Live
from adaspring.library.live.recorded import Recorded

RECORDED_MS = {"dense": 1.0, "small": 0.5, "tiny": 0.25}
P90_OVER_P50 = 1.07


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def made_live(clock: Clock) -> Live:
    recorded = {
        name: Recorded(p50_ms=ms, p90_ms=P90_OVER_P50 * ms, cold_p50_ms=2 * ms, cold_p90_ms=3 * ms)
        for name, ms in RECORDED_MS.items()
    }
    return Live(recorded, clock)


def noise(rng: np.random.Generator, count: int) -> np.ndarray:
    """Factors of 5 % around 1; one call in 20 is late, some of those a hundred times."""
    factors = np.exp(rng.normal(0.0, 0.05, count))
    late = rng.random(count) < 0.05
    factors[late] *= 1.0 + rng.pareto(1.1, late.sum())
    return factors.clip(max=1000.0)


def call(
    live: Live,
    clock: Clock,
    names: Iterable[str],
    factors: Iterable[float],
    *,
    learn_every: int = 10,
    pause_s: float = 0.0,
    tell: Callable[[], object] = lambda: None,
) -> None:
    """Call names, each time so many times slower than recorded; `tell` hears of each learning."""
    names = tuple(names)
    track = live.track(names)
    usual_ms = sum(RECORDED_MS[name] for name in names) * (2 if pause_s else 1)
    for number, factor in enumerate(factors, 1):
        clock.now_s += pause_s
        start_s = clock.now_s
        clock.now_s += 1e-3 * usual_ms * factor
        live.note(track, start_s)
        if number % learn_every == 0:
            live.learn()
            tell()
    live.learn()
