"""What a library says of combinations: how their costs follow from cells, and what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from math import isfinite

import numpy as np

from ...library.evolve.space import BETWEEN, Cells
from ...library.manifest import Figure, MetricFigure
from ...library.pieces.composition import Combination, LatencyPrediction, MetricPrediction
from ...library.records import sign_of
from ..board.site import Site
from ..combinations.chain import ChainSum
from ..combinations.latency import Timing, predict_latency
from ..costs import metric_figure
from ..measure.local import latency_of
from ..plan import Plan
from .compose import Composed
from .forms import crossing_ms
from .measure import Timed


def held_out_of(composed: Composed) -> list[Cells]:
    """Combinations that judge a prediction: held-out ones, or every second one of few."""
    if composed.survey.held_out:
        return list(composed.survey.held_out)
    return list(composed.survey.measured)[1::2]


def metric_prediction(composed: Composed, timed: Timed, plan: Plan) -> MetricPrediction | None:
    """How the metric follows, turned back; None where only what was measured may run."""
    found, metric = composed.survey.prediction, plan.metric
    assert metric is not None, "combinations are judged by a metric"
    if found.only_verified or len(timed.combinations) == composed.choices.combinations_count:
        return None
    sign = sign_of(metric.direction)
    dense = composed.survey.measured[composed.choices.dense]
    allowed = plan.bounds.max_drop
    return MetricPrediction(
        base=sign * found.base,
        cells=tuple(tuple(sign * value for value in row) for row in found.cells),
        pairs=tuple(
            tuple(tuple(sign * value for value in row) for row in table)
            for table in found.crossings
        ),
        bound=found.bound.value,
        fresh_bound=None if found.fresh_bound is None else found.fresh_bound.value,
        coverage=found.bound.coverage_ratio,
        held_out_count=found.bound.held_out_count,
        confidence=found.bound.confidence_ratio,
        least=None if allowed is None else sign * (dense - allowed),
    )


def latency_prediction(composed: Composed, timed: Timed) -> LatencyPrediction:
    """How the 90th percentile of latency follows from those of the cells."""
    p90 = {name: float(np.percentile(times, 90)) for name, times in timed.cells.items()}
    pieces = composed.pieces
    cells_ms = tuple(np.array([p90[cell.name] for cell in cells]) for cells in pieces.cells)
    crossings_ms = crossing_ms(pieces, composed.forms, p90) if composed.forms else ()
    held_out = [cells for cells in held_out_of(composed) if cells in timed.combinations]
    fitted = [cells for cells in timed.combinations if cells not in set(held_out)]
    found = predict_latency(
        ChainSum(base=0.0, cells=cells_ms, crossings=crossings_ms),
        _timings(composed, timed, fitted),
        _timings(composed, timed, held_out or fitted),
    )
    hot = float(np.percentile(timed.combinations[composed.choices.dense], 90))
    return LatencyPrediction(
        scale=found.scale,
        crossings=tuple(tuple(map(tuple, table.tolist())) for table in crossings_ms),
        offset_ms=found.offset_ms,
        cold_offset_ms=max(0.0, float(np.percentile(timed.cold, 90)) - hot),
        bound_ratio=found.bound.value if isfinite(found.bound.value) else None,
        coverage=found.bound.coverage_ratio,
        held_out_count=found.bound.held_out_count,
    )


def _timings(composed: Composed, timed: Timed, wanted: Iterable[Cells]) -> list[Timing]:
    dense = np.percentile(timed.combinations[composed.choices.dense], 90, axis=1)
    return [
        Timing(
            cells=cells,
            total_ms=tuple(np.percentile(timed.combinations[cells], 90, axis=1)),
            dense_ms=tuple(dense),
        )
        for cells in wanted
    ]


def combination_records(composed: Composed, timed: Timed, site: Site) -> tuple[Combination, ...]:
    """What was measured of each combination that was run on the board."""
    return tuple(_record(composed, timed, cells, site) for cells in timed.combinations)


def _record(composed: Composed, timed: Timed, cells: Cells, site: Site) -> Combination:
    when = datetime.now(UTC).isoformat(timespec="seconds")
    times = timed.combinations[cells]
    latency = latency_of(times, 1.0, "app side, combinations in turn")
    names = composed.choices.name(cells).split(BETWEEN)

    def figure(value: float) -> Figure:
        return Figure(value=value, origin="measured", how=latency.how, when=when)

    return Combination(
        cells=tuple(names),
        validation_metric=_metric(composed, timed.outputs[cells], site, when),
        latency_p50_ms=figure(latency.p50_ms),
        latency_p90_ms=figure(latency.p90_ms),
    )


def _metric(
    composed: Composed, outputs: Sequence[np.ndarray], site: Site, when: str
) -> MetricFigure:
    """The metric on the validation samples that were run."""
    count = len(outputs[0])
    probe = composed.probe.first(count)
    assert probe.metric is not None, "combinations are judged by a metric"
    assert probe.targets is not None, "combinations are judged by targets"
    score = probe.metric.score(outputs, probe.targets)
    how = f"validation split, {count} samples, run on {site.describe()}"
    return metric_figure(probe.metric, score, "measured", how, when)
