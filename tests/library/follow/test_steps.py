"""When a followed net may move, step by step, at times that the tests set."""

from __future__ import annotations

import json
import math
import random
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import adaspring
from adaspring.errors import UsageError
from adaspring.library.context import Context
from adaspring.library.follow.looker import Looker
from adaspring.library.follow.notices import Notices
from adaspring.library.follow.settings import Settings
from adaspring.library.follow.steps import MISSED, NOTIFIED, PRESSURE, TIME, UNPLUGGED, Step, Steps
from adaspring.library.follow.strictest import Window, stricter
from adaspring.library.sensors.readings import Readings

from ...support.fake_machine import Clock

DWELL_S = 10.0
EASY, TIGHT = Context(latency_budget_ms=100), Context(latency_budget_ms=3)


class Walk:
    """Takes steps on a net, a second apart unless told otherwise."""

    def __init__(self, net: adaspring.Net, dwell_s: float = DWELL_S) -> None:
        self.net, self.at_s = net, 0.0
        self.steps = Steps(dwell_s)
        self.moves: list[Step] = []

    def step(self, context: Context, *events: str, seconds: float = 1.0) -> Step:
        self.at_s += seconds
        step = self.steps.take(self.net, self.at_s, context, events or (TIME,))
        self.moves += [step] if step.moved else []
        return step


@pytest.fixture
def walk(net) -> Walk:
    return Walk(net)


def test_a_broken_constraint_moves_it_at_once_and_says_which(walk):
    assert walk.net.variant == "dense"
    step = walk.step(TIGHT)
    assert step.moved
    said = f"moves from dense to rank4: dense breaks latency; {step.switch.reason}"
    assert step.reason == said
    assert (step.context, step.events, step.at_s) == (TIGHT, (TIME,), 1.0)


def test_a_better_variant_has_to_wait_and_the_reason_says_for_what(walk):
    walk.step(TIGHT)
    step = walk.step(EASY)
    assert step.switch is None
    assert step.reason == (
        "stays on rank4: moved 1 s ago, and within 10 s only a broken constraint moves it"
    )
    for _ in range(20):
        walk.step(EASY)
    assert [step.switch.to_variant for step in walk.moves][:1] == ["rank4"]
    assert walk.net.variant != "rank4"
    assert walk.moves[1].at_s - walk.moves[0].at_s == pytest.approx(DWELL_S, abs=1)
    assert walk.moves[1].reason.startswith("moves from rank4 to ")


def test_a_broken_constraint_moves_it_within_the_dwell_time_too(walk):
    walk.step(Context(latency_budget_ms=5))
    assert walk.net.variant == "rank16"
    assert walk.step(TIGHT).moved
    assert walk.net.variant == "rank4"


def test_budgets_that_swing_faster_than_the_dwell_time_move_it_once(walk):
    for second in range(1000):
        walk.step(TIGHT if second % 2 else EASY)
    assert len(walk.moves) == 1


@pytest.mark.parametrize("period_s", [2, 5, 9])
def test_load_that_swings_moves_it_once(walk, period_s):
    for second in range(500):
        load = 4.0 if second % period_s == 0 else 0.0
        walk.step(Context(latency_budget_ms=20, load_ratio=load))
    assert len(walk.moves) <= 2  # what nothing asks for, first, then what the load does


def test_a_battery_at_a_threshold_moves_it_at_most_twice(walk):
    generator = random.Random(0)
    for _ in range(1000):
        walk.step(Context(battery_ratio=0.5 + generator.uniform(-0.02, 0.02)))
    assert len(walk.moves) <= 2


def test_a_plug_that_swings_moves_it_at_most_twice(walk):
    for second in range(1000):
        battery = 0.05 if second % 2 else None
        walk.step(Context(battery_ratio=battery), UNPLUGGED)
    assert len(walk.moves) <= 2


def test_what_nothing_can_meet_does_not_make_it_flap(walk):
    for second in range(500):
        walk.step(Context(latency_budget_ms=0.01 if second % 2 else 50))
    assert len(walk.moves) <= 2


def test_two_constraints_that_alternate_find_what_meets_both(walk):
    fast, small = Context(latency_budget_ms=3), Context(memory_budget_bytes=5500)
    for second in range(500):
        walk.step(fast if second % 2 else small)
    assert len(walk.moves) == 1
    assert walk.net.variant == "rank4"


def test_without_a_dwell_time_each_step_counts_for_itself(net):
    walk = Walk(net, dwell_s=0)
    for _ in range(5):
        walk.step(TIGHT)
        walk.step(EASY)
    assert len(walk.moves) >= 9


