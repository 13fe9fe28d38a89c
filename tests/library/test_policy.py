"""The policy: constraints first, then λ1 · accuracy + λ2 · energy efficiency."""

from __future__ import annotations

import itertools
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaspring.errors import UsageError
from adaspring.library.context import Context
from adaspring.library.manifest import Agreement, Variant
from adaspring.library.policy import RELAXATIONS, LambdaPolicy

from ..support.libraries import cost


def variant(name: str, accuracy=None, latency=None, memory=None, energy=None) -> Variant:
    return Variant(
        name=name,
        recipe="",
        decisions=(),
        code=f"code/{name}.so",
        functions=(),
        weights=(),
        cost=cost(
            metric=accuracy,
            latency_p90_ms=latency,
            peak_memory_bytes=memory,
            energy_mj=energy,
        ),
        agreement=Agreement(max_error_ratio=0, tolerance_ratio=1, reference="none"),
    )


THREE = (
    variant("best", 0.98, 10, 9000, 50),
    variant("middle", 0.96, 4, 6000, 20),
    variant("small", 0.90, 2, 5000, 8),
)


def choose(variants=THREE, **context):
    return LambdaPolicy().prepare(variants)(Context(**context))


@pytest.mark.parametrize(
    ("context", "chosen"),
    [
        ({}, "best"),
        ({"latency_budget_ms": 4}, "middle"),
        ({"latency_budget_ms": 3.9}, "small"),
        ({"latency_budget_ms": 5, "load_ratio": 0.5}, "small"),
        ({"memory_budget_bytes": 5500}, "small"),
        ({"metric_floor": 0.97}, "best"),
        ({"metric_floor": 0.95, "latency_budget_ms": 5}, "middle"),
        ({"battery_ratio": 0.0}, "small"),
        ({"battery_ratio": 0.5}, "middle"),
        ({"battery_ratio": 1.0}, "best"),
    ],
)
def test_the_choice_for_a_context(context, chosen):
    decision = choose(**context)
    assert decision.variant == chosen
    assert decision.relaxed == ()
    assert decision.unchecked == ()


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
        got = choose(battery_ratio=float(battery)).variant
        assert scores[got] == pytest.approx(max(scores.values())), battery


@pytest.mark.parametrize(
    ("context", "chosen", "relaxed"),
    [
        # accuracy is given up first: the most accurate of those in time
        ({"latency_budget_ms": 5, "metric_floor": 0.97}, "middle", ("metric",)),
        ({"metric_floor": 0.99}, "best", ("metric",)),
        # nothing is in time: the fastest of those accurate enough
        ({"latency_budget_ms": 1}, "small", ("latency",)),
        ({"latency_budget_ms": 1, "metric_floor": 0.95}, "middle", ("latency",)),
        (
            {"latency_budget_ms": 1, "metric_floor": 0.99},
            "small",
            ("metric", "latency"),
        ),
        # nothing fits in memory: the smallest, whatever else
        ({"memory_budget_bytes": 1}, "small", ("memory",)),
        (
            {"memory_budget_bytes": 1, "latency_budget_ms": 1, "metric_floor": 1.0},
            "small",
            ("metric", "latency", "memory"),
        ),
    ],
)
def test_where_nothing_meets_all_the_gravest_is_nearest_and_the_record_says_so(
    context, chosen, relaxed
):
    decision = choose(**context)
    assert (decision.variant, decision.relaxed) == (chosen, relaxed)
    assert "gave up " + " and ".join(relaxed) in decision.reason


def test_a_variant_without_the_figure_fails_the_constraint():
    variants = (variant("unknown", 0.99, None, 5000, 1), *THREE)
    assert choose(variants, latency_budget_ms=5).variant == "middle"
    assert choose(variants, latency_budget_ms=1).variant == "small"


def test_a_constraint_that_no_variant_can_be_checked_for_is_named():
    variants = (variant("a", 0.9), variant("b", 0.8))
    decision = choose(variants, latency_budget_ms=5, metric_floor=0.5)
    assert decision.variant == "a"
    assert decision.relaxed == ()
    assert decision.unchecked == ("latency",)
    assert "no figures to check latency" in decision.reason


def test_one_variant_without_any_figure_is_chosen():
    decision = choose((variant("only"),), battery_ratio=0.1)
    assert decision.variant == "only"


