"""What a manifest of schema 2 or 3 holds, as later schemas have it.

Until then a cost held an accuracy where it holds a metric now, and a library had one shape.
"""

from __future__ import annotations

from typing import Any

from msgspec import convert, to_builtins

from ..manifest import Figure

WITH_ACCURACY = (2, 3)


class _Accuracy(Figure, frozen=True, kw_only=True):
    """The share of right answers that a cost held until schema 3."""

    interval: tuple[float, float] | None = None


_METRIC_OF = {"accuracy": "metric", "validation_accuracy": "validation_metric"}


def upgraded(raw: dict[str, Any]) -> dict[str, Any]:
    """A decoded manifest with accuracies as the metric top1.

    Raises:
        msgspec.ValidationError: what stands where they are is none.

    """
    made = dict(raw)
    for key in ("variants", "dropped"):
        entries = convert(raw.get(key), list[dict[str, Any]])
        made[key] = [
            {**entry, "cost": _upgraded_cost(entry["cost"])} if entry.get("cost") else entry
            for entry in entries
        ]
    return made


def _upgraded_cost(cost: Any) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, figure in convert(cost, dict[str, _Accuracy | None]).items():
        found = None if figure is None else to_builtins(figure)
        if found is not None and name in _METRIC_OF:
            found |= {"name": "top1", "direction": "higher", "unit": "ratio"}
        elif found is not None and found["interval"] is None:
            del found["interval"]
        made[_METRIC_OF.get(name, name)] = found
    return made
