"""All sensors of the machine together."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from functools import cache
from pathlib import Path
from typing import Protocol

from .battery import Battery, BatteryState
from .cached import Cached
from .heat import Slowdown, Temperature
from .load import Load
from .memory import Memory, MemoryPressure
from .readings import Readings

# Drivers of batteries and thermal sensors may take milliseconds: they ask a chip on a slow bus.
_BATTERY_S, _SLOWDOWN_S, _TEMPERATURE_S = 0.5, 0.5, 5.0


class Source(Protocol):
    """Anything that reads a moment: the machine's sensors, or a trace that is played."""

    def read(self) -> Readings:
        """Return what is seen now."""
        ...


class Sensors:
    """Reads battery, memory, load and heat of the machine whose /proc and /sys lie below `root`.

    A reading takes a fraction of a millisecond: the battery and the clock's limits are read twice
    a second at most, the temperature every five seconds. Any thread may read.

    Args:
        root: where proc and sys are.
        clock: seconds that pass.
        cpus: the processors that this process may use.
        own_cpu_s: the processor time that this process has used.

    """

    def __init__(
        self,
        root: str | Path = "/",
        *,
        clock: Callable[[], float] = time.monotonic,
        cpus: Callable[[], Collection[int]] = lambda: os.sched_getaffinity(0),
        own_cpu_s: Callable[[], float] = time.process_time,
    ) -> None:
        self._battery = Cached(Battery(root).read, _BATTERY_S, clock)
        self._memory = Memory(root, clock=clock)
        self._pressure = MemoryPressure(root, clock=clock)
        self._load = Load(root, clock=clock, cpus=cpus, own_cpu_s=own_cpu_s)
        slowdown = Slowdown(root, clock=clock, cpus=cpus)
        self._slowdown = Cached(slowdown.read, _SLOWDOWN_S, clock)
        self._temperature = Cached(Temperature(root, clock=clock).read, _TEMPERATURE_S, clock)

    def read(self) -> Readings:
        """Return what is seen now; a field is None where the machine does not say."""
        battery = self._battery.read() or BatteryState()
        return Readings(
            battery_ratio=battery.battery_ratio,
            on_mains=battery.on_mains,
            battery_energy_mj=battery.battery_energy_mj,
            available_memory_bytes=self._memory.read(),
            memory_pressure_ratio=self._pressure.read(),
            load_ratio=self._load.read(),
            slowdown_ratio=self._slowdown.read(),
            temperature_c=self._temperature.read(),
        )


@cache
def of_this_machine() -> Sensors:
    """Return the sensors that the process shares: load is known from reading to reading."""
    return Sensors()
