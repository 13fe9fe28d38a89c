"""What calls took and which switches there were, as the page draws it: bounded, however long."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...library.live.hooks import Call
from ...library.net import Switch

SHOWN_S = 30.0
_STEP_S = 0.1  # of the chart; calls of one variant within it are one point
_MOST_POINTS = 2 * int(SHOWN_S / _STEP_S)  # a switch within a step makes two of it
_MOST_SWITCHES, _MOST_CALLS = 50, 256


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One variant's calls of a tenth of a second, which began at `at_s`."""

    at_s: float
    variant: str
    p50_ms: float
    worst_ms: float
    calls_count: int
    latency_budget_ms: float | None


class History:
    """Told of calls and switches by a net; threads may share it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._moments = deque[Moment](maxlen=_MOST_POINTS)
        self._switches = deque[tuple[float, Switch]](maxlen=_MOST_SWITCHES)
        self._newest = deque[tuple[float, bool]](maxlen=_MOST_CALLS)
        self._open: tuple[float, Call, list[float]] | None = None

    def called(self, call: Call) -> None:
        """Take in a call."""
        at_s = self._clock() // _STEP_S * _STEP_S
        budget_ms = call.latency_budget_ms
        with self._lock:
            if self._open is None or not _alike(self._open, at_s, call):
                self._end_moment()
                self._open = (at_s, call, [])
            self._open[2].append(call.latency_ms)
            late = budget_ms is not None and call.latency_ms > budget_ms
            self._newest.append((call.latency_ms, late))

    def switched(self, switch: Switch) -> None:
        """Take in a switch; what the variant before took counts no longer as the newest."""
        with self._lock:
            self._switches.append((self._clock(), switch))
            self._newest.clear()

    def measured(self) -> dict[str, Any]:
        """Return what the newest calls of the variant in place took, 256 at most."""
        with self._lock:
            newest = list(self._newest)
        if not newest:
            return {"calls_count": 0, "late_count": 0, "p50_ms": None, "p90_ms": None}
        p50, p90 = np.percentile([latency_ms for latency_ms, _ in newest], [50, 90])
        return {
            "calls_count": len(newest),
            "late_count": sum(late for _, late in newest),
            "p50_ms": float(p50),
            "p90_ms": float(p90),
        }

    def drawn(self) -> dict[str, Any]:
        """Return what of the last SHOWN_S is drawn, and the last switches; ages in seconds."""
        with self._lock:
            now_s = self._clock()
            moments = list(self._moments)
            if self._open is not None:
                moments.append(_moment(*self._open))
            switches = list(self._switches)
        return {
            "moments": [
                (now_s - each.at_s, each.variant, each.p50_ms, each.worst_ms, each.calls_count,
                 each.latency_budget_ms)
                for each in moments if now_s - each.at_s <= SHOWN_S
            ],
            "switches": [
                {"age_s": now_s - at_s, "from_variant": switch.from_variant,
                 "to_variant": switch.to_variant, "reason": switch.reason,
                 "decide_us": switch.decide_us, "switch_ms": switch.switch_ms}
                for at_s, switch in switches
            ],
        }  # fmt: skip

    def _end_moment(self) -> None:
        if self._open is not None:
            self._moments.append(_moment(*self._open))


def _alike(moment: tuple[float, Call, list[float]], at_s: float, call: Call) -> bool:
    """Whether a call belongs to a moment that has begun."""
    begun_s, first, _ = moment
    same = first.latency_budget_ms == call.latency_budget_ms
    return begun_s == at_s and same and first.variant == call.variant


def _moment(at_s: float, first: Call, latencies_ms: list[float]) -> Moment:
    return Moment(
        at_s=at_s,
        variant=first.variant,
        p50_ms=float(np.median(latencies_ms)),
        worst_ms=max(latencies_ms),
        calls_count=len(latencies_ms),
        latency_budget_ms=first.latency_budget_ms,
    )
