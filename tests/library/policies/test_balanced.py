"""The default: constraints first, then the metric against energy at a price that can be said."""

from __future__ import annotations

import math

import pytest

from adaspring.errors import UsageError
from adaspring.library.context import Context
from adaspring.library.policies import Balanced, Predicted

from ...support.variants import (
    BY_CONSTRAINTS,
    THREE,
    WHERE_NOTHING_MEETS_ALL,
    by_metric,
    choose,
    spaces,
    variant,
)


def pick(variants=THREE, current=None, worth=0.05, **context):
    return choose(Balanced(energy_worth=worth), variants, Context(**context), current)


@pytest.mark.parametrize(
    ("context", "chosen"),
    [
        *BY_CONSTRAINTS,
        ({"metric_floor": 0.97, "battery_ratio": 0.0}, "best"),
        # by hand: .98 - .05, .96 - .02, .90 - .008; half of that; a tenth of it
        ({"battery_ratio": 0.0}, "middle"),
        ({"battery_ratio": 0.5}, "best"),
        ({"battery_ratio": 1.0}, "best"),
    ],
)
def test_the_choice_for_a_context(context, chosen):
    decision = pick(**context)
    assert decision.variant == chosen
    assert decision.relaxed == decision.missed == decision.unchecked == ()


def test_the_energy_of_a_plainest_call_is_worth_what_was_said():
    """Between best and middle: 0.02 of the metric against 30 of 50 mJ, so a worth of 1/30."""
    for worth, chosen in ((0.0333, "best"), (0.0334, "middle"), (1.0, "small"), (0.0, "best")):
        assert pick(worth=worth, battery_ratio=0.0).variant == chosen
    assert pick(worth=0.0667, battery_ratio=0.5).variant == "middle"
    assert pick(worth=0.0666, battery_ratio=0.5).variant == "best"


def test_a_full_battery_counts_a_tenth_and_mains_nothing():
    for context, chosen in (({"battery_ratio": 1.0}, "middle"), ({}, "best")):
        assert pick(worth=0.34, **context).variant == chosen


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
    assert tuple(miss.constraint for miss in decision.missed) == relaxed


def test_by_how_much_a_constraint_is_missed_is_said():
    decision = pick(latency_budget_ms=1.6, metric_floor=0.96, load_ratio=0.2)
    latency = next(miss for miss in decision.missed if miss.constraint == "latency")
    assert decision.variant == "middle"
    assert latency.amount == pytest.approx(4 * 1.2 - 1.6)
    assert latency.ratio == pytest.approx(2.0)
    assert latency.unit == "ms"
    assert "missed by 3.2 ms (200.0 %)" in decision.reason
    (floor,) = pick(metric_floor=0.99).missed
    assert (floor.unit, round(floor.amount, 9)) == ("ratio", 0.01)
    assert floor.ratio == pytest.approx(0.01 / 0.99)


def test_what_a_call_will_take_is_predicted_under_the_load():
    found = pick(load_ratio=0.5).predicted
    assert found == Predicted(metric=0.98, latency_ms=15.0, energy_mj=50.0, memory_bytes=9000.0)
    unknown = pick((variant("only"),)).predicted
    assert unknown == Predicted(metric=None, latency_ms=None, energy_mj=None, memory_bytes=None)


# What AdaSpring's formula, and the nearest alone, made of these, no sensible engineer would.


def test_where_no_deadline_can_be_met_timing_noise_does_not_cost_13_times_the_energy():
    pair = (variant("dense", 0.98, 0.0274, 9000, 13), variant("int8", 0.975, 0.0281, 6000, 1))
    for current in (None, "dense", "int8"):
        decision = pick(pair, current, latency_budget_ms=0.001, battery_ratio=0.05)
        assert (decision.variant, decision.relaxed) == ("int8", ("latency",))
    # and on mains, of those that are as near, the more accurate
    assert pick(pair, latency_budget_ms=0.001).variant == "dense"


@pytest.mark.parametrize("battery", [0.0, 0.05, 0.3, 0.5, 0.7, 0.9, 1.0])
def test_points_and_energy_are_weighed_in_absolute_terms(battery):
    twenty_points = (variant("a", 0.95, 5, 100, 50.0), variant("b", 0.75, 5, 100, 49.5))
    assert pick(twenty_points, battery_ratio=battery).variant == "a"
    a_tenth = (variant("a", 0.951, 5, 100, 50.0), variant("b", 0.950, 5, 100, 5.0))
    assert pick(a_tenth, battery_ratio=battery).variant == "b"


