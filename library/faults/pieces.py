"""What contradicts itself in a manifest's pieces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from math import isfinite
from typing import TYPE_CHECKING

import msgspec

from ..evolve.space import BETWEEN
from ..pieces.composition import Cell, Composition, LatencyPrediction, MetricPrediction

if TYPE_CHECKING:
    from ..manifest import Manifest

MOST_SEGMENTS, MOST_CELLS = 1000, 1000


def composition_faults(manifest: Manifest) -> Iterable[str]:
    """Every contradiction in the composition, none where there is no composition."""
    made = manifest.composition
    if made is None:
        return
    counts = [len(segment.cells) for segment in made.segments]
    if len(counts) > MOST_SEGMENTS or max(counts) > MOST_CELLS:
        yield f"its composition has {len(counts)} segments of up to {max(counts)} cells"
    yield from _cell_faults(made)
    yield from _combination_faults(made)
    if made.metric is not None:
        yield from _prediction_faults(made.metric, counts)
    if made.latency is not None:
        yield from _latency_faults(made.latency, counts)


def _cell_faults(made: Composition) -> Iterator[str]:
    for index, segment in enumerate(made.segments):
        names = [cell.name for cell in segment.cells]
        for name, count in Counter(names).items():
            if count > 1:
                yield f"{count} cells of segment {index} are named {name!r}"
            if BETWEEN in name:
                yield f"cell name {name!r} holds a slash, which stands between cells"
        for cell in segment.cells:
            ends = (index > 0, index + 1 < len(made.segments))
            for fault in _form_faults(cell, *ends):
                yield f"cell {cell.name!r} of segment {index} {fault}"


def _form_faults(cell: Cell, follows: bool, is_followed: bool) -> Iterator[str]:
    kinds = Counter((form.takes, form.gives) for form in cell.forms)
    if len(kinds) < len(cell.forms):
        yield "has a form twice"
    if (None, None) in kinds:
        yield "has a form that takes and gives floats, as it does itself"
    for takes, gives in kinds:
        if (takes is not None and not follows) or (gives is not None and not is_followed):
            yield "has a form for levels, where none cross"
        for levels in filter(None, (takes, gives)):
            lowest = 0 if levels.dtype == "uint8" else -128
            if not (lowest <= levels.zero_point <= lowest + 255 and isfinite(levels.scale)):
                yield f"has a form for levels that there are not: {levels}"


def _combination_faults(made: Composition) -> Iterator[str]:
    known = [{cell.name for cell in segment.cells} for segment in made.segments]
    for combination in made.combinations:
        cells = combination.cells
        if len(cells) != len(known) or not all(map(set.__contains__, known, cells)):
            yield f"combination {combination.name!r} is none of the segments' cells"


def _prediction_faults(metric: MetricPrediction, counts: Sequence[int]) -> Iterator[str]:
    rows = [len(row) for row in metric.cells]
    if rows != list(counts):
        yield f"its prediction of the metric is for {rows} cells, the segments have {list(counts)}"
    pairs = [[len(row) for row in table] for table in metric.pairs]
    wanted = [[b] * a for a, b in pairwise(counts)]
    if pairs and pairs != wanted:
        yield "its prediction of the metric is for pairs of other cells than the segments have"
    numbers = [
        metric.base,
        metric.bound,
        metric.fresh_bound or 0.0,
        *(x for row in metric.cells for x in row),
    ]
    numbers += [x for table in metric.pairs for row in table for x in row]
    if not _finite([*numbers, 0.0 if metric.least is None else metric.least]):
        yield "its prediction of the metric is not finite"


def _latency_faults(latency: LatencyPrediction, counts: Sequence[int]) -> Iterator[str]:
    pairs = [[len(row) for row in table] for table in latency.crossings]
    if pairs and pairs != [[b] * a for a, b in pairwise(counts)]:
        yield "its prediction of latencies is for pairs of other cells than the segments have"
    figures = msgspec.structs.asdict(latency)
    numbers = [x for table in figures.pop("crossings") for row in table for x in row]
    if not _finite([*numbers, *filter(None, figures.values())]):
        yield "its prediction of latencies is not finite"


def _finite(numbers: Iterable[float]) -> bool:
    return all(map(isfinite, numbers))
