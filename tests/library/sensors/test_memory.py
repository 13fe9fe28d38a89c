"""Memory that is left: the machine's, and what control groups of both versions leave of it."""

from __future__ import annotations

import pytest

from adaspring.library.sensors.memory import Memory, MemoryPressure

MIB = 2**20


def read(machine) -> int | None:
    return Memory(machine.root).read()


def test_what_the_machine_has_is_what_there_is(machine):
    machine.meminfo(300)
    assert read(machine) == 300 * 1024


@pytest.mark.parametrize(
    "text",
    ["", "MemAvailable: x kB", "MemAvailable: -5 kB", "MemAvailable: 5 MB", "MemAvailable:",
     "MemAvailable: 10 kB\nMemTotal: 5 kB", "MemFree: 5 kB"],
)  # fmt: skip
def test_what_cannot_be_is_none(machine, text):
    machine.write("proc/meminfo", text)
    assert read(machine) is None


def test_a_groups_limit_counts_and_what_could_be_reclaimed_is_not_in_use(machine):
    machine.meminfo(10**6)
    machine.write("proc/self/cgroup", "0::/app")
    machine.group("app", memory__max=100 * MIB, memory__current=80 * MIB)
    assert read(machine) == 20 * MIB
    stat = f"anon 5\ninactive_file {10 * MIB}\nactive_file {MIB}\nslab_reclaimable {MIB}"
    machine.group("app", memory__stat=stat)
    assert read(machine) == 32 * MIB


def test_the_least_of_all_groups_up_to_the_root_counts(machine):
    machine.meminfo(10**6)
    machine.write("proc/self/cgroup", "0::/a/b/c")
    machine.group("a/b/c", memory__max="max", memory__current=MIB)
    machine.group("a/b", memory__max="max", memory__high=50 * MIB, memory__current=45 * MIB)
    machine.group("a", memory__max=90 * MIB, memory__high=80 * MIB, memory__current=70 * MIB)
    assert read(machine) == 5 * MIB
    machine.group("a", memory__current=95 * MIB)
    assert read(machine) == 0


def test_a_container_whose_path_is_the_hosts_is_its_trees_top(machine):
    machine.meminfo(10**6)
    machine.write("proc/self/cgroup", "0::/docker/0123456789ab")
    machine.group("", memory__max=64 * MIB, memory__current=60 * MIB)
    assert read(machine) == 4 * MIB


def test_groups_of_version_1_count_too(machine):
    machine.meminfo(10**6)
    machine.write("proc/self/cgroup", "4:cpu,memory:/app\n0::/")
    machine.group("memory", memory__limit_in_bytes=9223372036854771712)
    machine.group("memory/app", memory__limit_in_bytes=100 * MIB)
    machine.group("memory/app", memory__usage_in_bytes=90 * MIB)
    machine.group("memory/app", memory__stat=f"inactive_file 7\ntotal_inactive_file {5 * MIB}")
    assert read(machine) == 15 * MIB


def test_version_2_beside_version_1_lies_in_its_own_folder(machine):
    machine.meminfo(10**6)
    machine.write("proc/self/cgroup", "0::/app")
    machine.group("unified/app", memory__max=100 * MIB, memory__current=90 * MIB)
    assert read(machine) == 10 * MIB
    machine.group("", cgroup__controllers="memory")  # then that is just a group of that name
    machine.group("app", memory__max=100 * MIB, memory__current=70 * MIB)
    assert read(machine) == 30 * MIB


@pytest.mark.parametrize("limit", ["", "lots", -5, b"\xff", "1e9"])
def test_a_limit_that_is_no_number_leaves_nothing_known(machine, limit):
    machine.meminfo(10**6)
    machine.write("proc/self/cgroup", "0::/app")
    machine.write("sys/fs/cgroup/app/memory.max", limit)
    machine.group("app", memory__current=5)
    assert read(machine) is None


def test_a_limit_without_its_use_leaves_nothing_known(machine):
    machine.meminfo(10**6)
    machine.write("proc/self/cgroup", "0::/app")
    machine.group("app", memory__max=100 * MIB)
    assert read(machine) is None


def test_pressure_is_the_machines_or_the_groups(machine):
    assert MemoryPressure(machine.root).read() is None
    machine.write("proc/pressure/memory", "some avg10=2.00 avg60=0.00")
    assert MemoryPressure(machine.root).read() == 0.02
    machine.write("proc/self/cgroup", "0::/app")
    machine.group("app", memory__pressure="some avg10=31.00 avg60=0.00")
    assert MemoryPressure(machine.root).read() == 0.31
