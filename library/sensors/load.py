"""What other work adds to a call's time, from /proc/stat and the control groups' cpu.stat.

Others use a share r of the processors' time that this process may use. A call that takes turns
with them takes 1 / (1 - r) times as long: what comes and goes as it will, on one processor that
all share evenly (M/G/1 processor sharing; Kleinrock, Queueing Systems II, 1976, section 4.4). Work
that never ends is no such stream: against n threads that always run on a processor, a call gets one
turn of n + 1, so the added time is at most n times the call's. Of n is known how many threads are
ready to run, averaged over seconds, and it is taken as 1 at least.

Where a group of this process is throttled by cpu.max, t seconds are waited for u that are used, so
calls take 1 + t / u times as long; the two multiply. Time that the host of a virtual machine takes
(steal) counts as others'. Not seen: what others do to caches and memory bandwidth, and weights of
groups (cpu.weight); calls are taken to use every processor that they may.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from .cached import Cached
from .cgroups import find_groups
from .files import base, read_table, whole
from .readings import MOST_LOAD_RATIO

_LEAST_S = 0.25  # /proc/stat counts hundredths of a second
_MOST_S = 60.0  # an average over more is not of now
_SMOOTHED_S = 5.0
_GROUPS_S = 5.0
_TICKS_PER_S = 100  # what /proc/stat counts in, on every Linux that there is
_BUSY = (0, 1, 2, 5, 6, 7)  # user, nice, system, irq, softirq, steal; guests are within user
_IDLE = (3, 4)  # idle, iowait
_LEAST_USED_US = 1000


@dataclass(frozen=True)
class _Sample:
    at_s: float
    own_s: float
    busy_s: float
    idle_s: float
    ready_count: float
    """threads of others that are ready to run, for each processor"""
    throttled: tuple[tuple[str, int, int], ...]
    """of each group its folder, microseconds throttled, microseconds used"""


class Load:
    """Reads what other work added to a call's time since the reading before.

    `cpus` are the processors that this process may use, `own_cpu_s` tells the processor time that
    it has used. Readings less than a quarter of a second apart are one.
    """

    def __init__(
        self,
        root: str | Path = "/",
        *,
        clock: Callable[[], float] = time.monotonic,
        cpus: Callable[[], Collection[int]] = lambda: os.sched_getaffinity(0),
        own_cpu_s: Callable[[], float] = time.process_time,
    ) -> None:
        self._stat = f"{base(root)}/proc/stat"
        self._groups = Cached(lambda: find_groups(root), _GROUPS_S, clock)
        self._clock, self._cpus, self._own_cpu_s = clock, cpus, own_cpu_s
        self._kept: tuple[_Sample | None, float | None] = (self._sample(), None)

    def read(self) -> float | None:
        """Return a ratio, at most 10; None at first, after a minute, where nothing is told."""
        before, value = self._kept
        if before is not None and 0 <= self._clock() - before.at_s < _LEAST_S:
            return value
        now = self._sample()
        value = None if before is None or now is None else _added(before, now)
        if before is not None and now is not None:
            now = _smoothed(before, now)
        self._kept = (now, value)
        return value

    def _sample(self) -> _Sample | None:
        at_s, own_s = self._clock(), self._own_cpu_s()
        found = read_table(self._stat)
        cpus = self._cpus()
        busy, idle = 0, 0
        for cpu in cpus:
            ticks = [whole(word) for word in found.get(f"cpu{cpu}", [])[:8]]
            known = [value for value in ticks if value is not None]
            if len(known) < 8:
                return None
            busy += sum(known[field] for field in _BUSY)
            idle += sum(known[field] for field in _IDLE)
        running = whole(" ".join(found.get("procs_running", [])))
        if not cpus or running is None:
            return None
        ready = max(0, running - 1) / len(cpus)  # who reads is running, too
        throttled = tuple(_throttled(folder) for folder in self._groups.read().unified)
        return _Sample(at_s, own_s, busy / _TICKS_PER_S, idle / _TICKS_PER_S, ready, throttled)


def _throttled(folder: str) -> tuple[str, int, int]:
    found = read_table(f"{folder}/cpu.stat")
    throttled, used = (
        whole(" ".join(found.get(key, []))) for key in ("throttled_usec", "usage_usec")
    )
    return folder, throttled or 0, used or 0


def _smoothed(before: _Sample, now: _Sample) -> _Sample:
    """Average the number of ready threads, which is otherwise that of one moment."""
    kept = math.exp(-(now.at_s - before.at_s) / _SMOOTHED_S)
    ready = kept * before.ready_count + (1 - kept) * now.ready_count
    return _Sample(now.at_s, now.own_s, now.busy_s, now.idle_s, ready, now.throttled)


def _added(before: _Sample, now: _Sample) -> float | None:
    own_s, busy_s = now.own_s - before.own_s, now.busy_s - before.busy_s
    idle_s = max(0.0, now.idle_s - before.idle_s)  # iowait may fall, the kernel says
    passed = 0 < now.at_s - before.at_s <= _MOST_S
    if not passed or own_s < 0 or busy_s < 0 or busy_s + idle_s <= 0:
        return None  # or a fork: the child's own time begins anew
    others = min(1.0, max(0.0, busy_s - own_s) / (busy_s + idle_s))
    most = max(1.0, _smoothed(before, now).ready_count)
    added = most if others == 1 else min(others / (1 - others), most)
    waits = _waits(before, now)
    return min((1 + added) * (1 + waits) - 1, MOST_LOAD_RATIO)


def _waits(before: _Sample, now: _Sample) -> float:
    """Seconds throttled for each second used, of the group where it is most."""
    earlier = {folder: (throttled, used) for folder, throttled, used in before.throttled}
    most = 0.0
    for folder, throttled, used in now.throttled:
        throttled_before, used_before = earlier.get(folder, (throttled, used))
        if used - used_before >= _LEAST_USED_US:
            most = max(most, (throttled - throttled_before) / (used - used_before))
    return most
