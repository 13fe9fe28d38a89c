"""Built variants with what was found of them, and who of them enters the library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from ..backends.build import Built
from ..errors import DataError, GateError
from ..ir.model import Model
from ..library import manifest as record
from ..metrics import Metric, worse_by
from .accuracy.rounding import Apart, apart
from .board.site import Site
from .costs import make_cost
from .gate import Contender, dominated_by, refusal
from .measure.local import Measured
from .request import Bounds
from .shortlist import dropped_record
from .variants import Probe, Variant


def make_contender(
    model: Model,
    variant: Variant,
    built: Built,
    site: Site,
    run: Measured | None,
    probe: Probe,
    elsewhere: Apart | None = None,
) -> Contender:
    """Compare what a variant answered with its reference.

    `model` is the network with nothing compressed. `run` is None where the variant was not run; how
    near its lowering comes `elsewhere` stands in for its own.
    """
    latency = None if run is None else run.latency
    outputs, where = (variant.outputs, None) if run is None else (run.outputs, site.describe())
    scores, fault = None, None
    try:
        scores = probe.scores(outputs, where)
    except DataError as error:
        fault = str(error)
    found = elsewhere if run is None else apart(model, variant, probe, outputs)
    memory_bytes = None if run is None else run.peak_memory_bytes
    return Contender(
        variant=variant,
        cost=make_cost(variant.model, built, site.board, latency, scores, memory_bytes),
        agreement_ratio=None if found is None else found.ratio,
        rounding_ratio=0.0 if found is None else found.rounding_ratio,
        latency_ratio=None if latency is None else latency.ratio_to_plainest,
        ran=run is not None,
        fault=fault,
    )


def join_shapes(found: Sequence[Sequence[Contender]]) -> list[Contender]:
    """Join what was found of variants at each shape; their metric is that of the first."""
    return [
        replace(first, further_shapes=tuple(_with_metric(each, first) for each in further))
        for first, *further in zip(*found, strict=True)
    ]


def _with_metric(contender: Contender, first: Contender) -> Contender:
    """The contender at a shape that no held-out samples have, its metric that at the first."""
    metric, validation = first.cost.metric, first.cost.validation_metric
    cost = msgspec.structs.replace(contender.cost, metric=metric, validation_metric=validation)
    return replace(contender, cost=cost)


def lost_on_test(dense: Contender, kept: Sequence[Contender], bounds: Bounds) -> tuple[str, ...]:
    """Name those that are worse by more than allowed on the split that decided nothing."""
    best, allowed = dense.cost.metric, bounds.max_drop
    if best is None or allowed is None:
        return ()
    figures = [(each.name, each.cost.metric) for each in kept]
    return tuple(
        name
        for name, figure in figures
        if figure is not None and worse_by(best.direction, best.value, figure.value) > allowed
    )


def pass_gate(
    contenders: Sequence[Contender], bounds: Bounds, metric: Metric | None
) -> tuple[list[Contender], list[record.Dropped]]:
    """Who enters, the dense network first, and who does not and why."""
    dense = contenders[0]
    # Modelled figures choose what to try, not what to keep: without a measurement all stay.
    front_only = bounds.front_only and dense.latency_ratio is not None
    dropped: list[record.Dropped] = []
    passed: list[Contender] = []
    for contender in contenders:
        reason = refusal(dense, contender, bounds, metric)
        if reason is None:
            passed.append(contender)
        else:
            dropped.append(dropped_record(contender.variant.recipe, reason, contender.cost))
    if not passed:
        reasons = "; ".join(f"{entry.name}: {entry.reason}" for entry in dropped)
        raise GateError(f"no variant may enter the library. {reasons}")
    kept = []
    for contender in passed:
        others = [other for other in passed if other is not contender]
        better = dominated_by(contender, others) if front_only else None
        if better is None or contender is dense:
            kept.append(contender)
        else:
            reason = f"{better.name} is at least as good in every figure"
            dropped.append(dropped_record(contender.variant.recipe, reason, contender.cost))
    return kept, dropped
