"""A net that runs in the background as the controls say, and what there is to see of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle
from math import inf
from typing import Any

from ...errors import UsageError
from ...library.context import Context
from ...library.evolve.space import BETWEEN
from ...library.follow.follower import Follower
from ...library.loader import Library
from ...library.net import Switch
from ...library.policies import Decision
from ...library.weights import Array
from .facts import facts_of
from .history import History
from .settings import FIELDS, ChosenPolicy, Settings

_LOOK_S = 0.5  # how often the net adapts to what calls were measured to take
_DWELL_S = 5.0
_JOIN_S = 10.0


class Session:
    """One net, called in turn on each of `calls` (the inputs of one call each), by a thread.

    `shape` is the number of the shape that these have. It is as often called as the context says,
    `calls_per_s`; None: without a pause, 0: never. `failure` is what a call failed with, or None.
    Close it at the end.
    """

    def __init__(
        self,
        library: Library,
        calls: Sequence[tuple[Array, ...]],
        settings: Settings,
        *,
        shape: int = 0,
    ) -> None:
        self.facts = facts_of(library.manifest, shape)
        self.failure: Exception | None = None
        self._calls: Iterator[tuple[Array, ...]] = cycle(calls)
        specs = library.manifest.signatures[shape].inputs
        self._shapes = {spec.name: tuple(spec.shape) for spec in specs} if shape else None
        self._policy = ChosenPolicy(settings.policy)
        self._net = library.open(policy=self._policy)
        self._history = History()
        self._net.on_call(self._history.called)
        self._net.on_switch(self._history.switched)
        self._changing = threading.Lock()
        self._changed = threading.Event()
        self._follower: Follower | None = None
        self._closed = False
        self._apply(settings)
        self._thread = threading.Thread(target=self._run, name="adaspring-watch", daemon=True)

    @property
    def policies(self) -> tuple[str, ...]:
        """Names of the policies that fit the library."""
        return tuple(self.facts["policies"])

    def start(self, failed: Callable[[], object] = lambda: None) -> None:
        """Begin to call the net; `failed` is told when a call fails, which ends them."""
        self._failed = failed
        self._thread.start()

    def close(self) -> None:
        """End the calls, and give up the net."""
        self._closed = True
        self._changed.set()
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)
        self._net.close()

    def change(self, settings: Settings) -> None:
        """Do as the controls say from now on; where that is a UsageError, as they said before."""
        with self._changing:
            before = self._settings
            try:
                self._apply(settings)
            except UsageError:
                self._apply(before)
                raise
            finally:
                self._changed.set()

    def state(self) -> dict[str, Any]:
        """Return what there is to see now, for JSON: None where something is not known."""
        with self._changing:
            settings, running = self._settings, self._net.variant
            context, seen, reason = self._seen()
        cells = running.split(BETWEEN) if running not in self.facts["variants"] else None
        error = None if self._follower is None else self._follower.last_error
        return {
            "settings": settings,
            "variant": running,
            "cells": cells,
            "context": {name: getattr(context, name) for name in FIELDS},
            "reason": reason,
            "missed": [f"{miss.constraint}: by {miss.describe()}" for miss in seen.missed],
            "relaxed": seen.relaxed,
            "unchecked": seen.unchecked,
            "predicted": seen.predicted,
            "measured": self._history.measured(),
            "slowdown": self._slowdown(),
            "error": None if error is None else " ".join(str(error).split()),
            **self._history.drawn(),
        }

    def _slowdown(self) -> Mapping[str, float]:
        """Return what recorded latencies are multiplied by here and now, at each pace."""
        costs = self._net.costs()
        return {"hot": costs.hot_common_ratio, "cold": costs.cold_common_ratio}

    def _seen(self) -> tuple[Context, Switch | Decision, str]:
        """Return the context, what is to be said of the variant in place in it, and why it runs."""
        if self._follower is None or self._follower.last is None:
            return self._context, self._last, self._last.reason
        step = self._follower.last
        return step.context, self._net.judge(step.context), step.reason

    def _apply(self, settings: Settings) -> None:
        if self._follower is not None:
            self._follower.close()
            self._follower = None
        self._policy.name = settings.policy
        self._context = Context(**settings.given(), shapes=self._shapes)
        if settings.follow:
            own: dict[str, Any] = {**settings.given(), "shapes": self._shapes}
            self._follower = self._net.follow(every_s=_LOOK_S, dwell_s=_DWELL_S, **own)
        else:
            self._last = self._net.adapt(self._context)
        self._settings = settings

    def _run(self) -> None:
        """Call the net until the session is closed."""
        try:
            look_s = due_s = time.monotonic()
            while not self._closed:
                now_s = time.monotonic()
                if now_s >= look_s:
                    look_s = now_s + _LOOK_S
                    self._look()
                if now_s >= due_s:
                    due_s = max(now_s, due_s + self._call())
                if self._changed.wait(max(0.0, min(look_s, due_s) - time.monotonic())):
                    self._changed.clear()
                    due_s = time.monotonic()
        except Exception as error:
            self.failure = error
            self._failed()

    def _call(self) -> float:
        """Call the net, unless it is never to be called; return the seconds until the next call."""
        calls_per_s = self._context.calls_per_s
        if calls_per_s == 0:
            return inf
        self._net(*next(self._calls))
        return 0.0 if calls_per_s is None else 1 / calls_per_s

    def _look(self) -> None:
        """Adapt to what calls take now; a follower does so by itself."""
        with self._changing:
            if self._follower is None and not self._closed:
                self._last = self._net.adapt(self._context)
