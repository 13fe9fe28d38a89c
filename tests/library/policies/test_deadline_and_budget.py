"""Deadline: in time, then as good as can be. Budget: the energy left lasts."""

from __future__ import annotations

import math

import pytest

from adaspring.errors import UsageError
from adaspring.library.context import Context
from adaspring.library.policies import Budget, Deadline

from ...support.variants import THREE, choose, variant


def in_time(variants=THREE, **context):
    return choose(Deadline(), variants, Context(**context))


def lasting(policy=None, variants=THREE, **context):
    return choose(policy or Budget(), variants, Context(**context))


@pytest.mark.parametrize("battery", [None, 0.0, 0.5, 1.0])
def test_a_deadline_is_met_by_the_best_metric_whatever_the_battery(battery):
    for budget, chosen in ((20, "best"), (9, "middle"), (3, "small"), (None, "best")):
        decision = in_time(latency_budget_ms=budget, battery_ratio=battery)
        assert (decision.variant, decision.relaxed) == (chosen, ())


def test_of_equals_in_time_the_one_of_the_least_energy_runs():
    trio = (
        variant("a", 0.9, 3, 1, 30),
        variant("b", 0.9, 4, 1, 20),
        variant("c", 0.9, 6, 1, 10),
    )
    assert in_time(trio, latency_budget_ms=5).variant == "b"
    assert in_time(trio).variant == "c"


def test_a_deadline_that_cannot_be_met_is_missed_by_as_little_as_can_be():
    decision = in_time(latency_budget_ms=1)
    assert (decision.variant, decision.relaxed) == ("small", ("latency",))
    assert (decision.missed[0].amount, decision.missed[0].ratio) == (1.0, 1.0)


def test_a_tenth_of_the_deadline_is_kept_free_where_something_can():
    assert in_time(latency_budget_ms=10.9).variant == "middle"  # best takes 10 ms
    assert in_time(latency_budget_ms=11.2).variant == "best"
    assert choose(Deadline(margin_ratio=0), THREE, Context(latency_budget_ms=10)).variant == "best"


def test_the_margin_gives_way_before_any_limit_but_the_floor():
    just = in_time(latency_budget_ms=2.1)  # small takes 2 ms
    assert (just.variant, just.relaxed) == ("small", ())
    floor = in_time(latency_budget_ms=10.5, metric_floor=0.97)  # best alone holds it
    assert (floor.variant, floor.relaxed) == ("best", ())
    neither = in_time(latency_budget_ms=10.5, metric_floor=0.999)
    assert (neither.variant, neither.relaxed) == ("middle", ("metric",))


@pytest.mark.parametrize("margin", [-0.1, 1.1, math.nan, "a tenth"])
def test_a_margin_that_is_no_share_is_refused(margin):
    with pytest.raises(UsageError, match=r"margin_ratio is .*for example 0\.1 for a tenth"):
        Deadline(margin_ratio=margin)


HOUR = {"time_left_s": 3600.0, "calls_per_s": 10.0}


@pytest.mark.parametrize(
    ("left_mj", "chosen"),
    [(50 * 36000, "best"), (49 * 36000, "middle"), (20 * 36000, "middle"), (8 * 36000, "small")],
)
def test_the_best_metric_with_which_the_energy_lasts(left_mj, chosen):
    decision = lasting(energy_left_mj=left_mj, **HOUR)
    assert (decision.variant, decision.relaxed) == (chosen, ())
    assert decision.predicted.energy_mj * 36000 <= left_mj


def test_energy_that_cannot_last_is_said_with_what_is_missing():
    decision = lasting(energy_left_mj=4 * 36000, **HOUR)
    assert (decision.variant, decision.relaxed) == ("small", ("energy",))
    (miss,) = decision.missed
    assert (miss.amount, miss.unit, miss.ratio) == (4.0, "mJ", 1.0)
    assert "gave up energy, missed by 4 mJ (100.0 %)" in decision.reason
    nothing = lasting(energy_left_mj=0, **HOUR)
    assert (nothing.variant, nothing.missed[0].ratio) == ("small", None)


def test_a_battery_of_known_capacity_is_energy():
    """15 Wh at 10 %: 5.4e6 mJ over an hour of 10 calls a second is 150 mJ a call."""
    phone = Budget(capacity_wh=15)
    assert lasting(phone, battery_ratio=0.1, **HOUR).variant == "best"
    assert lasting(phone, battery_ratio=0.03, **HOUR).variant == "middle"
    assert lasting(phone, battery_ratio=0.01, **HOUR).variant == "small"
    # what the app knows better goes before
    assert lasting(phone, battery_ratio=1.0, energy_left_mj=8 * 36000, **HOUR).variant == "small"


def test_energy_gives_way_after_latency_and_before_memory():
    energy = {"energy_left_mj": 8 * 36000, **HOUR}
    assert lasting(**energy, metric_floor=0.95).relaxed == ("metric",)
    fast_and_hungry = (variant("fast", 0.9, 1, 9000, 50), variant("slow", 0.9, 9, 9000, 5))
    late = lasting(variants=fast_and_hungry, latency_budget_ms=5, **energy)
    assert (late.variant, late.relaxed) == ("slow", ("latency",))
    small_and_hungry = (variant("small", 0.9, 1, 10, 50), variant("large", 0.9, 1, 9000, 5))
    hungry = lasting(variants=small_and_hungry, memory_budget_bytes=100, **energy)
    assert (hungry.variant, hungry.relaxed) == ("small", ("energy",))


@pytest.mark.parametrize("context", [{}, {"battery_ratio": None, **HOUR}])
def test_on_mains_energy_has_no_limit(context):
    decision = lasting(**context)
    assert decision.variant == "best"
    assert "no limit" in decision.reason


@pytest.mark.parametrize("over", [{"time_left_s": 0, "calls_per_s": 5}, {**HOUR, "calls_per_s": 0}])
def test_where_nothing_will_be_called_any_more_energy_has_no_limit(over):
    assert lasting(energy_left_mj=1, **over).variant == "best"


def test_without_energy_figures_the_budget_is_named_as_unchecked():
    decision = lasting(variants=(variant("a", 0.9), variant("b", 0.8)), energy_left_mj=1, **HOUR)
    assert (decision.variant, decision.unchecked) == ("a", ("energy",))


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ({"energy_left_mj": 5e6, "calls_per_s": 1}, "give the context time_left_s"),
        ({"energy_left_mj": 5e6, "time_left_s": 60}, "give the context calls_per_s"),
        ({"battery_ratio": 0.5, **HOUR}, r"energy_left_mj, or .*Budget\(capacity_wh=15\)"),
    ],
)
def test_what_a_budget_needs_is_asked_for_by_name(context, message):
    with pytest.raises(UsageError, match=message) as caught:
        lasting(**context)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("capacity", [-1, math.nan, math.inf, "15", True])
def test_a_capacity_that_is_none_is_refused(capacity):
    with pytest.raises(UsageError, match=r"capacity_wh is .*must be in"):
        Budget(capacity_wh=capacity)
