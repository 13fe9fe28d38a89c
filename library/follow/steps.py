"""Whether a followed net may change now, decided from the contexts so far.

Quick to meet a constraint, slow to leave it: what breaks a constraint moves the net at once, to
what meets the strictest of the contexts of the last `dwell_s`, where something does; and so does
what eases a missed deadline or short memory. Whatever else would be better moves it when `dwell_s`
have passed since the last move, and if it is better for the strictest of that time too. So what
swings faster than that moves it once.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from ..context import Context
from ..policies import Decision
from .strictest import Window

if TYPE_CHECKING:
    from ..net import Net, Switch

TIME, NOTIFIED, PLUGGED, UNPLUGGED = "time", "notified", "plugged in", "unplugged"
MISSED, PRESSURE = "deadline missed", "memory pressure"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One look at the situation.

    `at_s` is the clock's time, `events` what made it look, `context` what it saw. `switch` is what
    `net.adapt` returned, None where the net stays; `reason` says why it moved, or why it stays.
    """

    at_s: float
    events: tuple[str, ...]
    context: Context
    switch: Switch | None
    reason: str

    @property
    def moved(self) -> bool:
        """Whether another variant runs from here on."""
        return self.switch is not None and self.switch.from_variant != self.switch.to_variant


class Steps:
    """Takes the steps of one net, and remembers what of them decides the next."""

    def __init__(self, dwell_s: float) -> None:
        self._dwell_s = dwell_s
        self._window = Window(dwell_s)
        self._moved_s: float | None = None

    def take(self, net: Net, at_s: float, context: Context, events: tuple[str, ...]) -> Step:
        """Let the net adapt if it may move."""
        strictest = self._window.add(at_s, context)
        cautious = net.preview(strictest)
        wanted = net.preview(context)  # the last: late calls are those later than is wanted now
        here = net.judge(context)
        if wanted.variant == here.variant:
            asked, why = None, wanted.reason
        elif here.relaxed:
            asked = context if cautious.relaxed else strictest
            why = f"{here.variant} breaks {' and '.join(here.relaxed)}"
        elif eased := [event for event in events if _eases(event, here, wanted)]:
            asked, why = context, " and ".join(eased)
        else:
            asked, why = self._unless_it_stays(at_s, context, wanted, cautious)
        switch = None if asked is None else net.adapt(asked)
        if asked is strictest:
            net.preview(context)
        step = Step(
            at_s=at_s,
            events=events,
            context=context,
            switch=switch,
            reason=_reason(here.variant, switch, why),
        )
        if step.moved:
            self._moved_s = at_s
        return step

    def _unless_it_stays(
        self, at_s: float, context: Context, wanted: Decision, cautious: Decision
    ) -> tuple[Context | None, str]:
        """Return what to ask the policy, None where the net must stay, and why."""
        passed_s = inf if self._moved_s is None else at_s - self._moved_s
        if 0 <= passed_s < self._dwell_s:
            return None, (
                f"moved {passed_s:.3g} s ago, and within {self._dwell_s:g} s only a broken "
                "constraint moves it"
            )
        if wanted.variant != cautious.variant:
            return None, (
                f"{wanted.variant} would be better now, but {cautious.variant} for what there was "
                f"within the last {self._dwell_s:g} s"
            )
        return context, f"{wanted.variant} is better"


def _eases(event: str, here: Decision, wanted: Decision) -> bool:
    """Tell whether a choice has less of what an event says is too much."""
    before, after = here.predicted, wanted.predicted
    pairs = {
        MISSED: (before.latency_ms, after.latency_ms),
        PRESSURE: (before.memory_bytes, after.memory_bytes),
    }
    now, then = pairs.get(event, (None, None))
    return now is not None and then is not None and then < now


def _reason(here: str, switch: Switch | None, why: str) -> str:
    if switch is None:
        return f"stays on {here}: {why}"
    if switch.to_variant == switch.from_variant:
        return f"stays on {here}: {why}, but {switch.reason}"
    return f"moves from {switch.from_variant} to {switch.to_variant}: {why}; {switch.reason}"
