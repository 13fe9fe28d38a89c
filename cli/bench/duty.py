"""Times calls as apps make them: with pauses between them, and beside other work."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ...library.loader import Library
    from ..shared.bars import Bars

PERIODS_MS = (0.0, 50.0, 1000.0)
NEIGHBOURS = (0, 1)
_WARM_COUNT = 20
# Threads that stay awake after a call have stopped by then, and their time is counted.
_SETTLE_S = 0.3
# Ends by itself when its parent does.
_BUSY = "import os, sys\nwhile os.getppid() == int(sys.argv[1]): sum(range(100_000))"


@dataclass(frozen=True, kw_only=True)
class DutyCycle:
    """Calls that begin every `period_ms` (0: without a pause) beside `neighbours_count` processes.

    `processor_ms` is the processor time of all threads for each call, pauses included.
    """

    variant: str
    period_ms: float
    neighbours_count: int
    calls_count: int
    p50_ms: float
    p90_ms: float
    processor_ms: float


def duty_cycles(
    library: Library, sample: Sequence[np.ndarray], seconds: float, bars: Bars
) -> tuple[DutyCycle, ...]:
    """Time every variant at every period, alone and beside a busy process, for `seconds` in all."""
    total = len(library.variants) * len(PERIODS_MS) * len(NEIGHBOURS)
    found: list[DutyCycle] = []
    for variant in library.variants:
        net = library.open(variant, preload=False)
        for count in NEIGHBOURS:
            with busy_neighbours(count):
                for period_ms in PERIODS_MS:
                    bars.step("time the variants", len(found), total, variant)
                    times_ms, processor_ms = time_calls(
                        partial(net, *sample), 1e-3 * period_ms, seconds / total
                    )
                    found.append(
                        DutyCycle(
                            variant=variant,
                            period_ms=period_ms,
                            neighbours_count=count,
                            calls_count=times_ms.size,
                            p50_ms=float(np.median(times_ms)),
                            p90_ms=float(np.percentile(times_ms, 90)),
                            processor_ms=processor_ms,
                        )
                    )
    return tuple(found)


def time_calls(
    call: Callable[[], object], period_s: float, seconds: float
) -> tuple[np.ndarray, float]:
    """Milliseconds of single calls, one every `period_s`; processor milliseconds a call.

    At least one call is timed, and the first comes after a pause too.
    """
    for _ in range(_WARM_COUNT):
        call()
    time.sleep(_SETTLE_S)
    times_s: list[float] = []
    spent_s, due = -time.process_time(), time.perf_counter()
    end = due + seconds
    while not times_s or due + period_s <= end:
        due = max(due + period_s, time.perf_counter())
        time.sleep(max(0.0, due - time.perf_counter()))
        start = time.perf_counter()
        call()
        times_s.append(time.perf_counter() - start)
    time.sleep(_SETTLE_S)
    spent_s += time.process_time()
    return 1e3 * np.array(times_s), 1e3 * spent_s / len(times_s)


@contextmanager
def busy_neighbours(count: int) -> Iterator[None]:
    """Keep `count` processes busy meanwhile, each on any processor."""
    command = [sys.executable, "-c", _BUSY, str(os.getpid())]
    started = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()
