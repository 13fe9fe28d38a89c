"""Adapts a net in the background.

One thread a net. It holds neither the net nor the follower while it waits, so both go when the app
lets go of them, and the thread with them. What wakes it comes by a SimpleQueue, into which a signal
handler and the garbage collector may put, and which no fork finds locked. A fork's child does not
have the thread. At exit it is told to end before the turns of calls are taken.
"""

from __future__ import annotations

import atexit
import threading
import time
import traceback
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType, WeakSet, ref

from ...errors import UsageError
from ..context import Context
from ..manifest import Manifest
from ..sensors.context import check_names, check_source, read_source
from ..sensors.readings import Readings
from .limits import Limits
from .notices import Notices
from .steps import MISSED, NOTIFIED, TIME, Step, Steps

if TYPE_CHECKING:
    from ..net import Net
    from ..sensors.sensors import Source

_LEAST_S, _MOST_S = 0.05, 86_400.0
_POLL_S = 1.0  # how often the sensors are asked for events, where the app looks more seldom
_PAUSE_S = 0.02  # after an event, so that a storm of them leaves the processor to the calls
_JOIN_S, _EXIT_S = 5.0, 1.0
_CLOSE = "close"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What `Net.follow` takes.

    Raises:
        UsageError: a number out of range, no function, no sensors, or no field of a context.

    """

    every_s: float = 1.0
    dwell_s: float = 10.0
    sensors: Source | None = None
    on_switch: Callable[[Step], object] | None = None
    on_error: Callable[[BaseException], object] | None = None
    own: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_seconds("every_s", self.every_s, _LEAST_S)
        _check_seconds("dwell_s", self.dwell_s, 0.0)
        for name in ("on_switch", "on_error"):
            callback = getattr(self, name)
            if callback is not None and not callable(callback):
                raise UsageError(f"{name} is {callback!r}; it must be a function of one argument")
        object.__setattr__(self, "sensors", check_source(self.sensors))
        check_names(self.own, (known.name for known in fields(Context)))
        Context(**{name: value for name, value in self.own.items() if not callable(value)})


class Follower:
    """A net that is being adapted; made by `Net.follow`.

    `last` is the last step, `last_error` what went wrong last, or None. `close`, the end of a
    `with` block, `net.close()` and the loss of the net end it.
    """

    def __init__(
        self,
        net: Net,
        manifest: Manifest,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._limits = Limits(manifest)
        self._steps = Steps(self._limits, settings.dwell_s)
        self._notices = Notices()
        self._due_s = clock()
        self._closed = False
        self._raised: set[str] = set()
        self.last_error: BaseException | None = None
        self.last: Step | None = None
        self._wake: SimpleQueue[str] = SimpleQueue()
        wake = self._wake
        self._net = ref(net, lambda _: wake.put(_CLOSE))
        self.look()
        own = ref(self, lambda _: wake.put(_CLOSE))
        wait_s = min(settings.every_s, _POLL_S)
        self._thread = threading.Thread(
            target=_run, args=(own, wake, wait_s), name="adaspring-follow", daemon=True
        )
        _followers.add(self)
        self._thread.start()

    def __enter__(self) -> Follower:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def __repr__(self) -> str:
        last = self.last.reason if self.last is not None else "has not looked yet"
        return f"<Follower, {'running' if self.running else 'ended'}: {last}>"

    @property
    def running(self) -> bool:
        """Whether the net is being adapted; not in a fork's child."""
        return not self._closed and self._net() is not None and self._thread.is_alive()

    def notify(self) -> None:
        """Look now: something has changed that the app knows of."""
        self._raise(NOTIFIED)

    def missed_deadline(self) -> None:
        """Look now, and move if the policy says so: a call took longer than it might."""
        self._raise(MISSED)

    def close(self) -> None:
        """End. A step that is under way is waited for, five seconds at most."""
        self._end()
        if self._thread is not threading.current_thread():
            self._thread.join(_JOIN_S)

    def look(self, events: Collection[str] = ()) -> None:
        """Read the sensors, and take a step where it is time, or one of the events calls for it.

        The thread does so; an error is the caller's.
        """
        net, settings = self._net(), self._settings
        assert settings.sensors is not None
        readings = read_source(settings.sensors)
        events = (*sorted(events), *self._notices.of(readings))
        now_s = self._clock()
        if net is None or self._closed or not (events or now_s >= self._due_s):
            return
        self._due_s = now_s + settings.every_s
        context = self._context(net, readings)
        self.last = step = self._steps.take(net, now_s, context, events or (TIME,))
        if step.moved and settings.on_switch is not None:
            settings.on_switch(step)

    def _context(self, net: Net, readings: Readings) -> Context:
        own = self._settings.own
        values = {name: value() if callable(value) else value for name, value in own.items()}
        sensed = readings.context_fields()
        if sensed["memory_budget_bytes"] is not None:
            # what the variant in place holds is not available now, and would be without it
            sensed["memory_budget_bytes"] += self._limits.held_bytes(net.variant)
        return Context(**{**sensed, **values})

    def _raise(self, event: str) -> None:
        if event not in self._raised:  # else it waits in the queue
            self._raised.add(event)
            self._wake.put(event)

    def _end(self) -> None:
        self._closed = True
        self._wake.put(_CLOSE)

    def _turn(self, events: Collection[str]) -> BaseException | None:
        """Look, and report what goes wrong: it shall not end the thread."""
        try:
            self.look(events)
        except BaseException as error:
            if self._closed or self._net() is None:
                return error
            self.last_error = error
            if self._settings.on_error is not None:
                try:
                    self._settings.on_error(error)
                except BaseException as second:
                    self.last_error = second
            return self.last_error
        return None


def _run(follower: ReferenceType[Follower], wake: SimpleQueue[str], wait_s: float) -> None:
    while True:
        events = _wait(wake, wait_s, follower)
        here = follower()
        if _CLOSE in events or here is None:
            return
        _let_go(here._turn(events))
        del here
        if events:
            time.sleep(_PAUSE_S)


def _wait(wake: SimpleQueue[str], wait_s: float, follower: ReferenceType[Follower]) -> set[str]:
    """Wait for events, at most so long; return all that there are."""
    found: set[str] = set()
    try:
        found.add(wake.get(timeout=wait_s))
        if (here := follower()) is not None:
            here._raised.clear()  # before the rest is taken: what is raised from now on is seen
        while True:
            found.add(wake.get_nowait())
    except Empty:
        return found


def _let_go(error: BaseException | None) -> None:
    """Free what the frames of an error hold, the net above all; its lines stay."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _check_seconds(name: str, value: Any, least: float) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not least <= value <= _MOST_S:
        raise UsageError(f"{name} is {value!r}; it must be in [{least:g}, {_MOST_S:g}] seconds")


_followers: WeakSet[Follower] = WeakSet()


def _end_all() -> None:
    running = list(_followers)
    for follower in running:
        follower._end()
    end = time.monotonic() + _EXIT_S
    for follower in running:
        if follower._thread is not threading.current_thread():
            follower._thread.join(max(0.0, end - time.monotonic()))


atexit.register(_end_all)
