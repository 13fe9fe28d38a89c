"""All sensors together, and contexts of what they read."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import adaspring
from adaspring.errors import UsageError
from adaspring.library.sensors.readings import Readings

from ...support.fake_machine import Clock


class Fixed:
    """A source that always reads the same."""

    def __init__(self, **readings: object) -> None:
        self.readings = Readings(**readings)

    def read(self) -> Readings:
        return self.readings


def test_this_machine_is_read_without_an_error():
    found = adaspring.Sensors().read()
    assert found.available_memory_bytes is None or found.available_memory_bytes > 0
    context = adaspring.Context.now()
    assert (context.latency_budget_ms, context.metric_floor, context.shapes) == (None, None, None)


def test_a_context_of_now_is_what_the_sensors_read():
    source = Fixed(battery_ratio=0.4, on_mains=False, available_memory_bytes=1e6, load_ratio=0.5)
    assert adaspring.Context.now(sensors=source) == adaspring.Context(
        battery_ratio=0.4, memory_budget_bytes=1e6, load_ratio=0.5
    )


@pytest.mark.parametrize(("on_mains", "ratio"), [(True, None), (False, 0.4), (None, 0.4)])
def test_on_mains_the_battery_is_no_concern_and_unknown_is_not_mains(on_mains, ratio):
    source = Fixed(battery_ratio=0.4, on_mains=on_mains)
    assert adaspring.Context.now(sensors=source).battery_ratio == ratio


@pytest.mark.parametrize(
    ("load", "slowdown", "together"),
    [(None, None, None), (0.5, None, 0.5), (None, 1.5, 0.5), (0.5, 2.0, 2.0), (9.0, 9.0, 10.0)],
)
def test_heat_and_load_multiply(load, slowdown, together):
    source = Fixed(load_ratio=load, slowdown_ratio=slowdown)
    assert adaspring.Context.now(sensors=source).load_ratio == together


def test_what_the_app_says_itself_counts_none_too():
    source = Fixed(battery_ratio=0.4, load_ratio=0.5, available_memory_bytes=5)
    context = adaspring.Context.now(
        sensors=source, battery_ratio=None, load_ratio=np.float32(2), latency_budget_ms=5
    )
    assert context == adaspring.Context(memory_budget_bytes=5, load_ratio=2, latency_budget_ms=5)


def test_an_unknown_field_lists_the_known_ones():
    with pytest.raises(UsageError, match=r"no 'battery'; it has battery_ratio, latency_budget_ms"):
        adaspring.Context.now(battery=0.5)


def test_a_value_of_the_apps_out_of_range_is_refused_by_its_name():
    with pytest.raises(UsageError, match=r"battery_ratio is 1\.5"):
        adaspring.Context.now(battery_ratio=1.5)


@pytest.mark.parametrize("sensors", ["day.jsonl", 5, adaspring.Sensors, {}])
def test_what_cannot_be_read_is_refused_with_an_example(sensors):
    with pytest.raises(UsageError, match=r'read\(\), for example adaspring.Replay\("day.jsonl"\)'):
        adaspring.Context.now(sensors=sensors)


def test_a_source_that_reads_something_else_is_named():
    with open(os.devnull) as file, pytest.raises(UsageError, match=r"\.read\(\) gave ''; it must"):
        adaspring.Context.now(sensors=file)


def test_what_is_slow_to_read_is_read_twice_a_second_at_most(machine):
    clock = Clock()
    sensors = adaspring.Sensors(machine.root, clock=clock, cpus=lambda: {0})
    machine.battery(capacity=50)
    assert sensors.read().battery_ratio == 0.5
    machine.battery(capacity=40)
    clock.now_s += 0.4
    assert sensors.read().battery_ratio == 0.5
    clock.now_s += 0.2
    assert sensors.read().battery_ratio == 0.4


def test_an_app_that_reads_its_sensors_loads_neither_the_compiler_nor_psutil():
    code = (
        "import sys, adaspring; adaspring.Context.now(); adaspring.Sensors; adaspring.Replay; "
        "sys.exit(bool({'tvm', 'torch', 'psutil'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
