"""What is remembered of calls is bounded, and each variant's stays its own."""

import numpy as np
import pytest

from adaspring.cli.watch.history import SHOWN_S, History
from adaspring.library.live.hooks import Call
from adaspring.library.net import Switch
from adaspring.library.policies import Predicted

UNKNOWN = Predicted(metric=None, latency_ms=None, energy_mj=None, memory_bytes=None)


class Clock:
    now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def history(clock):
    return History(clock)


def call(latency_ms, variant="dense", budget_ms=None):
    return Call(variant=variant, latency_ms=latency_ms, latency_budget_ms=budget_ms, reason="")


def switch(to):
    return Switch(
        from_variant="dense", variant=to, reason="because", relaxed=(), unchecked=(), missed=(),
        predicted=UNKNOWN, decide_us=1.0, switch_ms=0.0,
    )  # fmt: skip


def test_calls_of_a_tenth_of_a_second_are_one_point(history, clock):
    times_ms = np.random.default_rng(0).exponential(size=101)
    for latency_ms in times_ms:
        history.called(call(latency_ms, budget_ms=2.0))
    clock.now_s += 1
    ((age_s, variant, p50_ms, worst_ms, count, budget_ms),) = history.drawn()["moments"]
    assert 0.9 <= age_s <= 1.1
    assert (variant, count, budget_ms) == ("dense", 101, 2.0)
    assert p50_ms == pytest.approx(np.median(times_ms))
    assert worst_ms == times_ms.max()
    found = history.measured()
    assert found["p90_ms"] == pytest.approx(np.percentile(times_ms, 90))
    assert found["late_count"] == (times_ms > 2.0).sum()


def test_another_variant_and_another_deadline_begin_another_point(history):
    for each in (call(1), call(2, "int8"), call(3, "int8", 5.0), call(4, "int8", 5.0)):
        history.called(each)
    found = [(m[1], m[4], m[5]) for m in history.drawn()["moments"]]
    assert found == [("dense", 1, None), ("int8", 1, None), ("int8", 2, 5.0)]


def test_a_switch_forgets_what_the_variant_before_took(history):
    history.called(call(9.0))
    history.switched(switch("int8"))
    assert history.measured() == {
        "calls_count": 0, "late_count": 0, "p50_ms": None, "p90_ms": None,
    }  # fmt: skip
    history.called(call(1.0, "int8"))
    assert history.measured()["p50_ms"] == 1.0
    (drawn,) = history.drawn()["switches"]
    assert (drawn["from_variant"], drawn["to_variant"]) == ("dense", "int8")
    assert drawn["reason"] == "because"


def test_a_day_of_calls_and_switches_is_bounded(history, clock):
    for index in range(5000):
        clock.now_s += 0.05
        history.called(call(1.0, str(index % 2)))
        history.switched(switch(str(index)))
    drawn = history.drawn()
    assert len(drawn["moments"]) <= 600
    assert all(moment[0] <= SHOWN_S for moment in drawn["moments"])
    assert [each["to_variant"] for each in drawn["switches"]][-1] == "4999"
    assert len(drawn["switches"]) == 50
    clock.now_s += SHOWN_S + 1
    assert history.drawn()["moments"] == []
