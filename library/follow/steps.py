"""Whether a followed net may change now, decided from the contexts so far.

Quick to meet a constraint, slow to leave it: what breaks a constraint moves the net at once;
whatever else would be better moves it when `dwell_s` have passed since the last move. It moves to
what is good for the strictest of the contexts of that time, where that can be met, not for the last
context alone. So what swings faster than that moves it once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..context import Context
from .limits import Limits
from .strictest import Window

if TYPE_CHECKING:
    from ..net import Net, Switch

TIME, NOTIFIED, PLUGGED, UNPLUGGED = "time", "notified", "plugged in", "unplugged"
MISSED, PRESSURE = "deadline missed", "memory pressure"
URGENT = (MISSED, PRESSURE)
"""Events that say themselves that a constraint is broken."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One look at the situation.

    `at_s` is the clock's time, `events` what made it look, `context` what it saw. `switch` is what
    `net.adapt` returned, None where the policy was not asked; `reason` says why the net moved, or
    why it stays.
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

    def __init__(self, limits: Limits, dwell_s: float) -> None:
        self._limits = limits
        self._dwell_s = dwell_s
        self._window = Window(dwell_s)
        self._moved_s: float | None = None

    def take(self, net: Net, at_s: float, context: Context, events: tuple[str, ...]) -> Step:
        """Let the net adapt if it may move."""
        strictest = self._window.add(at_s, context)
        here = net.variant
        broken = self._limits.broken(here, context)
        urgent = tuple(event for event in events if event in URGENT)
        if broken or urgent:
            cause = " and ".join(urgent or [f"{here} breaks {' and '.join(broken)}"])
            asked = strictest if self._limits.can_be_met(strictest) else context
            return self._adapt(net, at_s, context, events, asked, cause)
        stays = self._why_it_stays(here, at_s, strictest)
        if stays:
            return Step(at_s=at_s, events=events, context=context, switch=None, reason=stays)
        return self._adapt(net, at_s, context, events, strictest, "the policy's choice")

    def _why_it_stays(self, here: str, at_s: float, strictest: Context) -> str:
        if self._moved_s is not None and 0 <= at_s - self._moved_s < self._dwell_s:
            passed_s = at_s - self._moved_s
            return (
                f"stays on {here}: moved {passed_s:.3g} s ago, and within {self._dwell_s:g} s only "
                "a broken constraint moves it"
            )
        broken = self._limits.broken(here, strictest)
        if broken:
            return (
                f"stays on {here}: it breaks nothing now, and broke {' and '.join(broken)} within "
                f"the last {self._dwell_s:g} s"
            )
        return ""

    def _adapt(
        self,
        net: Net,
        at_s: float,
        seen: Context,
        events: tuple[str, ...],
        asked: Context,
        cause: str,
    ) -> Step:
        switch = net.adapt(asked)
        before, after = switch.from_variant, switch.to_variant
        what = f"stays on {after}" if before == after else f"moves from {before} to {after}"
        if before != after:
            self._moved_s = at_s
        reason = f"{what}: {cause}; {switch.reason}"
        return Step(at_s=at_s, events=events, context=seen, switch=switch, reason=reason)
