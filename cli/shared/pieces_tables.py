"""How a network in pieces is drawn: its cells, what combinations cost, the best measured ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf, prod
from typing import Any

from ...library.manifest import Composition, Manifest
from ...library.pieces.composition import Combination, Segment
from ...library.records import sign_of
from .tables import line, metric_text, table

_MOST_ROWS = 12


def pieces_shown(manifest: Manifest) -> Iterator[Any]:
    """Give what there is to say of the pieces; nothing of a network that is whole."""
    made = manifest.composition
    if made is None:
        return
    yield table(
        "Pieces",
        ("segment", "layers", "cells, p50 ms"),
        [(str(index), _layers(each), _cells(each)) for index, each in enumerate(made.segments)],
    )
    yield line(summary(made), "dim")
    if all(each.latency_p50_ms is None for each in made.combinations):
        return
    rows = [
        (each.name, metric_text(each.validation_metric), *_latency(each))
        for each in front(made.combinations)[:_MOST_ROWS]
    ]
    columns = ("combination", ">validation", ">p50 ms", ">p90 ms")
    yield table("The best of the measured combinations", columns, rows)


def summary(made: Composition) -> str:
    """Say how many combinations there are, and how well what they cost is known."""
    count = prod(len(segment.cells) for segment in made.segments)
    figures = [each.validation_metric for each in made.combinations]
    modelled = any(figure is not None and figure.origin == "modelled" for figure in figures)
    known = "judged in the reference" if modelled else "measured"
    parts = [f"{count} combinations, {len(figures)} {known}"]
    if made.metric is not None:
        parts.append(
            f"the metric of the others is predicted, wrong by at most {made.metric.bound:.3g} for "
            f"{100 * made.metric.coverage:.0f} % of them ({made.metric.held_out_count} held out)"
        )
        if not made.metric.is_sure:
            parts.append("that is not sure to 95 %: where a floor is asked, only measured ones run")
    elif len(made.combinations) < count:
        parts.append("only these may run, since the others cannot be predicted well")
    if made.latency is not None and made.latency.bound_ratio is not None:
        parts.append(f"latency within {100 * made.latency.bound_ratio:.0f} %")
    if made.uncut_ratio is None:
        parts.append("no times are known, nor what cutting costs")
    else:
        parts.append(f"dense pieces take {made.uncut_ratio:.3f} of the time of the whole")
    return "; ".join(parts)


def front(combinations: Sequence[Combination]) -> list[Combination]:
    """Those that no other beats in metric and time, the slowest first."""
    ranked = sorted(combinations, key=lambda each: (_p50(each), -_goodness(each)))
    found, best = list[Combination](), -inf
    for each in ranked:
        if _goodness(each) > best:
            found.append(each)
            best = _goodness(each)
    return found[::-1]


def _goodness(combination: Combination) -> float:
    figure = combination.validation_metric
    return -inf if figure is None else sign_of(figure.direction) * figure.value


def _p50(combination: Combination) -> float:
    return inf if combination.latency_p50_ms is None else combination.latency_p50_ms.value


def _latency(combination: Combination) -> tuple[str, str]:
    figures = (combination.latency_p50_ms, combination.latency_p90_ms)
    p50, p90 = ("-" if figure is None else f"{figure.value:.3g}" for figure in figures)
    return p50, p90


def _layers(segment: Segment) -> str:
    first, last = segment.layers[0], segment.layers[-1]
    return first if first == last else f"{first} … {last} ({len(segment.layers)})"


def _cells(segment: Segment) -> str:
    found = []
    for cell in segment.cells:
        latency = cell.cost.latency_p50_ms
        found.append(cell.name if latency is None else f"{cell.name} {latency.value:.3g}")
    return ", ".join(found)
