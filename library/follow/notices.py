"""What the sensors say that must not wait for the next step."""

from __future__ import annotations

from ..sensors.readings import Readings
from .steps import PLUGGED, PRESSURE, UNPLUGGED

_PRESSED_RATIO, _RELIEVED_RATIO = 0.10, 0.05
_ROOM_RATIO = 1.25


class Notices:
    """Compares each reading with those before: plugged in or unplugged, memory that runs short.

    Memory is short where something waits for it 10 % of the time, or less than `low_memory_bytes`
    are available, and no more where it is below 5 % and a quarter more: what swings between is one
    event. `is_memory_short` is as of the last reading that says something of either.
    """

    def __init__(self, low_memory_bytes: float = 0.0) -> None:
        self._on_mains: bool | None = None
        self._low_bytes = low_memory_bytes
        self.is_memory_short = False

    def of(self, readings: Readings) -> tuple[str, ...]:
        """Return the events that a reading brings."""
        return (*self._power(readings.on_mains), *self._memory(readings))

    def _power(self, on_mains: bool | None) -> tuple[str, ...]:
        if on_mains is None:
            return ()
        before, self._on_mains = self._on_mains, on_mains
        if before is None or before == on_mains:
            return ()
        return (PLUGGED if on_mains else UNPLUGGED,)

    def _memory(self, readings: Readings) -> tuple[str, ...]:
        before, ratio = self.is_memory_short, readings.memory_pressure_ratio
        left_bytes = readings.available_memory_bytes
        if ratio is None and left_bytes is None:
            return ()
        pressed = ratio is not None and ratio >= (_RELIEVED_RATIO if before else _PRESSED_RATIO)
        least_bytes = self._low_bytes * (_ROOM_RATIO if before else 1.0)
        self.is_memory_short = pressed or (left_bytes is not None and left_bytes < least_bytes)
        return (PRESSURE,) if self.is_memory_short and not before else ()