FIGURES = st.one_of(st.none(), st.floats(0.001, 1e6))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.none() | st.floats(0, 1), FIGURES, FIGURES, FIGURES), min_size=1, max_size=6
    ),
    st.none() | st.floats(0, 1),
    st.none() | st.floats(0, 1e6),
    st.none() | st.floats(0, 1e6),
    st.none() | st.floats(0, 1),
    st.none() | st.floats(0, 3),
)
def test_the_policy_agrees_with_a_plain_search(figures, battery, latency, memory, accuracy, load):
    """Independent: loops over the variants instead of arrays."""
    variants = tuple(variant(str(i), *values) for i, values in enumerate(figures))
    decision = choose(
        variants,
        battery_ratio=battery,
        latency_budget_ms=latency,
        memory_budget_bytes=memory,
        metric_floor=accuracy,
        load_ratio=load,
    )
    assert (decision.relaxed, set(decision.unchecked)) == plain_search(
        figures, latency, memory, accuracy, load or 0.0
    )[:2]
    allowed = plain_search(figures, latency, memory, accuracy, load or 0.0)[2]
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
            return value >= accuracy
        return value * (1 + load if name == "latency" else 1) <= limits[name]

    for count in RELAXATIONS:
        left = [
            i
            for i, row in enumerate(figures)
            if all(meets(row, name) for name in limits if name not in count)
        ]
        checkable = all(limits[name] is not None and name not in unchecked for name in count)
        if left and checkable:
            break
    if count:
        sign = -1 if count[-1] == "metric" else 1
        column = columns[count[-1]]
        near = [math.inf if figures[i][column] is None else sign * figures[i][column] for i in left]
        left = [i for i, value in zip(left, near, strict=True) if value == min(near)]
    return count, unchecked, left


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


def test_relaxations_go_from_nothing_to_everything_each_once():
    everything = set(itertools.chain(*RELAXATIONS))
    assert len(set(RELAXATIONS)) == len(RELAXATIONS) == 2 ** len(everything)
    assert RELAXATIONS[0] == ()
    assert set(RELAXATIONS[-1]) == everything


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("battery_ratio", 1.1),
        ("battery_ratio", -0.1),
        ("battery_ratio", float("nan")),
        ("latency_budget_ms", -1),
        ("latency_budget_ms", float("inf")),
        ("memory_budget_bytes", "1 GB"),
        ("load_ratio", -1),
    ],
)
def test_a_context_out_of_range_is_refused_by_name(field, value):
    with pytest.raises(UsageError, match=f"{field} is .* must be in"):
        Context(**{field: value})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0.9", True])
def test_a_floor_that_is_no_number_is_refused(value):
    with pytest.raises(UsageError, match=f"metric_floor is {value!r}; it must be a number"):
        Context(metric_floor=value)


@pytest.mark.parametrize("value", [98, -0.1])
def test_a_floor_that_no_share_can_meet_is_refused(value):
    with pytest.raises(UsageError, match=f"metric_floor is {value:g}; top1 is a share.* 0.95"):
        choose(metric_floor=value)


def errors():
    """Three variants by an error, of which less is better."""
    return tuple(
        msgspec.structs.replace(
            made,
            cost=msgspec.structs.replace(
                made.cost,
                metric=msgspec.structs.replace(
                    made.cost.metric, name="mse", direction="lower", unit="", value=value
                ),
            ),
        )
        for made, value in zip(THREE, (2.0, 4.0, 9.0), strict=True)
    )


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
    decision = choose(errors(), **context)
    assert (decision.variant, decision.relaxed) == (chosen, relaxed)


def test_where_calls_are_rare_the_cold_latency_counts():
    def paced(name, accuracy, hot, cold):
        made = variant(name, accuracy, hot)
        slow = cost(latency_p90_ms=cold).latency_p90_ms
        costs = msgspec.structs.replace(made.cost, cold_latency_p90_ms=slow)
        return msgspec.structs.replace(made, cost=costs)

    variants = (paced("large", 0.98, 4, 9), paced("small", 0.9, 2, 3))
    assert choose(variants, latency_budget_ms=5).variant == "large"
    assert choose(variants, latency_budget_ms=5, calls_per_s=100).variant == "large"
    assert choose(variants, latency_budget_ms=5, calls_per_s=20).variant == "small"
    assert choose(THREE, latency_budget_ms=4, calls_per_s=1).variant == "middle"  # none known
