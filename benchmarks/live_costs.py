"""Live costs: what measuring a call takes, and when a busy neighbour is noticed.

`python benchmarks/live_costs.py`. The demo's network, untuned, in four variants. The neighbour is a
process that computes on one of this process's processors for some seconds.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import report
from app_side import make_library

import adaspring

ASK_EVERY = 10  # calls
# Ends by itself when its parent does, and after ten minutes whatever happens.
BUSY = """
import os, sys, time
os.sched_setaffinity(0, {int(sys.argv[2])})
end = time.monotonic() + 600
while os.getppid() == int(sys.argv[1]) and time.monotonic() < end:
    sum(range(100_000))
"""


class Unmeasured:
    """In a meter's place: keeps nothing of a call."""

    def note(self, variant: str, shape: int, start_s: float) -> None:
        pass


@contextmanager
def busy_process(cpu: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that keeps a processor busy meanwhile."""
    process = subprocess.Popen([sys.executable, "-c", BUSY, str(os.getpid()), str(cpu)])
    try:
        time.sleep(0.2)
        yield process
    finally:
        process.kill()
        process.wait()


def quiet_s(call: Callable[[], object], calls: int) -> float:
    """Seconds of the tenth part of calls that were disturbed the least."""
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return float(np.percentile(times, 10))


def overhead(net: adaspring.Net, x: np.ndarray, rounds: int) -> dict[str, float | int]:
    """Nanoseconds that a call takes longer than one of which nothing is kept, in turn.

    `alone_ns` is what keeping a call takes, without the call, in the quietest of the rounds.
    """
    meter, differences, whole, alone = net._meter, [], [], []
    for _ in range(rounds):
        measured = quiet_s(lambda: net(x), 500)
        net._meter = Unmeasured()
        differences.append(1e9 * (measured - quiet_s(lambda: net(x), 500)))
        net._meter = meter
        whole.append(1e6 * measured)
        start = time.perf_counter()
        for _ in range(1000):
            meter.note("dense", 0, time.perf_counter())
        alone.append(1e6 * (time.perf_counter() - start))
    return {
        "call_us": float(np.median(whole)),
        "longer_ns": float(np.median(differences)),
        "alone_ns": float(np.min(alone)),
        "rounds": rounds,
    }


def adapting(net: adaspring.Net, x: np.ndarray, rounds: int) -> list[dict[str, float | int]]:
    """Microseconds of `adapt` after so many calls, of which the decision is a part."""
    context = adaspring.Context(latency_budget_ms=1e6)
    rows = []
    for calls in (0, 1, 16, 64):
        whole, decide = [], []
        for _ in range(rounds):
            for _ in range(calls):
                net(x)
            start = time.perf_counter()
            switch = net.adapt(context)
            whole.append(1e6 * (time.perf_counter() - start))
            decide.append(switch.decide_us)
        rows.append(
            {
                "calls_before": calls,
                "adapt_p50_us": float(np.median(whole)),
                "adapt_p99_us": float(np.percentile(whole, 99)),
                "decide_p50_us": float(np.median(decide)),
            }
        )
    return rows


def phase(
    net: adaspring.Net, x: np.ndarray, context: adaspring.Context, seconds: float
) -> dict[str, object]:
    """Call for some seconds and adapt every ten calls; what was believed after each asking."""
    ratios, variants, times = [], [], []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for _ in range(ASK_EVERY):
            start = time.perf_counter()
            net(x)
            times.append(1e3 * (time.perf_counter() - start))
        net.adapt(context)
        ratios.append(net.costs().hot_common_ratio)
        variants.append(net.variant)
    late = np.array(times) > context.latency_budget_ms
    names, counts = np.unique(variants, return_counts=True)
    settled = float(np.median(ratios[len(ratios) // 2 :]))
    return {
        "p50_ms": float(np.median(times)),
        "p90_ms": float(np.percentile(times, 90)),
        "common_ratio": settled,
        "calls_until_within_15_percent": calls_until_near(ratios, settled),
        "late_share": float(late.mean()),
        "variants": {str(n): int(c) for n, c in zip(names, counts, strict=True)},
        "calls": len(times),
    }


def calls_until_near(ratios: list[float], settled: float) -> int:
    """After how many calls what is believed was first within 15 % of what it settled at."""
    near = np.abs(np.log(np.array(ratios) / settled)) < np.log(1.15)
    return ASK_EVERY * (1 + int(np.argmax(near)))


def main() -> None:
    """Measure, print, write JSON."""
    parser = report.arguments(__doc__, "fewer rounds, two seconds a phase: under a minute")
    arguments = parser.parse_args()
    rounds, seconds = (10, 2.0) if arguments.quick else (100, 8.0)
    with tempfile.TemporaryDirectory() as name:
        library = adaspring.load(make_library(Path(name)))
        (spec,) = library.manifest.inputs
        x = np.random.default_rng(0).standard_normal(spec.shape).astype(spec.dtype)
        fastest = min(library.manifest.variants, key=lambda v: v.cost.latency_p50_ms.value)
        rows: list[dict[str, object]] = []
        rows.append({"what": "overhead", **overhead(library.open(fastest.name), x, rounds)})
        print(rows[-1], flush=True)
        for row in adapting(library.open(), x, 20 * rounds):
            rows.append({"what": "adapt", **row})
            print(rows[-1], flush=True)
        net = library.open()
        alone = phase(net, x, adaspring.Context(latency_budget_ms=1e6), seconds)
        budget = 1.3 * float(alone["p90_ms"])
        context = adaspring.Context(latency_budget_ms=budget)
        rows.append({"what": "alone", **phase(net, x, context, seconds)})
        with busy_process(min(os.sched_getaffinity(0))):
            rows.append({"what": "beside a busy process", **phase(net, x, context, seconds)})
        rows.append({"what": "alone again", **phase(net, x, context, seconds)})
        for row in rows[-3:]:
            print(row)
        print(net.costs())
    settings = {"quick": arguments.quick, "seconds": seconds, "latency_budget_ms": budget}
    packages = ("adaspring", "apache-tvm-ffi", "numpy")
    report.write(arguments.json, "live_costs", packages, settings, rows, {})


if __name__ == "__main__":
    main()
