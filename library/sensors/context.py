"""What a context takes of sensors, and of what the app says itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...errors import UsageError
from .readings import Readings
from .sensors import Source


def check_source(source: Any) -> None:
    """Refuse what cannot be read."""
    if isinstance(source, type) or not callable(getattr(source, "read", None)):
        raise UsageError(
            f"sensors is {source!r}; give what has read(), for example "
            'adaspring.Replay("day.jsonl"), or leave it out'
        )


def check_names(given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse names that are no fields of a context."""
    fields = tuple(known)
    for name in given:
        if name not in fields:
            raise UsageError(f"a context has no {name!r}; it has {', '.join(fields)}")


def read_source(source: Source) -> Readings:
    """Read a source; UsageError where it cannot be read, or gives something else than Readings."""
    check_source(source)
    readings = source.read()
    if not isinstance(readings, Readings):
        raise UsageError(f"{type(source).__name__}.read() gave {readings!r}; it must be Readings")
    return readings
