"""A net that is followed gives up what it does not run once memory is short."""

from __future__ import annotations

import json
import math
import weakref

import numpy as np
import pytest

import adaspring
from adaspring.errors import UsageError
from adaspring.library.follow.looker import Looker
from adaspring.library.follow.notices import Notices
from adaspring.library.follow.settings import Settings
from adaspring.library.sensors.readings import Readings

SHORT, PLENTY = Readings(memory_pressure_ratio=0.2), Readings(memory_pressure_ratio=0.0)


class Machine:
    """Sensors that a test sets."""

    def __init__(self, readings: Readings) -> None:
        self.readings = readings

    def read(self) -> Readings:
        return self.readings


@pytest.fixture
def library(folder):
    with adaspring.load(folder) as library:
        yield library


@pytest.fixture
def net(library):
    with library.open() as net:
        yield net


def call(net: adaspring.Net) -> tuple[np.ndarray, ...]:
    return net(*(np.ones(spec.shape, spec.dtype) for spec in net.inputs))


@pytest.fixture
def looks(library, net):
    def made(machine: Machine, **own: object) -> Looker:
        settings = Settings(sensors=machine, dwell_s=0, every_s=0.05, own=own)
        return Looker(weakref.ref(net), (library.manifest,), settings)

    return made


@pytest.mark.parametrize("readings", [SHORT, Readings(available_memory_bytes=63e6)])
def test_what_does_not_run_is_dropped_and_what_runs_goes_on(library, net, looks, readings):
    machine = Machine(PLENTY)
    looker = looks(machine, memory_budget_bytes=None)
    before, expected = library.weights_bytes, call(net)
    looker.look(["notified"])
    assert library.weights_bytes == before
    machine.readings = readings
    looker.look()
    assert looker.last.events == ("memory pressure",)
    assert looker.last.reason.endswith("; memory is short: what does not run is dropped")
    assert library.weights_bytes < before
    np.testing.assert_equal(call(net), expected)
    net.use("rank4")
    assert [one.shape for one in call(net)] == [one.shape for one in expected]


def test_it_is_dropped_once_and_again_after_a_move_until_there_is_memory(net, looks, monkeypatch):
    dropped: list[str] = []
    monkeypatch.setattr(net, "drop_unused", lambda: dropped.append(net.variant))
    budget_ms = [50.0]
    machine = Machine(SHORT)
    looker = looks(machine, latency_budget_ms=lambda: budget_ms[0])
    for _ in range(3):
        looker.look(["notified"])
    assert dropped == ["dense"]
    budget_ms[0] = 3.0
    for _ in range(3):
        looker.look(["notified"])
    assert dropped == ["dense", "rank4"]
    machine.readings = PLENTY
    looker.look(["notified"])
    budget_ms[0] = 50.0
    looker.look(["notified"])
    assert dropped == ["dense", "rank4"]
    machine.readings = SHORT
    looker.look()
    assert dropped == ["dense", "rank4", net.variant]


def test_of_a_closed_library_nothing_is_dropped_and_the_step_says_so(library, net, looks):
    machine = Machine(SHORT)
    before = library.weights_bytes
    library.close()
    looker = looks(machine)
    looker.look(["notified"])
    assert "what does not run is kept, since the library is closed" in looker.last.reason
    assert library.weights_bytes == before
    net.use("rank4")


def test_a_follower_does_it_by_itself_and_a_trace_can_tell_it_to(library, net, tmp_path):
    lines = [{"trace_version": 1}, {"time_s": 0.0, "available_memory_bytes": 1e6}]
    (tmp_path / "short.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    before = library.weights_bytes
    replay = adaspring.Replay(tmp_path / "short.jsonl")
    with net.follow(sensors=replay, memory_budget_bytes=None) as follower:
        assert "memory is short" in follower.last.reason
        assert library.weights_bytes < before
        assert follower.last_error is None


def test_memory_is_short_until_there_is_a_quarter_more():
    noticing = Notices(100.0)
    found = []
    for left in (101, 99, 110, 124, 125, 110, 99, None):
        noticing.of(Readings(available_memory_bytes=left))
        found.append(noticing.is_memory_short)
    assert found == [False, True, True, True, False, False, True, True]


def test_where_nothing_is_known_of_memory_it_is_not_short():
    noticing = Notices(64e6)
    assert noticing.of(Readings()) == ()
    assert not noticing.is_memory_short


@pytest.mark.parametrize("value", [-1, math.nan, math.inf, "64 MB", None, True])
def test_a_limit_that_is_none_is_refused(net, value):
    with pytest.raises(UsageError, match=r"low_memory_bytes is .*; it must be in \[0, 1e\+18\]"):
        net.follow(sensors=Machine(PLENTY), low_memory_bytes=value)
