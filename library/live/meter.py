"""Measures a net's calls, and tells whoever asked to hear of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from math import inf, log
from pathlib import Path
from typing import TYPE_CHECKING

from ..context import Context
from ..joined.lives import Lives
from ..manifest import Manifest
from ..policies.limits import HOT_CALLS_PER_S
from . import saved
from .costs import LiveCosts, live_costs
from .hooks import Call, Hook
from .live import Live
from .recorded import names_in, recorded_costs

if TYPE_CHECKING:
    from ..net import Switch

_MOST_LOAD_RATIO = 10.0  # that a context takes
_NOTICED = log(1.03)
_OPENED = "the net was opened with it"


class Meter:
    """The live costs and the hooks of one net, of one library or several.

    `digests` are the libraries' SHA-256, under which costs are saved; without them none are.
    `note` is called by any thread that ran a call; all else by one at a time, in the net's turn of
    switching.
    """

    def __init__(
        self,
        manifests: Sequence[Manifest],
        digests: Sequence[str] = (),
        costs: Path | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.lives = Lives([Live(recorded_costs(manifest), clock) for manifest in manifests])
        self.on_call, self.on_late = Hook[Call](), Hook[Call]()
        self.on_switch: Hook[Switch] = Hook()
        self._by_digest = dict(zip(digests, self.lives.each, strict=False))
        self._limit_s, self._reason = inf, _OPENED
        self._budget_ms: float | None = None
        self._origin = "nothing was learnt before"
        if costs is not None:
            self._origin = saved.load(self._by_digest, costs, datetime.now(UTC))

    def note(self, variant: str, shape: int, start_s: float) -> None:
        """Keep a call that began at `start_s` of `time.perf_counter` and ends now."""
        live, key = self.lives.of(variant), (variant, shape)
        track = live.tracks.get(key) or live.track(names_in(variant, shape), key)
        elapsed_s = live.note(track, start_s)
        if elapsed_s > self._limit_s or self.on_call.functions:
            self._tell(variant, elapsed_s)

    def _tell(self, variant: str, elapsed_s: float) -> None:
        call = Call(
            variant=variant,
            latency_ms=1e3 * elapsed_s,
            latency_budget_ms=self._budget_ms,
            reason=self._reason,
        )
        self.on_call.tell(call)
        if elapsed_s > self._limit_s:
            self.on_late.tell(call)

    def expect(self, context: Context) -> Context:
        """Take in a context, and return it with the load that calls show.

        Where no calls were measured, or they take what the context lets expect, it stays as it is.
        """
        self.lives.learn()
        self._budget_ms = budget_ms = context.latency_budget_ms
        self._limit_s = inf if budget_ms is None else 1e-3 * budget_ms
        stretch = 1.0 + (context.load_ratio or 0.0)
        self.lives.expect(stretch)
        common = self.lives.common_ratio(is_cold(context))
        if abs(log(common / stretch)) < _NOTICED:
            return context
        return replace(context, load_ratio=min(max(common - 1.0, 0.0), _MOST_LOAD_RATIO))

    def switched(self, switch: Switch) -> None:
        """Tell of a switch; outside of the turn, since who hears of it may call the net."""
        self._reason = switch.reason
        if switch.from_variant != switch.to_variant:
            self.on_switch.tell(switch)

    def costs(self) -> LiveCosts:
        """Tabulate what was learnt until now."""
        self.lives.learn()
        return live_costs(self.lives, time.time() - time.perf_counter(), self._origin)

    def save(self, path: Path) -> None:
        """Write what was learnt until now; CostsError where it cannot be written."""
        self.lives.learn()
        saved.save(self._by_digest, path, datetime.now(UTC))


def is_cold(context: Context) -> bool:
    """Whether calls come so seldom that they are cold."""
    return context.calls_per_s is not None and context.calls_per_s < HOT_CALLS_PER_S
