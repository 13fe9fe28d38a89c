"""Files of /proc and /sys: whatever lies there, reading ends at once and raises nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adaspring.library.sensors.battery import Battery, BatteryState
from adaspring.library.sensors.cgroups import find_groups, pressure_ratio
from adaspring.library.sensors.files import names_in, read_table, read_text, read_whole, whole
from adaspring.library.sensors.sensors import Sensors

from ...support import hostile
from ...support.fake_machine import CPU, GROUPS, SUPPLY, Clock, FakeMachine

quick = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
FILES = (
    f"{SUPPLY}/BAT0/type",
    f"{SUPPLY}/BAT0/status",
    f"{SUPPLY}/BAT0/capacity",
    f"{SUPPLY}/BAT0/energy_now",
    f"{SUPPLY}/BAT0/voltage_now",
    f"{SUPPLY}/AC/online",
    "proc/meminfo",
    "proc/stat",
    "proc/self/cgroup",
    "proc/pressure/memory",
    f"{GROUPS}/app/memory.max",
    f"{GROUPS}/app/memory.current",
    f"{GROUPS}/app/memory.stat",
    f"{GROUPS}/app/cpu.stat",
    f"{CPU}/cpu0/cpufreq/scaling_max_freq",
    f"{CPU}/cpu0/cpufreq/cpuinfo_max_freq",
    "sys/class/thermal/thermal_zone0/type",
    "sys/class/thermal/thermal_zone0/temp",
)


def whole_machine(machine: FakeMachine) -> None:
    """Every file that a sensor reads, each with something that can be."""
    machine.battery(capacity=50, energy_now=20_000_000, energy_full=40_000_000, voltage_now=1)
    machine.supply("AC", type="Mains", online=0)
    machine.meminfo(400_000)
    machine.stat((100, 900), running=2)
    machine.write("proc/self/cgroup", "0::/app")
    machine.write("proc/pressure/memory", "some avg10=1.50 avg60=0.00 avg300=0.00 total=5")
    machine.group("app", memory__max=100_000_000, memory__current=60_000_000)
    machine.group("app", memory__stat="inactive_file 10000000", cpu__stat="usage_usec 5")
    machine.clock(0, cpuinfo_max_freq=2_000_000, scaling_max_freq=1_000_000)
    machine.write("sys/class/thermal/thermal_zone0/type", "cpu-thermal")
    machine.write("sys/class/thermal/thermal_zone0/temp", 61_500)


def sensors(machine: FakeMachine, clock: Clock | None = None) -> Sensors:
    return Sensors(machine.root, clock=clock or Clock(), cpus=lambda: {0}, own_cpu_s=lambda: 0.0)


def test_all_that_a_machine_says_is_read(machine):
    whole_machine(machine)
    clock = Clock()
    of_machine = sensors(machine, clock)
    clock.now_s += 1
    machine.stat((150, 950), running=2)
    found = of_machine.read()
    assert (found.battery_ratio, found.on_mains, found.battery_energy_mj) == (
        0.5,
        False,
        72_000_000,
    )
    assert found.available_memory_bytes == 50_000_000
    assert found.memory_pressure_ratio == pytest.approx(0.015)
    assert found.load_ratio == pytest.approx(1.0)  # half of the time is others'
    assert (found.slowdown_ratio, found.temperature_c) == (2.0, 61.5)


def test_an_empty_machine_says_nothing(machine):
    found = sensors(machine).read()
    assert [getattr(found, name) for name in found.__struct_fields__] == [None] * 8


@pytest.mark.parametrize("kind", [*hostile.KINDS, "empty", "binary", "missing"])
@pytest.mark.parametrize("path", FILES)
def test_whatever_is_in_a_files_place_ends_at_once_and_the_rest_is_read(machine, path, kind):
    whole_machine(machine)
    file = machine.root / path
    if kind in hostile.KINDS:
        hostile.put(file, kind)
    elif kind == "missing":
        file.unlink()
    else:
        file.write_bytes(b"" if kind == "empty" else bytes(range(256)) * 9)
    found = sensors(machine).read()
    known = [getattr(found, name) is not None for name in found.__struct_fields__]
    assert sum(known) >= 3


@pytest.mark.parametrize("path", [SUPPLY, "sys/class/thermal", GROUPS, "proc", CPU])
@pytest.mark.parametrize("kind", ["pipe", "device", "loop", "socket", "sparse"])
def test_whatever_is_in_a_folders_place_ends_at_once(machine, path, kind):
    whole_machine(machine)
    (machine.root / path).rename(machine.root / "away")
    hostile.put(machine.root / path, kind)
    sensors(machine).read()


@quick
@given(content=st.binary(max_size=300), path=st.sampled_from(FILES))
def test_no_content_of_any_file_raises(machine, content, path):
    whole_machine(machine)
    machine.write(path, content)
    clock = Clock()
    of_machine = sensors(machine, clock)
    clock.now_s += 1
    of_machine.read()


@quick
@given(
    names=st.lists(
        st.sampled_from(["some", "full", "avg10=", "avg10=5.0", "avg10=-1", "avg10=nan", "=", ":",
                         "0::/", "0::/a/../..", "3:memory:/x", "cpu0", "9" * 30, "-5", "kB", "\n",
                         "MemAvailable:", "procs_running", "٣", "1_0", "inf"]),
        max_size=12,
    ),
    path=st.sampled_from(FILES),
)  # fmt: skip
def test_no_arrangement_of_the_words_that_occur_raises(machine, names, path):
    whole_machine(machine)
    machine.write(path, " ".join(names))
    sensors(machine).read()


@pytest.mark.parametrize(
    ("text", "number"),
    [("5\n", 5), (" -3 ", None), ("٣", None), ("1_000", None), ("0x10", None), ("", None),
     ("1e3", None), ("9" * 5000, None), ("5 5", None), (None, None)],
)  # fmt: skip
def test_a_whole_number_is_digits_alone_and_in_the_range(text, number):
    assert whole(text) == number


def test_a_number_out_of_the_range_is_none(machine):
    path = str(machine.write("n", -7))
    assert (read_whole(path), read_whole(path, -10)) == (None, -7)


@pytest.mark.parametrize("name", ["\0", "a" * 300, "\ud800", "no/such"])
def test_a_name_that_no_file_has_reads_as_nothing(tmp_path, name):
    assert read_text(f"{tmp_path}/{name}") is None
    assert read_table(f"{tmp_path}/{name}") == {}
    assert names_in(f"{tmp_path}/{name}") == []


def test_a_driver_that_fails_while_it_is_read_says_nothing(machine, monkeypatch):
    path = str(machine.write("capacity", 50))

    def fails(*_):
        raise OSError(19, "No such device")

    monkeypatch.setattr(os, "read", fails)
    assert read_text(path) is None


def test_reading_leaves_no_file_open(machine):
    whole_machine(machine)
    hostile.put(machine.root / FILES[2], "sparse")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        sensors(machine).read()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_battery_that_goes_while_the_folder_is_read_is_not_there(machine):
    (machine.root / SUPPLY).mkdir(parents=True)
    (machine.root / SUPPLY / "BAT0").symlink_to("gone")
    machine.battery("BAT1", capacity=30)
    assert Battery(machine.root).read() == BatteryState(battery_ratio=0.3, on_mains=False)


@pytest.mark.parametrize("path", ["/../../etc", "/a/../b", "/" + "x/" * 100])
def test_a_groups_path_never_leads_out_of_the_tree(machine, path):
    machine.write("proc/self/cgroup", f"0::{path}")
    assert find_groups(machine.root).unified == (f"{machine.root}/sys/fs/cgroup",)


@pytest.mark.parametrize(
    ("text", "ratio"),
    [("some avg10=12.50 avg60=1", 0.125), ("some avg10=100.00", 1.0), ("some avg10=100.01", None),
     ("some avg10=-1", None), ("some avg10=nan", None), ("some avg10=1e1", None), ("some", None),
     ("full avg10=5.00", None), ("full avg10=5.00\nsome avg10=7.00", 0.07), ("some avg10=", None),
     ("some avg10=.", None), ("some avg60=5.00 avg10=5.00", None)],
)  # fmt: skip
def test_pressure_is_the_share_of_ten_seconds_or_nothing(machine, text, ratio):
    assert pressure_ratio(str(machine.write("pressure", text))) == ratio
