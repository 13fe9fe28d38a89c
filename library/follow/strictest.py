"""The strictest of what was wanted within the last while."""

from __future__ import annotations

from dataclasses import replace
from math import inf

from ..context import Context

_BUCKETS_COUNT = 16
_BATTERY_STEP_RATIO = 0.02


class Window:
    """Remembers the contexts of the last `length_s` seconds, to a sixteenth of that.

    The battery it gives changes by steps of two points at least: gauges are no finer, and waver.
    """

    def __init__(self, length_s: float) -> None:
        self._length_s = length_s
        self._battery_ratio: float | None = None
        self._buckets: list[tuple[int, Context]] = []

    def add(self, at_s: float, context: Context) -> Context:
        """Take a context in, and return the strictest of the window."""
        if self._length_s == 0:
            return context
        number = int(at_s / self._length_s * _BUCKETS_COUNT)
        kept = [(n, then) for n, then in self._buckets if n > number - _BUCKETS_COUNT]
        if kept and kept[-1][0] == number:
            context = stricter(kept.pop()[1], context)
        self._buckets = [*kept, (number, context)]
        for _, then in kept:
            context = stricter(then, context)
        return self._steady(context)

    def _steady(self, context: Context) -> Context:
        held, ratio = self._battery_ratio, context.battery_ratio
        if held is None or ratio is None or abs(held - ratio) >= _BATTERY_STEP_RATIO:
            self._battery_ratio = held = ratio
        return replace(context, battery_ratio=held)


def stricter(before: Context, now: Context) -> Context:
    """Take the stricter of each constraint that has an order, and of the battery the lower.

    A latency budget is taken with the load that it is to be kept under. The other fields are
    those of `now`: of a metric's floor it is not known which way it is stricter.
    """
    pressed = before if _allowed_ms(before) < _allowed_ms(now) else now
    return replace(
        now,
        battery_ratio=_least(before.battery_ratio, now.battery_ratio),
        memory_budget_bytes=_least(before.memory_budget_bytes, now.memory_budget_bytes),
        latency_budget_ms=pressed.latency_budget_ms,
        load_ratio=pressed.load_ratio,
    )


def _allowed_ms(context: Context) -> float:
    """What a call may take on an idle machine, so as to be in time on this one."""
    budget_ms = inf if context.latency_budget_ms is None else context.latency_budget_ms
    return budget_ms / (1 + (context.load_ratio or 0.0))


def _least(one: float | None, other: float | None) -> float | None:
    known = [value for value in (one, other) if value is not None]
    return min(known, default=None)
