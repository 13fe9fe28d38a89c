"""How much slower the processors are than they can be, and how hot.

Source  Linux, Documentation/admin-guide/pm/cpufreq.rst, .../ABI/testing/sysfs-class-thermal
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from pathlib import Path

from .cached import Cached
from .files import base, names_in, read_text, read_whole
from .readings import MOST_SLOWDOWN_RATIO

_MOST_CPUS, _MOST_ZONES = 32, 8
_SLOW_S = 60.0  # what a machine has does not change, but by unplugging a processor
_ZONES = ("cpu", "pkg", "core", "soc")
_LEAST_MC, _MOST_MC = -60_000, 200_000
_MOST_KHZ = 10**8


class Slowdown:
    """Reads the frequency that the processors may have now against the one that they can have.

    What throttles lowers the limit (`scaling_max_freq`, `bios_limit`), and so does who saves
    energy. The present frequency says nothing: an idle processor's is low, and rises when it is
    called. Of cores of several sizes the fastest count, on which calls run. Where the firmware
    lowers the clock and does not tell, nobody sees it here.
    """

    def __init__(
        self,
        root: str | Path = "/",
        *,
        clock: Callable[[], float] = time.monotonic,
        cpus: Callable[[], Collection[int]] = lambda: os.sched_getaffinity(0),
    ) -> None:
        folder = f"{base(root)}/sys/devices/system/cpu"
        self._fastest = Cached(lambda: _fastest(folder, cpus()), _SLOW_S, clock)

    def read(self) -> float | None:
        """Return a ratio, 1 at full speed; None where the frequencies are not told."""
        full, allowed = 0, 0
        for folder, khz in self._fastest.read():
            limit = _limit_khz(folder)
            if limit is None:
                return None
            full += khz
            allowed += min(khz, limit)
        ratio = full / allowed if allowed else None
        return ratio if ratio is not None and ratio <= MOST_SLOWDOWN_RATIO else None


class Temperature:
    """Reads the hottest of the sensors that are in a processor."""

    def __init__(
        self, root: str | Path = "/", *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        folder = f"{base(root)}/sys/class/thermal"
        self._zones = Cached(lambda: _zones(folder), _SLOW_S, clock)

    def read(self) -> float | None:
        """Return degrees Celsius; None where no processor's sensor tells."""
        found = [read_whole(f"{zone}/temp", _LEAST_MC, _MOST_MC) for zone in self._zones.read()]
        hottest = max((value for value in found if value is not None), default=None)
        return None if hottest is None else hottest / 1000


def _fastest(folder: str, cpus: Collection[int]) -> tuple[tuple[str, int], ...]:
    """Of each group of processors that share a clock one's folder and its highest frequency."""
    found: dict[str, tuple[str, int]] = {}
    for cpu in sorted(cpus)[:_MOST_CPUS]:
        own = f"{folder}/cpu{cpu}/cpufreq"
        group = (read_text(f"{own}/related_cpus") or "").strip() or str(cpu)
        khz = None if group in found else read_whole(f"{own}/cpuinfo_max_freq", 1, _MOST_KHZ)
        if khz is not None:
            found[group] = (own, khz)
    highest = max((khz for _, khz in found.values()), default=0)
    return tuple((own, khz) for own, khz in found.values() if khz == highest)


def _limit_khz(folder: str) -> int | None:
    limit = read_whole(f"{folder}/scaling_max_freq", 1, _MOST_KHZ)
    bios = read_whole(f"{folder}/bios_limit", 1, _MOST_KHZ)
    return limit if limit is None or bios is None else min(limit, bios)


def _zones(folder: str) -> tuple[str, ...]:
    zones = [f"{folder}/{name}" for name in names_in(folder) if name.startswith("thermal_zone")]
    kinds = {zone: (read_text(f"{zone}/type") or "").lower() for zone in zones}
    return tuple(zone for zone in zones if any(name in kinds[zone] for name in _ZONES))[
        :_MOST_ZONES
    ]
