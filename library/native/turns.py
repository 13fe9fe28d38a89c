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

# In the order in which one thread takes them. A run takes no other within it.
SWITCH_VARIANT, LOAD_VARIANT, LOAD_CODE, RUN = range(4)


class Turn:
    """A lock; one thread takes several in the order of the constants alone."""

    def __init__(self, order: int) -> None:
        self._waits_at_gate = order == RUN
        self._lock = threading.RLock()
        with _making:
            _turns[order].add(self)

    def __enter__(self) -> None:
        # else a thread that calls without a pause would keep a fork waiting for ever
        if self._waits_at_gate and _stopping:
            with _gate:
                pass
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()


_turns: tuple[WeakSet[Turn], ...] = tuple(WeakSet() for _ in range(RUN + 1))
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
