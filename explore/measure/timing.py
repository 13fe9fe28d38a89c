"""Time the variants of a library in turn, so that a slow moment of the machine hits them all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

_CALLS_PER_ROUND = 10
_LEAST_ROUNDS = 5
# Threads that wait by spinning give up their cores before the next name's turn; then its own
# threads, caches and clock come back to a steady state before it is timed.
_PAUSE_S = 0.01
WARM_S = 0.01
APART_S, COLD_CALLS = 0.05, 20

Call = Callable[..., object]


def time_in_turn(
    calls: Mapping[str, Call],
    sample: Sequence[np.ndarray],
    seconds: float,
    tell: Callable[[float], None] = lambda passed_s: None,
) -> dict[str, np.ndarray]:
    """Milliseconds of single calls on one sample, (rounds, calls a round), for each name.

    Every round takes the names in turn, each paused and warmed up before it is timed; `tell` hears
    the seconds passed.
    """
    found: dict[str, list[list[float]]] = {name: [] for name in calls}
    start, rounds = time.perf_counter(), 0
    while (passed := time.perf_counter() - start) < seconds or rounds < _LEAST_ROUNDS:
        tell(passed)
        for name, call in calls.items():
            time.sleep(_PAUSE_S)
            warm = time.perf_counter() + WARM_S
            while time.perf_counter() < warm:
                call(*sample)
            found[name].append([time_ms(call, sample) for _ in range(_CALLS_PER_ROUND)])
        rounds += 1
    return {name: np.array(times) for name, times in found.items()}


def time_apart(calls: Mapping[str, Call], sample: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Milliseconds of calls that come 50 ms after the one before, for each name."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for name, call in calls.items():
        for _ in range(COLD_CALLS):
            time.sleep(APART_S)
            found[name].append(time_ms(call, sample))
    return {name: np.array(times) for name, times in found.items()}


def time_ms(call: Call, sample: Sequence[np.ndarray] = ()) -> float:
    """Milliseconds of one call."""
    start = time.perf_counter()
    call(*sample)
    return 1e3 * (time.perf_counter() - start)


def ratio(times_ms: np.ndarray, reference_ms: np.ndarray) -> float:
    """The median over rounds of one median over the other's in the same round."""
    return float(np.median(np.median(times_ms, axis=1) / np.median(reference_ms, axis=1)))
