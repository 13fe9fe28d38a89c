"""Figures of a manifest that are none: without a time, out of range, of several metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from ..pieces.composition import Combination
from ..records import Cost, Figure, MetricFigure

if TYPE_CHECKING:
    from ..manifest import Manifest


def figure_faults(manifest: Manifest) -> Iterator[str]:
    """Every fault in a figure of a variant, a cell, a combination, or of what was dropped."""
    records = _records(manifest)
    for where, record in records:
        yield from _cost_faults(where, record)
    yield from _metric_faults(record for _, record in records)


def _records(manifest: Manifest) -> list[tuple[str, Cost | Combination]]:
    """All that holds figures, by whose they are."""
    dropped = [(f"dropped {each.name!r}", each.cost) for each in manifest.dropped if each.cost]
    made = manifest.composition.combinations if manifest.composition is not None else ()
    return [
        *((f"variant {name!r}", each.cost) for name, each in manifest.executables),
        *dropped,
        *((f"combination {each.name!r}", each) for each in made),
    ]


def _figures(record: Cost | Combination) -> dict[str, Figure | MetricFigure]:
    values = {name: getattr(record, name) for name in record.__struct_fields__}
    return {name: v for name, v in values.items() if isinstance(v, Figure | MetricFigure)}


def _cost_faults(where: str, record: Cost | Combination) -> Iterable[str]:
    for field, figure in _figures(record).items():
        if not is_time(figure.when):
            yield f"{where}: {field} has no ISO 8601 time with a zone, but {figure.when!r}"
        if not isinstance(figure, MetricFigure) or figure.unit != "ratio":
            continue
        if not 0 <= figure.value <= 1:
            yield f"{where}: {figure.name} {figure.value} is no share in [0, 1]"


def _metric_faults(records: Iterable[Cost | Combination]) -> Iterable[str]:
    """A library has one metric; values of two could not be compared."""
    figures = [figure for record in records for figure in _figures(record).values()]
    metrics = [figure for figure in figures if isinstance(figure, MetricFigure)]
    kinds = {(f.name, f.direction, f.unit, f.against) for f in metrics}
    if len(kinds) > 1:
        yield f"it has {len(kinds)} metrics: {' and '.join(map(str, sorted(kinds)))}"


def is_time(text: str) -> bool:
    """Whether a text is an ISO 8601 time with a zone."""
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