@pytest.mark.parametrize("battery", [None, 0.0, 0.2, 0.5, 0.8, 1.0])
@pytest.mark.parametrize(
    "bad",
    [
        variant("bad", 0.10, 90, 9e6, 400),
        variant("bad", 0.05, 1, 1, 0.001),
        variant("bad", None, 1, 1, 0.001),
        variant("bad", None, None, None, None),
    ],
)
def test_a_bad_third_variant_does_not_change_the_pick_between_the_other_two(battery, bad):
    pair = THREE[:2]
    assert pick((*pair, bad), battery_ratio=battery).variant == (
        pick(pair, battery_ratio=battery).variant
    )


@pytest.mark.parametrize("energy", [0.001, 1, 49, 50, 500])
def test_on_mains_a_variant_a_point_worse_never_wins(energy):
    wide = (0.90, 1.0)  # however uncertain both are
    pair = (
        variant("dense", 0.95, 10, 9000, 50, interval=wide),
        variant("worse", 0.94, 1, 1000, energy, interval=wide),
    )
    for current in (None, "dense", "worse"):
        assert pick(pair, current).variant == "dense"
        assert pick(pair[::-1], current).variant == "dense"


@pytest.mark.parametrize("battery", [None, 0.0, 0.5, 1.0])
def test_an_unknown_metric_beats_no_known_one(battery):
    pair = (variant("known", 0.5, 10, 9000, 50), variant("unknown", None, 1, 1000, 1))
    for current in (None, "known", "unknown"):
        assert pick(pair, current, battery_ratio=battery).variant == "known"


def test_calls_50_ms_apart_are_held_against_the_cold_latency():
    pair = (
        variant("dense", 0.98, 0.05, cold=0.33),
        variant("small", 0.95, 0.04, cold=0.1),
    )
    for pace, chosen in ((None, "dense"), (1000, "dense"), (20, "small"), (1, "small")):
        assert pick(pair, latency_budget_ms=0.2, calls_per_s=pace).variant == chosen
    # between 20 and 100 calls a second nobody measured: the larger of both counts
    assert pick(pair, latency_budget_ms=0.2, calls_per_s=50).variant == "small"
    assert pick(pair, latency_budget_ms=0.2, calls_per_s=50).predicted.latency_ms == 0.1


def test_where_calls_are_rare_the_cold_latency_counts():
    pair = (variant("large", 0.98, 4, cold=9), variant("small", 0.9, 2, cold=3))
    assert pick(pair, latency_budget_ms=5).variant == "large"
    assert pick(pair, latency_budget_ms=5, calls_per_s=100).variant == "large"
    assert pick(pair, latency_budget_ms=5, calls_per_s=20).variant == "small"
    assert pick(latency_budget_ms=4, calls_per_s=1).variant == "middle"  # none known


# Ties


def test_what_chance_makes_of_the_metric_is_decided_by_energy_then_latency():
    wide, slight = (0.975, 0.985), 0.0005
    trio = (
        variant("dense", 0.98, 10, 9000, 50, interval=wide),
        variant("lean", 0.98 - slight, 9, 9000, 20, interval=wide),
        variant("quick", 0.98 - 2 * slight, 3, 9000, 20, interval=wide),
    )
    assert pick(trio).variant == "quick"
    assert pick(trio[:2]).variant == "lean"
    certain = tuple(by_metric(one, one.cost.metric.value, interval=None) for one in trio)
    assert pick(certain).variant == "dense"


def test_equals_in_all_else_are_decided_by_energy_then_latency_then_memory():
    plain = variant("plain", 0.9, 5, 5000, 50)
    for other in (
        variant("other", 0.9, 9, 9000, 49),
        variant("other", 0.9, 4, 9000, 50),
        variant("other", 0.9, 5, 4999, 50),
    ):
        assert pick((plain, other)).variant == "other"
        assert pick((other, plain)).variant == "other"


# Figures that are missing, and metrics of other kinds


