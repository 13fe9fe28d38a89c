"""Locks that a fork and the interpreter's exit wait for.

A fork copies a process's memory and one thread: what another thread was in the middle of is never
finished in the child, and its locks stay locked there (TVM's own too). So a fork takes every turn
first, and gives it back on both sides. At exit, the interpreter ends every thread that comes back
from native code by an unwinding that C++ aborts at; so at exit every turn is taken and kept: the
calls that run end, and none begins.
"""

from __future__ import annotations

import atexit
import os
import threading
from weakref import WeakSet

# In the order in which one thread takes them; it takes no two of one kind.
KINDS = SWITCH_VARIANT, LOAD_VARIANT, LOAD_CODE, RUN, LOAD_POOL, LOAD_OPENCL = range(6)


class Turn:
    """A lock; one thread takes several in the order of the constants alone."""

    def __init__(self, order: int) -> None:
        self._lock = threading.RLock()
        with _making:
            _turns[order].add(self)

    def __enter__(self) -> None:
        held = _held.__dict__
        # else a thread that calls without a pause would keep a fork waiting for ever, and one that
        # takes a turn that was made since all were taken would not be waited for
        if _stopping and not held.get("count"):
            with _gate:
                pass
        self._lock.acquire()
        held["count"] = held.get("count", 0) + 1

    def __exit__(self, *error: object) -> None:
        _held.__dict__["count"] -= 1
        self._lock.release()


_held = threading.local()  # how many turns this thread has
_turns: tuple[WeakSet[Turn], ...] = tuple(WeakSet() for _ in KINDS)
_making = threading.RLock()
_gate = threading.RLock()
_stopping: list[list[threading.RLock]] = []  # what each stop has taken


def _take_all() -> None:
    taken: list[threading.RLock] = []

    def take(lock: threading.RLock) -> None:
        lock.acquire()
        taken.append(lock)

    take(_gate)
    _stopping.append(taken)
    for turns in _turns:
        with _making:
            wanted = [turn._lock for turn in turns]
        for lock in wanted:
            take(lock)
    take(_making)


def _give_all_back() -> None:
    for lock in reversed(_stopping.pop()):
        lock.release()


os.register_at_fork(before=_take_all, after_in_parent=_give_all_back, after_in_child=_give_all_back)
atexit.register(_take_all)
