"""What a board says of itself, read from files, and how it is compared with what was declared."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from adaspring import targets
from adaspring.backends.rpc.board.hwcaps import decode_hwcaps
from adaspring.backends.rpc.description import (
    BoardInfo,
    declared_board,
    describe_this_machine,
    mismatches,
)
from adaspring.backends.rpc.protocol import Address, exposure_warning
from adaspring.errors import UsageError

PI_5 = targets.find("raspberry-pi-5")
FITS = BoardInfo(
    machine="aarch64",
    cpu_model="Raspberry Pi 5 Model B Rev 1.0",
    cpu_features=(*PI_5.cpu_features, "aes", "fp"),
    core_count=4,
    threads_count=4,
    memory_bytes=8_255_000_000,  # MemTotal of a board with 8 GiB
    governor="ondemand",
    temperature_c=51.0,
    emulated=False,
    versions={},
)


def test_a_board_that_has_all_that_was_declared_fits():
    assert mismatches(FITS, PI_5) == ()
    more = msgspec.structs.replace(FITS, core_count=8, memory_bytes=2**36)
    assert mismatches(more, PI_5) == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"machine": "x86_64"}, "it is x86_64, but aarch64 was declared"),
        ({"cpu_features": ("asimd",)}, "its processor lacks asimddp, asimdhp, asimdrdm, atomics"),
        ({"core_count": 2}, "it has 2 cores, but 4 were declared"),
        ({"memory_bytes": 4 * 10**9}, "it has 3.7 GiB of memory, but 8.0 GiB were declared"),
    ],
)
def test_every_way_of_not_fitting_is_named(change, said):
    (fault,) = mismatches(msgspec.structs.replace(FITS, **change), PI_5)
    assert fault.startswith(said)


def test_several_ways_of_not_fitting_are_all_named():
    small = msgspec.structs.replace(FITS, core_count=1, memory_bytes=2**30, cpu_features=())
    assert len(mismatches(small, PI_5)) == 3


def test_an_emulated_board_is_not_blamed_for_its_hosts_cores_and_memory():
    emulated = msgspec.structs.replace(FITS, emulated=True, core_count=1, memory_bytes=2**30)
    assert mismatches(emulated, PI_5) == ()
    (fault,) = mismatches(msgspec.structs.replace(emulated, cpu_features=("asimd",)), PI_5)
    assert "asimddp" in fault


def test_a_key_stands_for_the_declared_board_emulated_or_not():
    assert declared_board("raspberry-pi-5") == declared_board("raspberry-pi-5-emulated") == PI_5
    assert declared_board("my-own") is None


def test_governor_and_temperature_are_read_where_there_are_such(tmp_path):
    def write(path: str, text: str) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    for name in ("proc/cpuinfo", "proc/meminfo"):
        write(name, Path("/", name).read_text())
    bare = describe_this_machine(None, None, tmp_path)
    assert (bare.governor, bare.temperature_c) == (None, None)

    write("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n")
    for position, (kind, milli) in enumerate(
        [("cpu-thermal", "51250\n"), ("soc-thermal", "47000\n"), ("battery", "90000\n")]
    ):
        write(f"sys/class/thermal/thermal_zone{position}/type", kind)
        write(f"sys/class/thermal/thermal_zone{position}/temp", milli)
    write("proc/device-tree/model", "Radxa ROCK 5B\0")
    found = describe_this_machine(1, None, tmp_path)
    assert (found.governor, found.temperature_c) == ("performance", 51.25)
    assert (found.cpu_model, found.threads_count) == ("Radxa ROCK 5B", 1)


def test_another_kernel_than_the_programs_means_an_emulator(tmp_path):
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    for name in ("proc/cpuinfo", "proc/meminfo"):
        (tmp_path / name).write_text(Path("/", name).read_text())
    assert not describe_this_machine(None, None, tmp_path).emulated
    (tmp_path / "proc/sys/kernel/arch").write_text("riscv64\n")
    assert describe_this_machine(None, None, tmp_path).emulated


def test_bits_become_the_names_of_cpuinfo():
    # bits 0 to 12, 15, 16 and 20 of Linux's uapi/asm/hwcap.h
    words = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc"
    assert decode_hwcaps(0x119FFF, 0) == {*words.split(), "dcpop", "asimddp"}
    assert decode_hwcaps(0, 1 << 13 | 1 << 14) == {"i8mm", "bf16"}


def test_an_address_is_a_host_and_a_port():
    assert Address.parse("board:9091") == Address("board", 9091)
    assert Address.parse("[::1]:9190") == Address("::1", 9190)
    assert str(Address.parse("[::1]:9190")) == "[::1]:9190"
    for wrong in ("board", "board:", ":9190", "board:http", "board:0", "board:65536"):
        with pytest.raises(UsageError, match="HOST:PORT"):
            Address.parse(wrong)


def test_all_but_loopback_is_warned_of():
    for host in ("127.0.0.1", "127.0.0.2", "::1", "localhost"):
        assert exposure_warning(Address(host, 1)) == ""
    for host in ("0.0.0.0", "::", "192.168.7.2", "raspberrypi.local"):
        assert "docs/security.md" in exposure_warning(Address(host, 1))
