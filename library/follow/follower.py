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
from collections.abc import Collection, Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING
from weakref import ReferenceType, WeakSet, ref

from ..manifest import Manifest
from .looker import Looker
from .settings import Settings
from .steps import MISSED, NOTIFIED, Step

if TYPE_CHECKING:
    from ..net import Net

_POLL_S = 1.0  # how often the sensors are asked for events, where the app looks more seldom
_PAUSE_S = 0.02  # after an event, so that a storm of them leaves the processor to the calls
_JOIN_S, _EXIT_S = 5.0, 1.0
_CLOSE = "close"


class Follower:
    """A net that is being adapted; made by `Net.follow`.

    `last_error` is what went wrong last, or None. `close`, the end of a `with` block,
    `net.close()` and the loss of the net end it.
    """

    def __init__(self, net: Net, manifests: Sequence[Manifest], settings: Settings) -> None:
        self.last_error: BaseException | None = None
        self._on_error = settings.on_error
        self._waiting: set[str] = set()  # events that are in the queue
        self._wake = wake = SimpleQueue[str]()
        self._net = ref(net, lambda _: wake.put(_CLOSE))
        self._looker = Looker(self._net, manifests, settings)
        self._looker.look()
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
        last = self.last.reason if self.last is not None else "no step yet"
        return f"<Follower, {'running' if self.running else 'ended'}: {last}>"

    @property
    def last(self) -> Step | None:
        """The last step."""
        return self._looker.last

    @property
    def running(self) -> bool:
        """Whether the net is being adapted; not in a fork's child."""
        return not self._looker.closed and self._net() is not None and self._thread.is_alive()

    def notify(self) -> None:
        """Look now: something has changed that the app knows of."""
        self._put(NOTIFIED)

    def missed_deadline(self) -> None:
        """Look now, and move if the policy says so: a call took longer than it might."""
        self._put(MISSED)

    def close(self) -> None:
        """End. A step that is under way is waited for, five seconds at most."""
        self._end()
        if self._thread is not threading.current_thread():
            self._thread.join(_JOIN_S)

    def _put(self, event: str) -> None:
        if event not in self._waiting:
            self._waiting.add(event)
            self._wake.put(event)

    def _end(self) -> None:
        self._looker.closed = True
        self._wake.put(_CLOSE)

    def _take_turn(self, events: Collection[str]) -> bool:
        """Look, and report what goes wrong, so that it does not end the thread."""
        try:
            self._looker.look(events)
        except BaseException as error:
            if not self._looker.closed:  # else the net is, too
                self._report(error)
            return False
        return True

    def _report(self, error: BaseException) -> None:
        self.last_error = error
        if self._on_error is None:
            return
        try:
            self._on_error(error)
        except BaseException as another:
            another.__context__ = error
            self.last_error = another


def _run(follower: ReferenceType[Follower], wake: SimpleQueue[str], wait_s: float) -> None:
    while True:
        events = _wait(wake, wait_s, follower)
        here = follower()
        if _CLOSE in events or here is None:
            return
        if not here._take_turn(events):
            _let_go(here.last_error)
        del here
        if events:
            time.sleep(_PAUSE_S)


def _wait(wake: SimpleQueue[str], wait_s: float, follower: ReferenceType[Follower]) -> set[str]:
    """Wait for an event, at most so long; return all that there are."""
    found: set[str] = set()
    try:
        found.add(wake.get(timeout=wait_s))
        if (here := follower()) is not None:
            here._waiting.clear()  # first, so that an event that comes now is put again
        while True:
            found.add(wake.get_nowait())
    except Empty:
        return found


def _let_go(error: BaseException | None) -> None:
    """Free what the frames of an error hold, the net above all; its lines stay."""
    found = {None, error}
    new = [error]
    while new:
        if (one := new.pop()) is not None:
            traceback.clear_frames(one.__traceback__)
            causes = {one.__cause__, one.__context__} - found
            found |= causes
            new += causes


_followers: WeakSet[Follower] = WeakSet()


def _end_all() -> None:
    running = list(_followers)
    for follower in running:
        follower._end()
    end_s = time.monotonic() + _EXIT_S
    for follower in running:
        if follower._thread is not threading.current_thread():
            follower._thread.join(max(0.0, end_s - time.monotonic()))


atexit.register(_end_all)