@pytest.mark.parametrize("event", [MISSED, PRESSURE])
def test_an_event_moves_it_at_once_to_what_eases_it_and_to_nothing_else(walk, event):
    walk.net.use("rank4")
    assert walk.step(EASY).moved
    empty = Context(battery_ratio=0.01)
    assert not walk.step(empty).moved  # within the dwell time
    eased = walk.step(empty, event)
    assert eased.reason.startswith(f"moves from dense to rank16: {event}; ")
    # dense would be better again, and takes more of what there is too little of
    assert not walk.step(EASY, event).moved


def test_a_notice_is_looked_at_and_the_dwell_time_holds(walk):
    walk.step(TIGHT)
    step = walk.step(Context(latency_budget_ms=100, battery_ratio=0.5), NOTIFIED)
    assert (step.switch, step.events) == (None, (NOTIFIED,))


def test_a_step_that_changes_nothing_says_what_the_policy_said(walk):
    walk.step(TIGHT)
    for _ in range(30):
        step = walk.step(TIGHT)
    assert step.switch is None
    assert step.reason == f"stays on rank4: {walk.net.preview(TIGHT).reason}"


def test_what_would_be_better_now_and_was_not_within_the_dwell_time_is_named(walk):
    for _ in range(20):
        walk.step(TIGHT)
    step = walk.step(EASY)
    assert step.switch is None
    assert step.reason == (
        "stays on rank4: dense would be better now, but rank4 for what there was within the last "
        "10 s"
    )


def test_each_step_has_a_reason(walk):
    generator = random.Random(1)
    for _ in range(300):
        context = Context(
            battery_ratio=generator.choice([None, 0.1, 0.9]),
            latency_budget_ms=generator.choice([None, 1, 3, 5, 50]),
            load_ratio=generator.choice([None, 0, 1]),
            metric_floor=generator.choice([None, 0.5, 0.97]),
        )
        step = walk.step(context)
        assert walk.net.variant in step.reason
        assert step.moved == step.reason.startswith("moves from ")


def test_a_net_tells_what_its_variant_breaks_and_what_would_be_chosen_and_stays(net):
    def broken(context: Context) -> tuple[str, ...]:
        return net.judge(context).relaxed

    assert broken(EASY) == ()
    assert broken(Context(latency_budget_ms=10, load_ratio=0.1)) == ("latency",)
    assert set(broken(Context(latency_budget_ms=1, memory_budget_bytes=1))) == {"latency", "memory"}
    assert broken(Context(metric_floor=0.98)) == ()
    assert net.judge(EASY).predicted.latency_ms == 10
    assert net.preview(TIGHT).variant == "rank4"
    assert net.variant == net.judge(EASY).variant == "dense"
    net.use("rank4")
    assert broken(Context(metric_floor=0.97)) == ("metric",)
    with pytest.raises(UsageError, match="metric_floor is 97"):
        net.judge(Context(metric_floor=97))


def test_after_a_move_to_what_is_cautious_late_calls_are_late_for_what_is_wanted_now(walk):
    late, x = [], np.ones((2, 48), np.float32)
    walk.net.on_late(late.append)
    walk.step(Context(latency_budget_ms=1e-7, memory_budget_bytes=9000))  # no call can be in time
    walk.net(x, x)
    assert len(late) == 1
    walk.step(Context(latency_budget_ms=1e5, memory_budget_bytes=5500))
    walk.net(x, x)
    assert len(late) == 1


def test_the_window_forgets_what_is_older_than_the_dwell_time():
    window = Window(10)
    assert window.add(0, TIGHT) == TIGHT
    assert window.add(9, EASY) == TIGHT
    assert window.add(10.1, EASY) == EASY


def test_the_window_stays_small_however_often_it_is_looked_at():
    window = Window(10)
    for number in range(10_000):
        found = window.add(number / 1000, Context(latency_budget_ms=10_000 - number))
    assert found.latency_budget_ms == 1
    assert window.add(100, EASY) == EASY


maybe = st.none() | st.floats(0, 10)


@given(
    one=st.builds(Context, latency_budget_ms=maybe, load_ratio=maybe),
    other=st.builds(Context, latency_budget_ms=maybe, load_ratio=maybe),
)
def test_the_stricter_of_two_allows_a_call_no_more_than_either(one, other):
    def allowed(context: Context) -> float:
        if context.latency_budget_ms is None:
            return math.inf
        return context.latency_budget_ms / (1 + (context.load_ratio or 0))

    assert allowed(stricter(one, other)) == min(allowed(one), allowed(other))


