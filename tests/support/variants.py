"""Variants, manifests and spaces that policies are tried on: figures alone, no code."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from adaspring import targets
from adaspring.library.evolve.space import Segment, Space
from adaspring.library.evolve.spaces import Spaces, spaces_of
from adaspring.library.manifest import (
    SCHEMA_VERSION,
    Agreement,
    Manifest,
    Variant,
    board_record,
)

from .libraries import INPUTS, OUTPUTS, WHEN, cost

FIGURES = (
    "metric",
    "latency_ms",
    "cold_latency_ms",
    "energy_mj",
    "weights_bytes",
    "activations_bytes",
)


def variant(
    name: str, metric=None, latency=None, memory=None, energy=None, *, cold=None, interval=None
) -> Variant:
    """A variant of an accuracy, p90 latencies in ms, bytes and mJ; None: not known."""
    known = cost(
        metric=metric,
        latency_p90_ms=latency,
        cold_latency_p90_ms=cold,
        peak_memory_bytes=memory,
        energy_mj=energy,
    )
    if interval is not None:
        known = msgspec.structs.replace(
            known, metric=msgspec.structs.replace(known.metric, interval=interval)
        )
    return Variant(
        name=name,
        recipe="",
        decisions=(),
        code=f"code/{name}.so",
        functions=(),
        weights=(),
        cost=known,
        agreement=Agreement(max_error_ratio=0, tolerance_ratio=1, reference="none"),
    )


def by_metric(made: Variant, value: float, **changes: object) -> Variant:
    """The same variant by another metric: a value, and what else its figure says."""
    figure = msgspec.structs.replace(made.cost.metric, value=value, **changes)
    return msgspec.structs.replace(made, cost=msgspec.structs.replace(made.cost, metric=figure))


def manifest(variants: Sequence[Variant]) -> Manifest:
    """A library of these variants, the first of them the plainest."""
    return Manifest(
        inputs=INPUTS,
        outputs=OUTPUTS,
        schema_version=SCHEMA_VERSION,
        name="made",
        adaspring_version="0",
        tvm_version="0",
        created=WHEN,
        board=board_record(targets.null()),
        plainest=variants[0].name,
        variants=tuple(variants),
        dropped=(),
        files=(),
    )


def spaces(variants: Sequence[Variant]) -> Spaces:
    """What a library of these variants can run."""
    return spaces_of(manifest(variants))


def choose(policy, variants: Sequence[Variant], context, current: str | None = None):
    """What a policy decides for a library of these variants."""
    return policy.prepare(spaces(variants))(context, current)


def segment(names: Sequence[str], **figures: Sequence[float]) -> Segment:
    """A segment of these cells; a figure that is not given is unknown."""
    unknown = (np.nan,) * len(names)
    columns = {name: np.array(figures.get(name, unknown), dtype=float) for name in FIGURES}
    return Segment(names=tuple(names), **columns)


def cells(rng: np.random.Generator, segments: int = 3, count: int = 3) -> Space:
    """A seeded space of segments whose cells cost metric or energy, latency and memory."""

    def one(place: int) -> Segment:
        size = np.sort(rng.uniform(0.1, 1.0, count))[::-1]
        return segment(
            [f"s{place}c{cell}" for cell in range(count)],
            metric=-0.02 * (1 - size) ** 2 * rng.uniform(0.5, 1.5, count),
            latency_ms=4 * size * rng.uniform(0.9, 1.1, count),
            cold_latency_ms=6 * size,
            energy_mj=20 * size,
            weights_bytes=1e5 * size,
            activations_bytes=2e4 * size,
        )

    return Space(segments=tuple(one(place) for place in range(segments)), metric_base=0.95)


THREE = (
    variant("best", 0.98, 10, 9000, 50),
    variant("middle", 0.96, 4, 6000, 20),
    variant("small", 0.90, 2, 5000, 8),
)


BY_CONSTRAINTS = (
    ({}, "best"),
    ({"latency_budget_ms": 4}, "middle"),
    ({"latency_budget_ms": 3.9}, "small"),
    ({"latency_budget_ms": 5, "load_ratio": 0.5}, "small"),
    ({"memory_budget_bytes": 5500}, "small"),
    ({"metric_floor": 0.97}, "best"),
    ({"metric_floor": 0.95, "latency_budget_ms": 5}, "middle"),
)
"""A context without a battery, and which of three variants meets it best."""

WHERE_NOTHING_MEETS_ALL = (
    # accuracy is given up first: the most accurate of those in time
    ({"latency_budget_ms": 5, "metric_floor": 0.97}, "middle", ("metric",)),
    ({"metric_floor": 0.99}, "best", ("metric",)),
    # nothing is in time: the fastest of those accurate enough
    ({"latency_budget_ms": 1}, "small", ("latency",)),
    ({"latency_budget_ms": 1, "metric_floor": 0.95}, "middle", ("latency",)),
    ({"latency_budget_ms": 1, "metric_floor": 0.99}, "small", ("metric", "latency")),
    # nothing fits in memory: the smallest, whatever else
    ({"memory_budget_bytes": 1}, "small", ("memory",)),
    (
        {"memory_budget_bytes": 1, "latency_budget_ms": 1, "metric_floor": 1.0},
        "small",
        ("metric", "latency", "memory"),
    ),
)
"""A context, which of three variants it gets, and what was given up for it."""
