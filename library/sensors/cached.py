"""A value that is read anew only after a while: what changes slowly, or is slow to read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Cached(Generic[Value]):
    """Keeps what `read` gave for `for_s` seconds.

    No lock: two threads at once may both read, and a fork finds nothing locked.
    """

    def __init__(self, read: Callable[[], Value], for_s: float, clock: Callable[[], float]) -> None:
        self._read = read
        self._for_s = for_s
        self._clock = clock
        self._kept: tuple[float, Value] | None = None

    def read(self) -> Value:
        """Return the value, read anew where it is too old."""
        now, kept = self._clock(), self._kept
        if kept is None or not 0 <= now - kept[0] < self._for_s:
            self._kept = kept = (now, self._read())
        return kept[1]
