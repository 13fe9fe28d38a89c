"""One look at a time: what the sensors say, and the step that the net takes for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from weakref import ReferenceType

from ..context import Context
from ..manifest import Manifest
from ..sensors.context import read_source
from ..sensors.readings import Readings
from .notices import Notices
from .settings import Settings
from .steps import TIME, Step, Steps

if TYPE_CHECKING:
    from ..net import Net


class Looker:
    """Looks when it is asked to; the net may be gone by then.

    `last` is the last step; where `closed` is set, no other is taken.
    """

    def __init__(
        self,
        net: ReferenceType[Net],
        manifests: Sequence[Manifest],
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.last: Step | None = None
        self.closed = False
        self._net = net
        self._settings = settings
        self._clock = clock
        self._manifests = manifests
        self._steps = Steps(settings.dwell_s)
        self._notices = Notices(settings.low_memory_bytes)
        self._has_dropped = False
        self._due_s = clock()

    def look(self, events: Collection[str] = ()) -> None:
        """Read the sensors, and take a step where it is time, or an event calls for it."""
        readings = read_source(self._settings.sensors)
        events = (*sorted(events), *self._notices.of(readings))
        net, now_s = self._net(), self._clock()
        if net is None or self.closed or not (events or now_s >= self._due_s):
            return
        self._due_s = now_s + self._settings.every_s
        context = self._context(net, readings)
        step = self._steps.take(net, now_s, context, events or (TIME,))
        self.last = step = self._drop_unused(net, step)
        if step.moved and self._settings.on_switch is not None:
            self._settings.on_switch(step)

    def _drop_unused(self, net: Net, step: Step) -> Step:
        """Drop what is not in place once memory has become short, and after moves until it is not.

        After the step, since what that moves to would have to be loaded again.
        """
        if not self._notices.is_memory_short:
            self._has_dropped = False
            return step
        if self._has_dropped and not step.moved:
            return step
        self._has_dropped = True
        done = net._drop_if_loadable()
        what = "is dropped" if done else "is kept, since the library is closed"
        return replace(step, reason=f"{step.reason}; memory is short: what does not run {what}")

    def _context(self, net: Net, readings: Readings) -> Context:
        sensed = readings.context_fields()
        if sensed["memory_budget_bytes"] is not None:
            # what the variant in place holds is not available now, and would be without it
            sensed["memory_budget_bytes"] += _held_bytes(self._manifests, net.variant)
        return Context(**{**sensed, **self._settings.own_values()})


def _held_bytes(manifests: Sequence[Manifest], variant: str) -> float:
    """What a variant holds at its peak besides its weights and code, or 0 if not known.

    Those are pages of files, which count as available memory while they are used.
    """
    every = (known for manifest in manifests for known in manifest.variants)
    costs = [known.cost for known in every if known.name == variant]
    if not costs or costs[0].peak_memory_bytes is None:
        return 0.0
    return max(0.0, costs[0].peak_memory_bytes.value - costs[0].size_bytes.value)
