"""What an app sees now, in units; each field may be left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import isfinite
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from ..errors import UsageError

if TYPE_CHECKING:
    from .sensors.sensors import Source

# The most that makes sense of each; above, the caller has mistaken the unit.
_UPPER = {
    "battery_ratio": 1.0,
    "latency_budget_ms": 1e9,
    "memory_budget_bytes": 1e18,
    "load_ratio": 10.0,
    "calls_per_s": 1e9,
    "energy_left_mj": 1e12,
    "time_left_s": 1e9,
}
_MEANT = {
    "battery_ratio": "0.2 for a battery at 20 %",
    "load_ratio": "0.37 for calls that take 37 % longer",
    "energy_left_mj": "3.6e6 for a watt-hour",
    "time_left_s": "3600 for an hour",
}


@dataclass(frozen=True, kw_only=True)
class Context:
    """The situation that a variant is chosen for. None: no constraint, or not known.

    battery_ratio         what is left of the battery, in [0, 1]; None: mains
    latency_budget_ms     what one call may take
    memory_budget_bytes   what the network may use at its peak, weights included
    metric_floor          the worst value of the library's metric that will do, in its unit: 0.95
                          for 95 % right, 30 for 30 dB; of an error, the largest
    load_ratio            what other work adds to a call's time, in [0, 10]: 0.5 makes it half as
                          long again
    calls_per_s           how often the network is called; None: as fast as it can be
    energy_left_mj        what all calls from now on may take together (`Budget`)
    time_left_s           for how long that must last
    shapes                of inputs, by name: decide by what the variants cost at that shape of the
                          library; None: at its first

    Any real number will do, NumPy's scalars too; it is kept as a float.

    Raises:
        UsageError: a field is no number, or out of its range.

    """

    battery_ratio: float | None = None
    latency_budget_ms: float | None = None
    memory_budget_bytes: float | None = None
    metric_floor: float | None = None
    load_ratio: float | None = None
    calls_per_s: float | None = None
    energy_left_mj: float | None = None
    time_left_s: float | None = None
    shapes: Mapping[str, tuple[int, ...]] | None = None

    @classmethod
    def now(cls, *, sensors: Source | None = None, **own: Any) -> Context:
        """Read what this machine's sensors say: battery, memory, load and heat.

        Args:
            sensors: what is read in place of the machine's; a `Replay` plays a trace.
            own: fields that the app knows itself; they count, also where one is None.

        What the machine does not say is None. The load is that since the reading before, so a
        process's first context has none.

        Raises:
            UsageError: there is no such field, or its value is out of range.

        """
        from .sensors.context import check_names, read_source
        from .sensors.sensors import of_this_machine

        check_names(own, (field.name for field in fields(cls)))
        source = of_this_machine() if sensors is None else sensors
        return cls(**{**read_source(source).context_fields(), **own})

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "shapes":
                _check_shapes(value)
            elif value is not None:
                object.__setattr__(self, field.name, _checked(field.name, value))


def _checked(name: str, value: Any) -> float:
    """Return a number within the field's range, which NaN is in none of."""
    if name == "metric_floor":
        number = _number(value)
        if number is None or not isfinite(number):
            raise UsageError(f"{name} is {value!r}; it must be a number, in the metric's unit")
        return number
    return check_number(name, value, _UPPER[name], _MEANT.get(name))


def check_number(name: str, value: Any, upper: float, meant: str | None = None) -> float:
    """Return a number in [0, upper] as a float; UsageError names what is none."""
    number = _number(value)
    if number is None or not 0 <= number <= upper:
        example = f", for example {meant}" if meant else ""
        raise UsageError(f"{name} is {value!r}; it must be in [0, {upper:g}]{example}")
    return number


def _check_shapes(value: Any) -> None:
    """Refuse what is neither None nor shapes by the names of inputs; {} names none."""
    named = isinstance(value, Mapping) and value and all(isinstance(name, str) for name in value)
    whole = named and all(
        isinstance(shape, tuple | list) and all(isinstance(extent, Integral) for extent in shape)
        for shape in value.values()
    )
    if value is not None and not whole:
        raise UsageError(
            f"shapes is {value!r}; give the shape of each input by its name, for example "
            '{"ids": (1, 64)}'
        )


def _number(value: Any) -> float | None:
    """A real number of Python or NumPy as a float; None for anything else, truth values too."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None
