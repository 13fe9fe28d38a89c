"""What the sensors say that must not wait for the next step."""

from __future__ import annotations

from ..sensors.readings import Readings
from .steps import PLUGGED, PRESSURE, UNPLUGGED

_PRESSED_RATIO, _RELIEVED_RATIO = 0.10, 0.05


class Notices:
    """Compares each reading with those before: plugged in or unplugged, memory that runs short.

    Memory is short from 10 % of the time on, and no more below 5 %: what swings between is one
    event.
    """

    def __init__(self) -> None:
        self._on_mains: bool | None = None
        self._pressed = False

    def of(self, readings: Readings) -> tuple[str, ...]:
        """Return the events that a reading brings."""
        return (*self._power(readings.on_mains), *self._memory(readings.memory_pressure_ratio))

    def _power(self, on_mains: bool | None) -> tuple[str, ...]:
        if on_mains is None:
            return ()
        before, self._on_mains = self._on_mains, on_mains
        if before is None or before == on_mains:
            return ()
        return (PLUGGED if on_mains else UNPLUGGED,)

    def _memory(self, ratio: float | None) -> tuple[str, ...]:
        before = self._pressed
        if ratio is not None:
            self._pressed = ratio >= (_RELIEVED_RATIO if before else _PRESSED_RATIO)
        return (PRESSURE,) if self._pressed and not before else ()
