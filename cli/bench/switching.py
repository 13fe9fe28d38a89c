"""Times what an adaptation costs an app: deciding, switching, and the first inference after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...errors import LibraryError
from ...explore.measure.timing import time_ms
from ...library.context import Context

if TYPE_CHECKING:
    from ...library.loader import Library
    from ...library.manifest import Manifest
    from ...library.net import Net
    from ..shared.bars import Bars

SWITCHES_COUNT = 4000
_WARM_COUNT = 200
_ROOM = 1.12  # a little more than a policy wants before it comes back to a variant
_LEAST_FIRST, _MOST_FIRST = 10, 500

MedianAndP99 = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class FirstCall:
    """Calls of one variant just after a switch to it, against its third call from there."""

    variant: str
    count: int
    first_ms: float
    steady_ms: float
    ratio: float


@dataclass(frozen=True, kw_only=True)
class Switches:
    """Microseconds as (median, p99); total is the whole of `net.adapt`, as an app pays it."""

    variants: tuple[str, ...]
    switches_count: int
    decide_us: MedianAndP99
    switch_us: MedianAndP99
    total_us: MedianAndP99
    first: tuple[FirstCall, ...]


def time_switches(
    library: Library, sample: Sequence[np.ndarray], seconds: float, bars: Bars
) -> Switches:
    """Switch thousands of times between all variants that the policy can be brought to choose."""
    net = library.open()
    contexts = alternating_contexts(library.manifest, net)
    found = []
    for index in range(_WARM_COUNT + SWITCHES_COUNT):
        context = contexts[index % len(contexts)]
        done = None

        def adapt(context: Context = context) -> None:
            nonlocal done
            done = net.adapt(context)

        total_us = 1e3 * time_ms(adapt)
        assert done is not None
        if index >= _WARM_COUNT:
            found.append((done.decide_us, 1e3 * done.switch_ms, total_us))
        if index % 100 == 0:
            bars.step("switch", index, _WARM_COUNT + SWITCHES_COUNT, "switches")
    columns = [_median_and_p99(column) for column in zip(*found, strict=True)]
    return Switches(
        variants=tuple(net.adapt(context).to_variant for context in contexts),
        switches_count=len(found),
        decide_us=columns[0],
        switch_us=columns[1],
        total_us=columns[2],
        first=_first_calls(net, contexts, sample, seconds, bars),
    )


def alternating_contexts(manifest: Manifest, net: Net) -> tuple[Context, ...]:
    """Give one context for each variant that the policy chooses in any; at least two.

    Raises:
        LibraryError: it always chooses the same, so there is nothing to switch between.

    """
    first: dict[str, Context] = {}
    for context in _situations(manifest):
        first.setdefault(net.adapt(context).to_variant, context)
    # what runs before counts too: keep those that come round again
    by_variant = {net.adapt(context).to_variant: context for context in first.values()}
    if len(by_variant) < 2:
        raise LibraryError(
            f"this library has {len(manifest.variants)} variants and the policy chooses "
            f"{next(iter(by_variant))} in every situation, so there is nothing to switch; "
            "compile with more recipes, or with --data for a metric"
        )
    return tuple(by_variant.values())


def _situations(manifest: Manifest) -> list[Context]:
    """List mains, full and empty batteries, and for every variant bounds with room for it."""
    found = [Context(battery_ratio=battery) for battery in (None, 1.0, 0.5, 0.0)]
    for variant in manifest.variants:
        cost = variant.cost
        for battery in (None, 0.0):
            if cost.latency_p90_ms is not None:
                budget_ms = _ROOM * cost.latency_p90_ms.value
                found.append(Context(battery_ratio=battery, latency_budget_ms=budget_ms))
            if cost.peak_memory_bytes is not None:
                limit = _ROOM * cost.peak_memory_bytes.value
                found.append(Context(battery_ratio=battery, memory_budget_bytes=limit))
            if cost.metric is not None:
                found.append(Context(battery_ratio=battery, metric_floor=cost.metric.value))
    return found


def _first_calls(
    net: Net, contexts: Sequence[Context], sample: Sequence[np.ndarray], seconds: float, bars: Bars
) -> tuple[FirstCall, ...]:
    """Time three calls after each switch, round about the variants, for about `seconds`."""
    times: dict[str, list[tuple[float, float]]] = {}
    spent_ms, rounds = 0.0, 0
    while rounds < _LEAST_FIRST or (spent_ms < 1e3 * seconds and rounds < _MOST_FIRST):
        for context in contexts:
            variant = net.adapt(context).to_variant
            three = [time_ms(lambda: net(*sample)) for _ in range(3)]
            times.setdefault(variant, []).append((three[0], three[2]))
            spent_ms += sum(three)
        rounds += 1
        bars.step("first inference", min(rounds, _LEAST_FIRST), _LEAST_FIRST, "rounds")
    return tuple(
        FirstCall(
            variant=variant,
            count=len(pairs),
            first_ms=float(np.median([first for first, _ in pairs])),
            steady_ms=float(np.median([steady for _, steady in pairs])),
            ratio=float(np.median([first / steady for first, steady in pairs])),
        )
        for variant, pairs in times.items()
    )


def _median_and_p99(values: Sequence[float]) -> MedianAndP99:
    return float(np.median(values)), float(np.percentile(values, 99))
