"""Policies where there are too many combinations to look at each."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest

from adaspring.library.context import Context
from adaspring.library.evolve.space import Space
from adaspring.library.evolve.spaces import Spaces
from adaspring.library.policies import Balanced, Budget, Deadline, LambdaRule
from adaspring.library.policies.options import Options

from ...support.variants import cells, segment

POLICIES = (
    Balanced(),
    Balanced(energy_worth=0.5),
    Deadline(),
    Budget(capacity_wh=10),
    LambdaRule(),
)
SEGMENTS, CELLS = 6, 5
NEAR = 0.02
"""How near to the best score the rule comes, which is at most 1."""


def offer(seed: int) -> tuple[Spaces, Space]:
    """A dense variant, and combinations of which there are more than are listed."""
    space = cells(np.random.default_rng(seed), SEGMENTS, CELLS)
    dense = {
        name: [sum(float(getattr(part, name)[0]) for part in space.segments)]
        for name in ("latency_ms", "cold_latency_ms", "energy_mj", "weights_bytes")
    }
    whole = segment(["dense"], metric=[space.metric_base], activations_bytes=[2e4], **dense)
    spaces = Spaces(
        each=(Space(segments=(whole,)), space),
        metric="accuracy",
        unit="ratio",
        plainest="dense",
        plainest_metric=space.metric_base,
        plainest_energy_mj=dense["energy_mj"][0],
    )
    return spaces, space


def all_figures(space: Space) -> dict[str, np.ndarray]:
    """Metric, latency and energy of every combination, by the definition."""
    ways = np.indices([CELLS] * SEGMENTS).reshape(SEGMENTS, -1)

    def total(name: str) -> np.ndarray:
        rows = zip(space.segments, ways, strict=True)
        return np.sum([getattr(part, name)[way] for part, way in rows], axis=0)

    return {
        "metric": space.metric_base + total("metric"),
        "latency": space.latency_scale * total("latency_ms") + space.latency_offset_ms,
        "energy": total("energy_mj"),
    }


def contexts(space: Space, count: int) -> list[Context]:
    """Seeded contexts, from those that all meet to those that nothing does."""
    rng = random.Random(7)
    latency = all_figures(space)["latency"]
    return [
        Context(
            battery_ratio=rng.random(),
            latency_budget_ms=rng.uniform(0.8 * latency.min(), latency.max()),
            metric_floor=rng.choice([None, rng.uniform(0.5, 1.0)]),
            memory_budget_bytes=rng.choice([None, 10 ** rng.uniform(4, 6)]),
            time_left_s=3600,
            calls_per_s=200,
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("seed", range(4))
def test_the_rule_comes_near_the_best_score_that_meets_the_deadline(seed):
    spaces, space = offer(seed)
    assert not Options(spaces).is_listed
    decide, figures = LambdaRule().prepare(spaces), all_figures(space)
    efficiency = 1 / figures["energy"]

    def norm(values: np.ndarray, value: float | np.ndarray) -> float | np.ndarray:
        return (value - values.min()) / np.ptp(values)

    for battery in (1.0, 0.6, 0.3, 0.0):
        weight = max(0.3, 1 - battery)
        scores = (1 - weight) * norm(figures["metric"], figures["metric"])
        scores = scores + weight * norm(efficiency, efficiency)
        for share in (0.1, 0.3, 1.0):
            budget = float(np.quantile(figures["latency"], share))
            decision = decide(Context(battery_ratio=battery, latency_budget_ms=budget))
            found = decision.predicted
            assert decision.relaxed == ()
            assert found.latency_ms <= budget * (1 + 1e-9)
            score = (1 - weight) * norm(figures["metric"], found.metric)
            score += weight * norm(efficiency, 1 / found.energy_mj)
            assert score >= scores[figures["latency"] <= budget].max() - NEAR


@pytest.mark.parametrize("policy", POLICIES)
def test_the_same_context_decides_the_same_whatever_was_asked_before(policy):
    spaces, space = offer(3)
    asked = contexts(space, 12)
    first, second = policy.prepare(spaces), policy.prepare(spaces)
    assert [first(context) for context in asked] == [second(c) for c in asked[::-1]][::-1]


@pytest.mark.parametrize("policy", POLICIES)
def test_what_gives_way_is_what_the_choice_misses(policy):
    spaces, space = offer(5)
    decide = policy.prepare(spaces)
    for context in contexts(space, 12):
        decision, now = decide(context), decide(context, "dense")
        for one in (decision, now):
            found = one.predicted
            late = found.latency_ms > context.latency_budget_ms * (1 + 1e-9)
            assert ("latency" in one.relaxed) == late
            assert one.relaxed == tuple(miss.constraint for miss in one.missed)
            assert all(math.isfinite(miss.amount) for miss in one.missed)


def test_where_nothing_differs_in_energy_the_rule_takes_the_best_metric():
    _, space = offer(1)
    flat = tuple(replace(part, energy_mj=np.ones(CELLS)) for part in space.segments)
    only = Spaces(each=(replace(space, segments=flat),), metric="accuracy", unit="ratio")
    decision = LambdaRule().prepare(only)(Context(battery_ratio=0.2))
    best = all_figures(space)["metric"].max()
    assert decision.predicted.metric == pytest.approx(best, abs=1e-3)
