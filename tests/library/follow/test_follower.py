"""A net followed in the background: events, errors, the end, and nothing left behind."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
import traceback
import weakref

import numpy as np
import pytest

import adaspring
from adaspring.errors import UsageError
from adaspring.library.follow.steps import Step
from adaspring.library.sensors.readings import Readings

from ...support.waiting import wait_until


class Machine:
    """Sensors that a test sets, or lets fail."""

    def __init__(self, **readings: object) -> None:
        self.readings = Readings(**readings)
        self.error: BaseException | None = None

    def read(self) -> Readings:
        if self.error is not None:
            raise self.error
        return self.readings


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "adaspring-follow"]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    assert threads() == []
    yield
    gc.collect()
    wait_until(lambda: threads() == [])


def test_the_first_step_is_taken_before_follow_returns(net):
    follower = net.follow(sensors=Machine(), latency_budget_ms=3)
    assert net.variant == "rank4"
    assert follower.running
    assert follower.last.moved
    assert follower.last.context.latency_budget_ms == 3
    assert repr(follower).startswith("<Follower, running: moves from dense to rank4: ")


def test_it_follows_by_itself_what_the_app_says_and_what_the_sensors_say(net):
    budget_ms = [50.0]
    machine = Machine()
    net.follow(sensors=machine, every_s=0.05, dwell_s=0, latency_budget_ms=lambda: budget_ms[0])
    budget_ms[0] = 3
    wait_until(lambda: net.variant == "rank4")
    budget_ms[0] = 5
    wait_until(lambda: net.variant == "rank16")
    machine.readings = Readings(load_ratio=0.5)
    wait_until(lambda: net.variant == "rank4")


def test_a_notice_of_the_app_is_looked_at_at_once(net):
    budget_ms = [50.0]
    follower = net.follow(sensors=Machine(), every_s=3600, latency_budget_ms=lambda: budget_ms[0])
    budget_ms[0] = 3
    follower.notify()
    wait_until(lambda: net.variant == "rank4")
    assert follower.last.events == ("notified",)


def test_a_missed_deadline_is_looked_at_at_once(net):
    follower = net.follow(sensors=Machine(), every_s=3600)
    follower.missed_deadline()
    wait_until(lambda: follower.last.events == ("deadline missed",))


def test_a_call_that_takes_too_long_is_looked_at_at_once(net):
    x = np.ones((2, 48), np.float32)
    follower = net.follow(sensors=Machine(), every_s=3600, latency_budget_ms=1e-7)
    net(x, x)
    wait_until(lambda: follower.last.events == ("deadline missed",))
    follower.close()
    again = net.follow(sensors=Machine(), every_s=3600, latency_budget_ms=1e-7)
    net(x, x)
    wait_until(lambda: again.last.events == ("deadline missed",))


def test_an_unplugged_machine_is_noticed_without_waiting_for_the_next_step(net):
    machine = Machine(on_mains=True, battery_ratio=0.05)
    follower = net.follow(sensors=machine, every_s=3600, dwell_s=0)
    machine.readings = Readings(on_mains=False, battery_ratio=0.05)
    wait_until(lambda: follower.last.events == ("unplugged",))
    assert follower.last.context.battery_ratio == 0.05


def test_a_storm_of_events_is_few_steps_and_the_last_counts(net):
    seen = []
    budget_ms = [50.0]
    follower = net.follow(
        sensors=Machine(),
        every_s=3600,
        latency_budget_ms=lambda: seen.append(1) or budget_ms[0],
    )
    for _ in range(20_000):
        follower.missed_deadline()
    budget_ms[0] = 3
    follower.missed_deadline()
    wait_until(lambda: net.variant == "rank4")
    assert len(seen) < 2000


def test_on_switch_is_called_for_each_move_and_for_nothing_else(net):
    moves: list[Step] = []
    budget_ms = [50.0]
    follower = net.follow(
        sensors=Machine(),
        every_s=3600,
        dwell_s=0,
        on_switch=moves.append,
        latency_budget_ms=lambda: budget_ms[0],
    )
    before = len(moves)
    budget_ms[0] = 3
    follower.notify()
    wait_until(lambda: len(moves) > before)
    last = follower.last
    follower.notify()
    wait_until(lambda: follower.last is not last)
    assert moves[before:] == [last]
    assert (last.switch.to_variant, last.moved) == ("rank4", True)


@pytest.mark.parametrize("error", [OSError("gone"), ValueError("x"), SystemExit(3)])
def test_sensors_that_fail_are_reported_and_the_next_step_is_taken(net, error):
    machine, reported = Machine(), []
    follower = net.follow(sensors=machine, every_s=0.05, on_error=reported.append)
    machine.error = error
    wait_until(lambda: len(reported) >= 2)
    assert follower.last_error is error
    assert follower.running
    machine.error = None
    last = follower.last
    wait_until(lambda: follower.last is not last)
    assert follower.last_error is error  # what went wrong last


def test_what_the_app_says_wrong_later_is_reported_by_its_name(net):
    battery = [0.5]
    follower = net.follow(sensors=Machine(), every_s=0.05, battery_ratio=lambda: battery[0])
    battery[0] = 50
    wait_until(lambda: follower.last_error is not None)
    assert "battery_ratio is 50; it must be in [0, 1]" in str(follower.last_error)
    assert isinstance(follower.last_error, UsageError)


def test_callbacks_that_fail_do_not_end_it(net):
    budget_ms = [50.0]

    def fail(_):
        raise RuntimeError("in the callback")

    follower = net.follow(
        sensors=Machine(),
        every_s=0.05,
        dwell_s=0,
        on_error=fail,
        latency_budget_ms=lambda: budget_ms[0],
    )
    budget_ms[0] = "soon"
    wait_until(lambda: str(follower.last_error) == "in the callback")
    assert "soon" in str(follower.last_error.__context__)
    budget_ms[0] = 3
    wait_until(lambda: net.variant == "rank4")


def test_what_went_wrong_can_still_be_printed_and_holds_no_net(folder):
    machine = Machine()
    net = adaspring.load(folder).open()
    follower = net.follow(sensors=machine, every_s=0.05)
    machine.error = OSError("gone")
    wait_until(lambda: follower.last_error is not None)
    wait_until(lambda: "in read" in "".join(traceback.format_exception(follower.last_error)))
    lost = weakref.ref(net)
    del net
    wait_until(lambda: lost() is None)
    wait_until(lambda: not follower.running)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"every_s": 0}, r"every_s is 0; it must be in \[0.05, 86400\] seconds"),
        ({"every_s": float("nan")}, "every_s is nan"),
        ({"every_s": "1"}, "every_s is '1'"),
        ({"every_s": True}, "every_s is True"),
        ({"dwell_s": -1}, r"dwell_s is -1; it must be in \[0, 86400\] seconds"),
        ({"battery": 0.5}, "a context has no 'battery'; it has battery_ratio"),
        ({"battery_ratio": 50}, "battery_ratio is 50"),
        ({"latency_budget_ms": lambda: "soon"}, "latency_budget_ms is 'soon'"),
        ({"sensors": "day.jsonl"}, "sensors is 'day.jsonl'; give what has read"),
        ({"on_switch": "print"}, "on_switch is 'print'; it must be a function"),
        ({"on_error": 5}, "on_error is 5"),
        ({"metric_floor": 95}, "metric_floor is 95; top1 is a share"),
    ],
)
def test_what_is_wrong_from_the_start_is_refused_at_once(net, given, message):
    with pytest.raises(UsageError, match=message) as caught:
        net.follow(**given)
    assert "\n" not in str(caught.value)
    assert threads() == []


def test_a_net_is_followed_once_at_a_time(net):
    follower = net.follow(sensors=Machine())
    with pytest.raises(UsageError, match="followed already; close that follower first"):
        net.follow(sensors=Machine())
    follower.close()
    assert net.follow(sensors=Machine()).running


def test_closing_ends_the_thread_and_may_be_done_twice(net):
    with net.follow(sensors=Machine()) as follower:
        assert len(threads()) == 1
    assert threads() == []
    assert not follower.running
    follower.close()
    follower.notify()
    follower.missed_deadline()
    assert repr(follower).startswith("<Follower, ended: ")


def test_closing_the_net_ends_it_too(folder):
    net = adaspring.load(folder).open()
    follower = net.follow(sensors=Machine(), every_s=0.05)
    net.close()
    assert threads() == []
    assert (follower.running, follower.last_error) == (False, None)
    with pytest.raises(UsageError, match="this net is closed"):
        net.follow(sensors=Machine())


def test_a_callback_may_close_the_net(folder):
    net = adaspring.load(folder).open()
    budget_ms = [50.0]
    started = threading.Event()

    def close(_):
        if started.is_set():
            net.close()

    follower = net.follow(
        sensors=Machine(),
        every_s=0.05,
        dwell_s=0,
        on_switch=close,
        latency_budget_ms=lambda: budget_ms[0],
    )
    started.set()
    budget_ms[0] = 3
    wait_until(lambda: threads() == [])
    assert (follower.running, follower.last_error) == (False, None)


@pytest.mark.parametrize("keep", [True, False])
def test_a_net_that_the_app_lets_go_of_goes_at_once_and_the_thread_with_it(folder, keep):
    net = adaspring.load(folder).open()
    follower = net.follow(sensors=Machine(), every_s=3600)
    gone, kept = weakref.ref(net), follower if keep else None
    del follower
    gc.disable()
    try:
        del net
        wait_until(lambda: gone() is None)  # without the collector: there is no cycle
    finally:
        gc.enable()
    wait_until(lambda: threads() == [])
    assert kept is None or not kept.running


def test_a_net_in_a_cycle_of_the_apps_own_goes_with_it(folder):
    net = adaspring.load(folder).open()
    net.follow(sensors=Machine(), every_s=3600, calls_per_s=lambda net=net: len(net.variants))
    gone = weakref.ref(net)
    del net
    gc.collect()
    wait_until(lambda: gone() is None)
    wait_until(lambda: threads() == [])


def test_a_step_under_way_when_it_is_closed_moves_nothing_afterwards(net):
    inside, go_on = threading.Event(), threading.Event()

    class Slow(Machine):
        def read(self) -> Readings:
            if threading.current_thread().name == "adaspring-follow":
                inside.set()
                go_on.wait(30)
            return self.readings

    follower = net.follow(sensors=Slow(), every_s=0.05, latency_budget_ms=lambda: 50)
    last = follower.last
    assert inside.wait(30)
    closing = threading.Thread(target=follower.close)
    closing.start()
    wait_until(lambda: not follower.running)
    go_on.set()
    closing.join()
    assert threads() == []
    assert follower.last is last


def test_a_signal_handler_may_notify(net):
    follower = net.follow(sensors=Machine(), every_s=3600)
    before = signal.signal(signal.SIGUSR1, lambda *_: follower.notify())
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        wait_until(lambda: follower.last.events == ("notified",))
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_calls_go_on_while_it_moves(net):
    x = np.ones((2, 48), np.float32)
    budgets = iter([5500, 20_000] * 100_000)
    moves: list[Step] = []
    net.follow(
        sensors=Machine(),
        every_s=0.05,
        dwell_s=0,
        on_switch=moves.append,
        memory_budget_bytes=lambda: next(budgets),
    )
    end = time.monotonic() + 30
    while len(moves) < 6 and time.monotonic() < end:
        logits, hidden = net(x, x)
        assert np.isfinite(logits).all()
        assert hidden.shape == (2, 64)
    assert len(moves) >= 6


def test_a_trace_is_followed(net, tmp_path):
    path = tmp_path / "day.jsonl"
    path.write_text(
        '{"trace_version":1}\n'
        '{"time_s":0,"latency_budget_ms":50}\n'
        '{"time_s":3600,"latency_budget_ms":3}\n'
    )
    replay = adaspring.Replay(path, speed=100_000)
    net.follow(sensors=replay, every_s=0.05)
    wait_until(lambda: net.variant == "rank4")
    assert replay.ended


def test_what_is_followed_can_be_recorded(net, tmp_path):
    with adaspring.Recorder(tmp_path / "day.jsonl", Machine(load_ratio=0.5)) as recorder:
        follower = net.follow(sensors=recorder, every_s=0.05)
        last = follower.last
        wait_until(lambda: follower.last is not last)
        follower.close()
    assert adaspring.Replay(tmp_path / "day.jsonl").read().load_ratio == 0.5