def test_the_stricter_has_the_lower_battery_and_memory_and_the_rest_of_now():
    before = Context(battery_ratio=0.2, memory_budget_bytes=None, metric_floor=0.9, calls_per_s=1)
    now = Context(battery_ratio=None, memory_budget_bytes=7, metric_floor=0.5, calls_per_s=9)
    found = Context(battery_ratio=0.2, memory_budget_bytes=7, metric_floor=0.5, calls_per_s=9)
    assert stricter(before, now) == found


def notices(*readings: Readings) -> list[tuple[str, ...]]:
    noticing = Notices()
    return [noticing.of(one) for one in readings]


def test_a_plug_is_noticed_when_it_is_pulled_or_put_in_and_not_when_it_is_unknown():
    states = (True, True, False, None, False, True, None, None, False)
    assert notices(*(Readings(on_mains=state) for state in states)) == [
        (), (), ("unplugged",), (), (), ("plugged in",), (), (), ("unplugged",)
    ]  # fmt: skip


def test_memory_that_swings_about_short_is_one_event():
    ratios = (0.0, 0.11, 0.09, 0.12, None, 0.06, 0.04, 0.2)
    found = notices(*(Readings(memory_pressure_ratio=ratio) for ratio in ratios))
    assert [bool(events) for events in found] == [
        False, True, False, False, False, False, False, True
    ]  # fmt: skip


def day(path, hours: int = 24) -> None:
    """A made day: the battery falls, is charged at noon; load and heat come and go by minutes."""
    generator = random.Random(3)
    lines = ['{"trace_version":1}']
    for minute in range(60 * hours):
        charging = 720 <= minute < 780
        moment = {
            "time_s": 60.0 * minute,
            "battery_ratio": max(0.02, 1 - minute / 1500),
            "on_mains": charging,
            "load_ratio": generator.choice([0.0, 0.1, 0.2, 2.5]),
            "slowdown_ratio": 1.5 if minute % 200 > 150 else 1.0,
            "available_memory_bytes": generator.choice([2e4, 1e6]),
            "memory_pressure_ratio": 0.2 if minute % 300 == 299 else 0.0,
            "latency_budget_ms": 30.0 if minute % 240 < 200 else 9.0,
        }
        lines.append(json.dumps(moment))
    path.write_text("\n".join(lines) + "\n")


def test_a_day_is_played_in_no_time_and_no_constraint_that_could_be_met_is_left_broken(
    net, folder, tmp_path
):
    day(tmp_path / "day.jsonl")
    clock = Clock(0.0)
    replay = adaspring.Replay(tmp_path / "day.jsonl", clock=clock)
    steps: list[Step] = []
    moved: list[Step] = []
    settings = Settings(sensors=replay, every_s=60, dwell_s=600, on_switch=moved.append)
    manifest = adaspring.load(folder).manifest
    looker = Looker(weakref.ref(net), (manifest,), settings, clock)
    while not replay.ended:
        looker.look()
        if not steps or looker.last is not steps[-1]:
            steps.append(looker.last)
        now = looker.last.context
        assert net.preview(now).relaxed or not net.judge(now).relaxed
        clock.now_s += 20
    assert len(steps) >= 1439
    assert {event for step in steps for event in step.events} == {
        "time", "unplugged", "plugged in", "memory pressure"
    }  # fmt: skip
    assert moved == [step for step in steps if step.moved]
    assert 1 <= len(moved) <= 40  # load alone swings a thousand times


def test_what_the_variant_in_place_holds_counts_as_memory_that_it_may_use(net, folder):
    class Available:
        def read(self) -> Readings:
            return Readings(available_memory_bytes=1500)

    manifest = adaspring.load(folder).manifest
    looker = Looker(weakref.ref(net), (manifest,), Settings(sensors=Available(), dwell_s=0))
    looker.look()
    assert looker.last.context.memory_budget_bytes == 9500
    assert net.variant == "dense"  # moving away and back again for its own memory would be to flap


def test_a_looker_looks_no_more_when_it_is_closed_or_its_net_is_gone(net, folder):
    manifest = adaspring.load(folder).manifest
    lost = adaspring.load(folder).open()
    looker = Looker(weakref.ref(lost), (manifest,), Settings())
    del lost
    looker.look(["notified"])
    assert looker.last is None
    looker = Looker(weakref.ref(net), (manifest,), Settings())
    looker.closed = True
    looker.look(["notified"])
    assert looker.last is None
