"""How a net is followed, as given and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ...errors import UsageError
from ..context import Context, check_number
from ..sensors.context import check_names, check_source
from ..sensors.sensors import Source, of_this_machine
from .steps import Step

_LEAST_S, _MOST_S = 0.05, 86_400.0


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What `Net.follow` takes.

    Raises:
        UsageError: a number out of range, no function, no sensors, or no field of a context.

    """

    every_s: float = 1.0
    dwell_s: float = 10.0
    low_memory_bytes: float = 64e6
    sensors: Source = field(default_factory=of_this_machine)
    on_switch: Callable[[Step], object] | None = None
    on_error: Callable[[BaseException], object] | None = None
    own: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_seconds("every_s", self.every_s, _LEAST_S)
        _check_seconds("dwell_s", self.dwell_s, 0.0)
        low_bytes = check_number("low_memory_bytes", self.low_memory_bytes, 1e18, "64e6")
        object.__setattr__(self, "low_memory_bytes", low_bytes)
        for name in ("on_switch", "on_error"):
            callback = getattr(self, name)
            if callback is not None and not callable(callback):
                raise UsageError(f"{name} is {callback!r}; it must be a function of one argument")
        check_source(self.sensors)
        check_names(self.own, (known.name for known in fields(Context)))
        Context(**{name: value for name, value in self.own.items() if not callable(value)})

    def own_values(self) -> dict[str, Any]:
        """Return the fields that the app says itself, its functions asked."""
        return {name: value() if callable(value) else value for name, value in self.own.items()}


def _check_seconds(name: str, value: Any, least: float) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not least <= value <= _MOST_S:
        raise UsageError(f"{name} is {value!r}; it must be in [{least:g}, {_MOST_S:g}] seconds")
