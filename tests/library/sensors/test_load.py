"""The load: how much longer a call takes for what others do, from counters of a made-up machine."""

from __future__ import annotations

import pytest

from adaspring.library.sensors.load import Load

from ...support.fake_machine import Clock

SECOND = 100  # of /proc/stat


class Watched:
    """A load sensor on a machine whose counters a test moves on."""

    def __init__(self, machine, cpus: int = 1) -> None:
        self.machine, self.clock = machine, Clock()
        self.cpus = [(500, 500)] * cpus
        self.own_s = 3.0
        self.steal = 0
        machine.stat(*self.cpus)
        self.load = Load(
            machine.root,
            clock=self.clock,
            cpus=lambda: range(cpus),
            own_cpu_s=lambda: self.own_s,
        )

    def after(self, *busy_s: float, own_s: float = 0.0, running: int = 1, seconds: float = 1.0):
        """The reading after some seconds in which each processor was busy for `busy_s`."""
        self.clock.now_s += seconds
        self.own_s += own_s
        self.cpus = [
            (busy + round(SECOND * more), idle + round(SECOND * (seconds - more)))
            for (busy, idle), more in zip(self.cpus, busy_s, strict=True)
        ]
        self.machine.stat(*self.cpus, running=running, steal=self.steal)
        return self.load.read()


def test_the_first_reading_knows_no_load(machine):
    assert Watched(machine).load.read() is None


def test_an_idle_machine_adds_nothing_and_neither_do_the_calls_themselves(machine):
    watched = Watched(machine)
    assert watched.after(0.0) == 0.0
    assert watched.after(1.0, own_s=1.0) == 0.0


@pytest.mark.parametrize(("others_s", "ratio"), [(0.2, 0.25), (0.5, 1.0), (0.1, 1 / 9)])
def test_a_stream_of_other_work_adds_what_processor_sharing_says(machine, others_s, ratio):
    assert Watched(machine).after(others_s) == pytest.approx(ratio)
    # and the calls' own share of the time does not change that
    assert Watched(machine).after(others_s + 0.3, own_s=0.3) == pytest.approx(ratio)


@pytest.mark.parametrize("own_s", [0.0, 0.1, 0.5])
def test_one_thread_that_never_ends_takes_every_second_turn(machine, own_s):
    watched = Watched(machine)
    assert watched.after(1.0, own_s=own_s, running=2) == pytest.approx(1.0)


def test_three_threads_that_never_end_take_three_turns_of_four(machine):
    watched = Watched(machine)
    found = [watched.after(1.0, running=4) for _ in range(60)]
    assert found == sorted(found)  # what one moment shows is averaged
    assert found[-1] == pytest.approx(3.0, abs=0.01)


def test_only_processors_that_the_process_may_use_count(machine):
    clock = Clock()
    machine.stat((0, 0), (0, 0))
    load = Load(machine.root, clock=clock, cpus=lambda: [1], own_cpu_s=lambda: 0.0)
    clock.now_s += 1
    machine.stat((SECOND, 0), (0, SECOND))
    assert load.read() == 0.0


def test_what_the_host_takes_from_a_virtual_machine_is_others(machine):
    watched = Watched(machine)
    watched.steal = 25
    assert watched.after(0.0, seconds=0.75) == pytest.approx(1 / 3)


def throttle(machine, throttled_s: float, used_s: float, group: str = "app") -> None:
    text = f"usage_usec {round(1e6 * used_s)}\nthrottled_usec {round(1e6 * throttled_s)}"
    machine.group(group, cpu__stat=text)


@pytest.mark.parametrize("group", ["app", ""])
def test_a_group_that_waits_as_long_as_it_runs_takes_twice_as_long(machine, group):
    machine.write("proc/self/cgroup", "0::/app")
    throttle(machine, 5.0, 7.0, group)
    watched = Watched(machine)
    throttle(machine, 5.5, 7.5, group)
    assert watched.after(0.5, own_s=0.5) == pytest.approx(1.0)
    throttle(machine, 6.0, 8.0, group)
    assert watched.after(0.75, own_s=0.5) == pytest.approx(2 * 4 / 3 - 1)  # and others besides


def test_throttling_of_a_group_that_hardly_ran_says_nothing(machine):
    machine.write("proc/self/cgroup", "0::/app")
    throttle(machine, 0.0, 0.0)
    watched = Watched(machine)
    throttle(machine, 1.0, 0.0005)
    assert watched.after(0.0) == 0.0


def test_it_is_never_more_than_a_context_takes(machine):
    machine.write("proc/self/cgroup", "0::/app")
    throttle(machine, 0.0, 0.0)
    watched = Watched(machine)
    throttle(machine, 900.0, 1.0)
    assert watched.after(1.0, running=900) == 10.0


def test_readings_in_quick_succession_are_one(machine):
    watched = Watched(machine)
    assert watched.after(0.5) == pytest.approx(1.0)
    assert watched.after(0.1, seconds=0.1) == pytest.approx(1.0)


def test_an_average_over_more_than_a_minute_is_not_of_now(machine):
    watched = Watched(machine)
    assert watched.after(30.0, seconds=61.0) is None
    assert watched.after(0.5) == pytest.approx(1.0)


def test_in_a_forks_child_whose_own_time_begins_anew_it_is_not_known_at_first(machine):
    watched = Watched(machine)
    assert watched.after(0.5, own_s=-2.9) is None
    assert watched.after(0.5) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "text",
    ["", "cpu0 1 2 3", "cpu0 1 2 3 4 5 6 7 x\nprocs_running 1", "cpu0 1 0 0 1 0 0 0 0",
     "cpu0 0 0 0 0 0 0 0 0\nprocs_running 1", "cpu0 1 0 0 1 0 0 0 0\nprocs_running -1"],
)  # fmt: skip
def test_counters_that_are_missing_or_go_backwards_are_none(machine, text):
    watched = Watched(machine)
    machine.write("proc/stat", text)
    watched.clock.now_s += 1
    assert watched.load.read() is None


def test_a_processor_that_is_taken_away_leaves_nothing_known(machine):
    watched = Watched(machine, cpus=2)
    machine.stat((600, 600))
    watched.clock.now_s += 1
    assert watched.load.read() is None
