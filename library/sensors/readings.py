"""What all sensors read at one moment, and what a context takes of it."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

Ratio = Annotated[float, Meta(ge=0, le=1)]
Amount = Annotated[float, Meta(ge=0, le=1e18)]

MOST_LOAD_RATIO = 10.0
MOST_SLOWDOWN_RATIO = 100.0


class Readings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One moment. None: the machine does not say, or says nonsense; never a guess.

    battery_ratio            what is left of all batteries together, on mains too
    on_mains                 whether the machine is fed from outside
    battery_energy_mj        what is left in all batteries, of which the calls get a share
    available_memory_bytes   what may still be allocated, besides what is in use
    memory_pressure_ratio    share of the last ten seconds in which something waited for memory
    load_ratio               what other work adds to a call's time; 1 makes it twice as long
    slowdown_ratio           how much slower the processors are than they can be; 1 is full speed
    temperature_c            of the hottest sensor in a processor
    """

    battery_ratio: Ratio | None = None
    on_mains: bool | None = None
    battery_energy_mj: Amount | None = None
    available_memory_bytes: Amount | None = None
    memory_pressure_ratio: Ratio | None = None
    load_ratio: Annotated[float, Meta(ge=0, le=MOST_LOAD_RATIO)] | None = None
    slowdown_ratio: Annotated[float, Meta(ge=1, le=MOST_SLOWDOWN_RATIO)] | None = None
    temperature_c: Annotated[float, Meta(ge=-273.15, le=1000)] | None = None

    def context_fields(self) -> dict[str, Any]:
        """Return the fields of a Context that this says something of.

        On mains the battery is no concern. Heat adds to a call's time as other work does, so the
        load is that of both: (1 + load) · slowdown - 1.
        """
        return {
            "battery_ratio": None if self.on_mains else self.battery_ratio,
            "memory_budget_bytes": self.available_memory_bytes,
            "load_ratio": self._added_ratio(),
        }

    def _added_ratio(self) -> float | None:
        if self.load_ratio is None and self.slowdown_ratio is None:
            return None
        longer = (1 + (self.load_ratio or 0.0)) * (self.slowdown_ratio or 1.0)
        return min(longer - 1, MOST_LOAD_RATIO)
