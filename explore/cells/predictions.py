"""What a library says of combinations: how their costs follow from cells, and what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from math import inf, isfinite

import msgspec
import numpy as np

from ...library.evolve.space import BETWEEN, Cells
from ...library.manifest import Figure, MetricFigure
from ...library.pieces.composition import Combination, LatencyPrediction, MetricPrediction
from ...library.records import sign_of
from ...library.score import Score
from ..board.site import Site
from ..combinations.chain import ChainSum
from ..combinations.latency import Timing, predict_latency
from ..costs import metric_figure
from ..gate import metric_refusal
from ..measure.local import latency_of
from ..plan import Plan
from ..request import Bounds
from .compose import Composed
from .forms import crossing_ms
from .local import Ran, Times


def held_out_of(composed: Composed) -> list[Cells]:
    """Combinations that judge a prediction: held-out ones, or every second one of few."""
    if composed.survey.held_out:
        return list(composed.survey.held_out)
    return list(composed.survey.measured)[1::2]


def metric_prediction(composed: Composed, plan: Plan, known_count: int) -> MetricPrediction | None:
    """How the metric follows, turned back; None where only those may run whose metric is known."""
    found, metric = composed.survey.prediction, plan.metric
    assert metric is not None, "combinations are judged by a metric"
    if found.only_verified or known_count == composed.choices.combinations_count:
        return None
    sign = sign_of(metric.direction)
    least = _least(sign, composed.survey.measured[composed.choices.dense], plan.bounds)
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
        least=sign * least if isfinite(least) else None,
    )


def within_bounds(
    combinations: Sequence[Combination], composed: Composed, plan: Plan
) -> tuple[Combination, ...]:
    """Those that are as good as the bounds ask, on the same samples as the dense one."""
    dense = composed.choices.name(composed.choices.dense)
    values = {
        each.name: figure.value for each in combinations if (figure := each.validation_metric)
    }
    return tuple(
        each
        for each in combinations
        if metric_refusal(plan.metric, values[dense], values.get(each.name), plan.bounds) is None
    )


def _least(sign: float, dense: float, bounds: Bounds) -> float:
    """The least metric, turned so that more is better, with which a combination may run."""
    drop, worst = bounds.max_drop, bounds.min_metric
    return max(
        -inf if drop is None else dense - drop,
        -inf if worst is None else sign * worst,
    )


def latency_prediction(composed: Composed, timed: Times) -> LatencyPrediction:
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


def _timings(composed: Composed, timed: Times, wanted: Iterable[Cells]) -> list[Timing]:
    dense = np.percentile(timed.combinations[composed.choices.dense], 90, axis=1)
    return [
        Timing(
            cells=cells,
            total_ms=tuple(np.percentile(timed.combinations[cells], 90, axis=1)),
            dense_ms=tuple(dense),
        )
        for cells in wanted
    ]


def combination_records(composed: Composed, found: Ran, site: Site) -> tuple[Combination, ...]:
    """What is known of single combinations: of those that were run on the board, what was measured.

    Where the board was not at hand, what the reference says of all that were judged in it.
    """
    when = datetime.now(UTC).isoformat(timespec="seconds")
    if site.at_hand:
        return tuple(_record(composed, found, cells, site, when) for cells in found.outputs)
    return tuple(
        Combination(
            cells=_names(composed, cells), validation_metric=_modelled(composed, value, site, when)
        )
        for cells, value in composed.survey.measured.items()
    )


def _names(composed: Composed, cells: Cells) -> tuple[str, ...]:
    return tuple(composed.choices.name(cells).split(BETWEEN))


def _record(composed: Composed, found: Ran, cells: Cells, site: Site, when: str) -> Combination:
    record = Combination(
        cells=_names(composed, cells),
        validation_metric=_metric(composed, found.outputs[cells], site, when),
    )
    if found.times is None:
        return record
    where = f"{found.times.where}, combinations in turn"
    latency = latency_of(found.times.combinations[cells], 1.0, where)

    def figure(value: float) -> Figure:
        return Figure(value=value, origin="measured", how=latency.how, when=when)

    return msgspec.structs.replace(
        record, latency_p50_ms=figure(latency.p50_ms), latency_p90_ms=figure(latency.p90_ms)
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


def _modelled(composed: Composed, turned: float, site: Site, when: str) -> MetricFigure:
    """The metric in the reference, of which the survey has the value alone."""
    probe = composed.probe
    assert probe.metric is not None, "combinations are judged by a metric"
    value, count = sign_of(probe.metric.direction) * turned, probe.validation_count
    score = Score(value=value, count=count, interval=(value, value))
    how = f"validation split, {count} samples, reference executor; not run on {site.board.name}"
    figure = metric_figure(probe.metric, score, "modelled", how, when)
    return msgspec.structs.replace(figure, interval=None)
