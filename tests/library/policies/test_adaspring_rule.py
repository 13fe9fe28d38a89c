"""AdaSpring's formula: constraints first, then λ1 · metric + λ2 · energy efficiency."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaspring.errors import UsageError
from adaspring.library.context import Context
from adaspring.library.policies import LambdaRule

from ...support.variants import (
    BY_CONSTRAINTS,
    THREE,
    WHERE_NOTHING_MEETS_ALL,
    by_metric,
    choose,
    variant,
)


def pick(variants=THREE, current=None, **context):
    return choose(LambdaRule(), variants, Context(**context), current)


@pytest.mark.parametrize(
    ("context", "chosen"),
    [
        *BY_CONSTRAINTS,
        ({"battery_ratio": 0.0}, "small"),
        ({"battery_ratio": 0.5}, "middle"),
        ({"battery_ratio": 1.0}, "best"),
    ],
)
def test_the_choice_for_a_context(context, chosen):
    decision = pick(**context)
    assert decision.variant == chosen
    assert decision.relaxed == decision.unchecked == ()


def test_the_score_is_adasprings_rule():
    """By hand: Norm(accuracy) = 1, .75, 0; Norm(1/energy) = 0, 2/7, 1."""
    for battery in np.linspace(0, 1, 21):
        energy_weight = max(0.3, 1 - battery)
        accuracy_weight = 1 - energy_weight
        scores = {
            "best": accuracy_weight,
            "middle": accuracy_weight * 0.75 + energy_weight * (1 / 20 - 1 / 50) / (1 / 8 - 1 / 50),
            "small": energy_weight,
        }
        got = pick(battery_ratio=float(battery)).variant
        assert scores[got] == pytest.approx(max(scores.values())), battery


@pytest.mark.parametrize(
    ("context", "chosen", "relaxed"),
    WHERE_NOTHING_MEETS_ALL,
)
def test_where_nothing_meets_all_the_gravest_is_nearest_and_the_record_says_so(
    context, chosen, relaxed
):
    decision = pick(**context)
    assert (decision.variant, decision.relaxed) == (chosen, relaxed)
    assert "gave up " + " and ".join(relaxed) in decision.reason


FIGURES = st.one_of(st.none(), st.floats(0.001, 1e6))
# no two of which a floating point difference from a floor would round to one
SHARES = st.floats(0, 1).map(lambda share: round(share, 9))
ORDER = ("metric", "latency", "memory")
RELAXATIONS = (
    (),
    ("metric",),
    ("latency",),
    ("metric", "latency"),
    ("memory",),
    ("metric", "memory"),
    ("latency", "memory"),
    ORDER,
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.none() | SHARES, FIGURES, FIGURES, FIGURES), min_size=1, max_size=6),
    st.none() | st.floats(0, 1),
    st.none() | st.floats(0, 1e6),
    st.none() | st.floats(0, 1e6),
    st.none() | st.floats(0, 1),
    st.none() | st.floats(0, 3),
)
def test_the_policy_agrees_with_a_plain_search(figures, battery, latency, memory, accuracy, load):
    """Independent: tries every set of constraints to give up, in the order of RELAXATIONS."""
    variants = tuple(
        variant(str(i), metric, latency, memory, energy)
        for i, (metric, latency, memory, energy) in enumerate(figures)
    )
    decision = pick(
        variants,
        battery_ratio=battery,
        latency_budget_ms=latency,
        memory_budget_bytes=memory,
        metric_floor=accuracy,
        load_ratio=load,
    )
    relaxed, unchecked, allowed = plain_search(figures, latency, memory, accuracy, load or 0.0)
    assert (decision.relaxed, set(decision.unchecked)) == (relaxed, unchecked)
    weight = max(0.3, 1 - (1.0 if battery is None else battery))
    scores = plain_scores(figures, weight)
    chosen = int(decision.variant)
    assert chosen in allowed
    assert scores[chosen] == pytest.approx(max(scores[i] for i in allowed), abs=1e-9)


def plain_search(figures, latency, memory, accuracy, load):
    limits = {"metric": accuracy, "latency": latency, "memory": memory}
    columns = {"metric": 0, "latency": 1, "memory": 2}
    unchecked = {
        name
        for name, limit in limits.items()
        if limit is not None and all(row[columns[name]] is None for row in figures)
    }

    def meets(row, name):
        value = row[columns[name]]
        if limits[name] is None or name in unchecked:
            return True
        if value is None:
            return False
        if name == "metric":
            return value >= accuracy * (1 - 1e-9)
        return value * (1 + load if name == "latency" else 1) <= limits[name] * (1 + 1e-9)

    for relaxed in RELAXATIONS:
        left = [
            i
            for i, row in enumerate(figures)
            if all(meets(row, name) for name in limits if name not in relaxed)
        ]
        checkable = all(limits[name] is not None and name not in unchecked for name in relaxed)
        if left and checkable:
            break
    for name in reversed(relaxed):  # the gravest first: within a tenth of what comes nearest
        known = [figures[i][columns[name]] for i in left if figures[i][columns[name]] is not None]
        if name == "metric" and known:
            least = max(known) * (1 - 1e-9)
            left = [i for i in left if (figures[i][0] or 0) >= least and figures[i][0] is not None]
        elif known:
            most = min(known) * 1.1 * (1 + 1e-9)
            left = [i for i in left if (figures[i][columns[name]] or math.inf) <= most]
    return relaxed, unchecked, left


def plain_scores(figures, weight):
    def norm(values):
        known = [value for value in values if value is not None]
        if not known or min(known) == max(known):
            return [0.0] * len(values)
        span = max(known) - min(known)
        return [0.0 if value is None else (value - min(known)) / span for value in values]

    accuracy = norm([row[0] for row in figures])
    efficiency = norm([None if row[3] is None else 1 / row[3] for row in figures])
    return [(1 - weight) * a + weight * e for a, e in zip(accuracy, efficiency, strict=True)]


def test_the_plain_search_gives_up_everything_each_once_from_nothing_on():
    everything = set(itertools.chain(*RELAXATIONS))
    assert len(set(RELAXATIONS)) == len(RELAXATIONS) == 2 ** len(everything)
    assert RELAXATIONS[0] == ()
    assert set(RELAXATIONS[-1]) == everything


@pytest.mark.parametrize(
    ("context", "chosen", "relaxed"),
    [
        ({}, "best", ()),
        ({"metric_floor": 5.0, "latency_budget_ms": 5}, "middle", ()),
        ({"metric_floor": 3.0, "latency_budget_ms": 5}, "middle", ("metric",)),
        ({"metric_floor": 1.0}, "best", ("metric",)),
        ({"battery_ratio": 0.0}, "small", ()),
    ],
)
def test_of_an_error_less_is_better_and_the_floor_is_the_most(context, chosen, relaxed):
    errors = tuple(
        by_metric(made, value, name="mse", direction="lower", unit="")
        for made, value in zip(THREE, (2.0, 4.0, 9.0), strict=True)
    )
    decision = pick(errors, **context)
    assert (decision.variant, decision.relaxed) == (chosen, relaxed)


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, "0.3", True])
def test_a_weight_that_is_no_share_is_refused(value):
    with pytest.raises(UsageError, match=r"least_energy_weight_ratio is .*must be in"):
        LambdaRule(least_energy_weight_ratio=value)