def test_a_variant_without_the_figure_fails_the_constraint():
    variants = (variant("unknown", 0.99, None, 5000, 1), *THREE)
    assert pick(variants, latency_budget_ms=5).variant == "middle"
    assert pick(variants, latency_budget_ms=1).variant == "small"


def test_only_to_meet_a_constraint_an_unknown_metric_will_do():
    pair = (variant("known", 0.9, 10), variant("unknown", None, 1))
    assert pick(pair, latency_budget_ms=5).variant == "unknown"


def test_a_constraint_that_no_variant_can_be_checked_for_is_named():
    variants = (variant("a", 0.9), variant("b", 0.8))
    decision = pick(variants, latency_budget_ms=5, metric_floor=0.5)
    assert decision.variant == "a"
    assert decision.relaxed == ()
    assert decision.unchecked == ("latency",)
    assert "no figures to check latency" in decision.reason


def test_one_variant_without_any_figure_is_chosen():
    assert pick((variant("only"),), battery_ratio=0.1).variant == "only"


def test_without_a_metric_the_plainest_runs_on_mains_and_the_leanest_on_battery():
    pair = (variant("dense", None, 10, 9000, 50), variant("int8", None, 5, 5000, 20))
    for current in (None, "dense", "int8"):
        assert pick(pair, current).variant == "dense"
        assert pick(pair, current, battery_ratio=0.5).variant == "int8"
    assert pick(pair, latency_budget_ms=6).variant == "int8"


@pytest.mark.parametrize("value", [98, -0.1])
def test_a_floor_that_no_share_can_meet_is_refused(value):
    with pytest.raises(UsageError, match=f"metric_floor is {value:g}; top1 is a share.* 0.95"):
        pick(metric_floor=value)


def errors(scale=1.0):
    """Three variants by an error, of which less is better."""
    return tuple(
        by_metric(made, scale * value, name="mse", direction="lower", unit="")
        for made, value in zip(THREE, (2.0, 2.05, 9.0), strict=True)
    )


@pytest.mark.parametrize(
    ("context", "chosen", "relaxed"),
    [
        ({}, "best", ()),
        ({"metric_floor": 5.0, "latency_budget_ms": 5}, "middle", ()),
        ({"metric_floor": 2.02, "latency_budget_ms": 5}, "middle", ("metric",)),
        ({"metric_floor": 1.0}, "best", ("metric",)),
        ({"battery_ratio": 0.0}, "middle", ()),  # a worth of 5 % of 2.0; 0.05 for 60 % of it
        ({"battery_ratio": 0.5}, "best", ()),
    ],
)
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_of_an_error_less_is_better_and_the_floor_is_the_most(context, chosen, relaxed, scale):
    if "metric_floor" in context:
        context = {**context, "metric_floor": scale * context["metric_floor"]}
    decision = pick(errors(scale), **context)
    assert (decision.variant, decision.relaxed) == (chosen, relaxed)


def test_an_error_is_predicted_and_missed_in_its_own_direction():
    decision = pick(errors(), metric_floor=1.0)
    assert decision.predicted.metric == 2.0
    assert (decision.missed[0].amount, decision.missed[0].ratio) == (1.0, 1.0)


def test_decibels_are_worth_a_share_of_the_plainest_variants():
    pair = tuple(
        by_metric(made, value, name="psnr", unit="dB")
        for made, value in zip(THREE, (30.0, 29.2, 10.0), strict=True)
    )
    assert pick(pair, battery_ratio=0.0).variant == "middle"  # 0.8 dB for 60 % of 1.5 dB
    assert pick(pair, battery_ratio=0.2).variant == "best"


@pytest.mark.parametrize("worth", [-0.1, 5, math.nan, math.inf, "0.05", True, None])
def test_a_worth_that_is_none_is_refused(worth):
    with pytest.raises(UsageError, match=r"energy_worth is .*, for example 0.05 for five points"):
        Balanced(energy_worth=worth)


@pytest.mark.parametrize("context", [None, {}, {"battery_ratio": 0.5}, 0.5])
def test_what_is_no_context_is_refused(context):
    with pytest.raises(UsageError, match=r"the context is .*; give an adaspring\.Context"):
        Balanced().prepare(spaces(THREE))(context)
