"""How much slower the processors are than they can be, and how hot they are."""

from __future__ import annotations

import pytest

from adaspring.library.sensors.heat import Slowdown, Temperature

from ...support.fake_machine import Clock

GHZ = 1_000_000  # in kHz


def slowdown(machine, *cpus: int) -> float | None:
    return Slowdown(machine.root, clock=Clock(), cpus=lambda: cpus or (0, 1)).read()


def test_without_frequencies_nothing_is_known(machine):
    assert slowdown(machine) is None


def test_at_its_full_limit_a_processor_is_not_slow_though_it_idles(machine):
    machine.clock(0, cpuinfo_max_freq=2 * GHZ, scaling_max_freq=2 * GHZ, scaling_cur_freq=GHZ // 5)
    assert slowdown(machine) == 1.0


def test_half_the_frequency_is_twice_the_time(machine):
    machine.clock(0, cpuinfo_max_freq=2 * GHZ, scaling_max_freq=GHZ)
    assert slowdown(machine) == 2.0


def test_the_firmwares_limit_counts_too(machine):
    machine.clock(0, cpuinfo_max_freq=3 * GHZ, scaling_max_freq=2 * GHZ, bios_limit=GHZ)
    assert slowdown(machine) == 3.0


def test_of_cores_of_two_sizes_the_big_ones_count(machine):
    for cpu in range(4):
        machine.clock(cpu, cpuinfo_max_freq=GHZ, scaling_max_freq=GHZ // 4, related_cpus="0 1 2 3")
    for cpu in range(4, 8):
        machine.clock(cpu, cpuinfo_max_freq=2 * GHZ, scaling_max_freq=GHZ, related_cpus="4 5 6 7")
    assert slowdown(machine, *range(8)) == 2.0
    assert slowdown(machine, 0, 1) == 4.0  # the process may use no other


def test_clocks_of_their_own_are_added_up(machine):
    machine.clock(0, cpuinfo_max_freq=2 * GHZ, scaling_max_freq=2 * GHZ, related_cpus=0)
    machine.clock(1, cpuinfo_max_freq=2 * GHZ, scaling_max_freq=GHZ, related_cpus=1)
    assert slowdown(machine) == pytest.approx(4 / 3)


@pytest.mark.parametrize("limit", ["", "fast", 0, -GHZ, b"\x00\xff", 10**12, 1])
def test_a_limit_that_cannot_be_is_none(machine, limit):
    machine.clock(0, cpuinfo_max_freq=2 * GHZ)
    machine.write("sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq", limit)
    assert slowdown(machine) is None


def test_a_limit_above_the_highest_frequency_is_no_speedup(machine):
    machine.clock(0, cpuinfo_max_freq=2 * GHZ, scaling_max_freq=3 * GHZ)
    assert slowdown(machine) == 1.0


def zone(machine, number: int, kind: str, temp) -> None:
    machine.write(f"sys/class/thermal/thermal_zone{number}/type", kind)
    machine.write(f"sys/class/thermal/thermal_zone{number}/temp", temp)


def test_the_hottest_sensor_in_a_processor_counts(machine):
    zone(machine, 0, "battery", 90_000)
    zone(machine, 1, "cpu-thermal", 45_500)
    zone(machine, 2, "x86_pkg_temp", 61_000)
    assert Temperature(machine.root).read() == 61.0


@pytest.mark.parametrize("temp", ["", "hot", 999_999, -273_150, b"\xff"])
def test_a_temperature_that_cannot_be_is_none(machine, temp):
    zone(machine, 0, "cpu-thermal", temp)
    assert Temperature(machine.root).read() is None


def test_without_a_processors_sensor_there_is_no_temperature(machine):
    zone(machine, 0, "acpitz", 40_000)
    assert Temperature(machine.root).read() is None
