"""Batteries and mains, from /sys/class/power_supply.

Source  Linux, Documentation/ABI/testing/sysfs-class-power: µWh, µAh, µV, percent
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .files import base, names_in, read_text, read_whole

_BATTERIES = ("Battery", "UPS")
_OUTSIDE = ("Mains", "USB", "Wireless", "BrickID")
_FED = ("Full", "Not charging")
_MOST_OVERFULL = 1.1  # a new battery holds more than it was designed for, and says so
_MJ_PER_UWH = 3.6
_MOST_UV, _MOST_UWH = 10**9, 10**12  # a kilovolt, a megawatt hour


@dataclass(frozen=True, kw_only=True)
class BatteryState:
    """All batteries of the machine together; None: not known.

    A machine without a battery has neither a ratio nor an energy.
    """

    battery_ratio: float | None = None
    on_mains: bool | None = None
    battery_energy_mj: float | None = None


@dataclass(frozen=True)
class _Battery:
    status: str
    ratio: float | None
    now_uwh: float | None
    full_uwh: float | None


class Battery:
    """Reads every battery that feeds the machine, and whether something outside does.

    A mouse's battery does not count (`scope` is Device), nor does an empty bay. Several batteries
    weigh as much as they hold; where one does not say what that is, all weigh the same. Where one
    says nonsense, what is left is not known. A battery that is being discharged means that the
    machine is not fed from outside, whatever a plug says.
    """

    def __init__(self, root: str | Path = "/") -> None:
        self._folder = f"{base(root)}/sys/class/power_supply"

    def read(self) -> BatteryState | None:
        """Return what is left; None where there is neither a battery nor a plug."""
        batteries: list[_Battery] = []
        plugs: list[bool] = []
        for name in names_in(self._folder):
            supply = f"{self._folder}/{name}"
            kind = _word(f"{supply}/type")
            if _word(f"{supply}/scope") == "Device":
                continue
            if kind in _BATTERIES and read_whole(f"{supply}/present") != 0:
                batteries.append(_battery(supply))
            elif kind.startswith(_OUTSIDE):
                online = read_whole(f"{supply}/online", 0, 10)
                plugs += [] if online is None else [online > 0]
        if not batteries and not plugs:
            return None
        return BatteryState(
            battery_ratio=_ratio(batteries),
            on_mains=_on_mains([battery.status for battery in batteries], plugs),
            battery_energy_mj=_energy_mj(batteries),
        )


def _battery(folder: str) -> _Battery:
    now, full = _energy_uwh(folder)
    ratio = _level(folder)
    known = ratio is not None
    return _Battery(
        _word(f"{folder}/status"), ratio, now if known else None, full if known else None
    )


def _level(folder: str) -> float | None:
    """What the battery says in percent; where it does not, its energy or charge against its full.

    A percentage that is nonsense is not made good by other figures of the same battery.
    """
    if os.path.lexists(f"{folder}/capacity"):
        percent = read_whole(f"{folder}/capacity", 0, 100)
        return None if percent is None else percent / 100
    for kind in ("energy", "charge"):
        now, full = _pair(folder, kind)
        if full:
            return now / full
    return None


def _pair(folder: str, kind: str) -> tuple[float, float]:
    """What is there and what fits in; (0, 0) where it is not said, or cannot be."""
    now = read_whole(f"{folder}/{kind}_now", 0, _MOST_UWH)
    full = read_whole(f"{folder}/{kind}_full", 1, _MOST_UWH)
    if now is None or full is None or now > _MOST_OVERFULL * full:
        return 0.0, 0.0
    return float(min(now, full)), float(full)


def _energy_uwh(folder: str) -> tuple[float | None, float | None]:
    now, full = _pair(folder, "energy")
    if full:
        return now, full
    now, full = _pair(folder, "charge")
    volts = (read_whole(f"{folder}/voltage_now", 1, _MOST_UV) or 0) / 1e6
    return (now * volts, full * volts) if full and volts else (None, None)


def _ratio(batteries: Sequence[_Battery]) -> float | None:
    ratios = [battery.ratio for battery in batteries if battery.ratio is not None]
    if not batteries or len(ratios) < len(batteries):
        return None
    fulls = [battery.full_uwh for battery in batteries if battery.full_uwh is not None]
    weights = fulls if len(fulls) == len(ratios) else [1.0] * len(ratios)
    total = sum(weight * ratio for weight, ratio in zip(weights, ratios, strict=True))
    return total / sum(weights)


def _energy_mj(batteries: Sequence[_Battery]) -> float | None:
    known = [battery.now_uwh for battery in batteries if battery.now_uwh is not None]
    if not batteries or len(known) < len(batteries):
        return None
    return _MJ_PER_UWH * sum(known)


def _on_mains(statuses: Sequence[str], plugs: Sequence[bool]) -> bool | None:
    if "Discharging" in statuses:
        return False
    if "Charging" in statuses or any(plugs):
        return True
    if plugs and statuses:
        return False
    return True if any(status in _FED for status in statuses) else None


def _word(path: str) -> str:
    return (read_text(path) or "").strip()
