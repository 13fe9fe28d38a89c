"""Boards as data: the known ones, this machine, a user's from TOML."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from adaspring import targets
from adaspring.errors import BoardError
from adaspring.targets import toml_board, x86
from adaspring.targets.machine import read_machine

from ..support import hostile
from ..support.boards import BOARD_TOML

ALL = (*targets.BOARDS, targets.host(), targets.null())


@pytest.fixture
def toml(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "board.toml"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize("board", ALL, ids=lambda board: board.name)
def test_every_figure_of_every_board_has_a_source_and_nothing_contradicts(board):
    assert toml_board.faults(board) == ()


@pytest.mark.parametrize("name", targets.names())
def test_a_board_is_found_by_its_name(name):
    if name == "host-cuda":
        with suppress(BoardError):  # where there is none
            assert targets.find(name).device == "cuda"
        return
    assert targets.find(name).name == name


def test_an_unknown_board_lists_the_known_ones_and_the_nearest():
    with pytest.raises(BoardError, match=r"did you mean 'raspberry-pi-5'.*rock-5b-mali") as caught:
        targets.find("raspbery-pi5")
    assert all(name in str(caught.value) for name in targets.names())
    assert "\n" not in str(caught.value)


def test_a_board_comes_from_a_toml_file(toml):
    board = targets.find(toml(BOARD_TOML))
    assert (board.name, board.core_count, board.energy) == ("my-board", 2, None)
    assert board.target == {
        "kind": "llvm",
        "mtriple": "aarch64-linux-gnu",
        "mcpu": "cortex-a53",
        "num-cores": 2,
    }


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rpc_key", "rcp_key", "unknown field `rcp_key`"),
        ("core_count = 2", "core_count = 0", r"core_count"),
        ("core_count = 2", 'core_count = "two"', r"Expected `int`.*core_count"),
        ("core_count = 2", "core_count = 3", "num-cores must be 3"),
        ('device = "cpu"', 'device = "npu"', "Invalid enum value 'npu'"),
        ('device = "cpu"', 'device = "cuda"', "target.kind must be 'cuda'"),
        ('mtriple = "aarch64', 'mtriple = "x86_64', "mtriple must start with 'aarch64'"),
        ('l2_cache_bytes = "datasheet"', "", "no entry for 'l2_cache_bytes'"),
        ("[sources]", '[sources]\ncolour = "red"', "names 'colour', not a figure"),
        ("[target]", "[target", "not TOML"),
        ('name = "my-board"', 'name = "../board"', "name"),
    ],
)
def test_a_wrong_toml_board_is_refused_with_its_file_and_key(toml, old, new, message):
    path = toml(BOARD_TOML.replace(old, new, 1))
    with pytest.raises(BoardError, match=message) as caught:
        targets.load_board(path)
    assert str(path) in str(caught.value)


ENERGY = """
[energy]
pj_per_mac_fp32 = 1.0
pj_per_mac_int8 = 1.0
pj_per_byte_dram = 1.0
idle_w = 1.0
[sources]
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("description =", "x = " + "[" * 5000 + "]" * 5000 + "\ndescription =", "not TOML"),
        ("[target]", "[target]\nz = " + "[" * 20 + "]" * 20, "nested more than 8 deep"),
        ("[target]", "[target]\nz = 2020-01-01", "target holds datetime.date"),
        ("[target]", "[target]\nz = nan", "target holds nan"),
        ("= 1073741824", "= 1" + "0" * 30, "memory_bytes|out of range"),
        ("= 1073741824", "= 1" + "0" * 5000, "digits"),
        ("[sources]", ENERGY.replace("idle_w = 1.0", "idle_w = inf"), "idle_w"),
        ("[sources]", ENERGY.replace("dram = 1.0", "dram = inf"), "pj_per_byte_dram"),
        ("[sources]", ENERGY.replace("dram = 1.0", "dram = nan"), "pj_per_byte_dram"),
    ],
)
def test_a_board_without_end_or_measure_is_refused(toml, old, new, message):
    with pytest.raises(BoardError, match=message) as caught:
        targets.load_board(toml(BOARD_TOML.replace(old, new, 1)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", hostile.KINDS)
def test_a_board_that_is_no_plain_file_is_refused(tmp_path, kind):
    with pytest.raises(BoardError, match=r"b\.toml"):
        targets.find(hostile.put(tmp_path / "b.toml", kind))


def test_a_missing_toml_file_says_so(tmp_path):
    with pytest.raises(BoardError, match=r"none\.toml does not exist; give a board"):
        targets.find(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("extra", "mcpu", "mattr"),
    [
        (set(), "x86-64", ()),
        ({"avx_vnni"}, "x86-64", ()),
        (set(x86.LEVELS["x86-64-v3"]), "x86-64-v3", ()),
        (set(x86.LEVELS["x86-64-v3"]) - {"movbe"}, "x86-64-v2", ()),
        ({*x86.LEVELS["x86-64-v3"], "avx_vnni"}, "x86-64-v3", ("+avxvnni",)),
        ({*x86.LEVELS["x86-64-v3"], "avx512_vnni"}, "x86-64-v3", ()),
        ({*x86.LEVELS["x86-64-v4"], "avx512_vnni"}, "x86-64-v4", ("+avx512vnni",)),
    ],
)
def test_the_llvm_cpu_promises_only_what_the_flags_show(extra, mcpu, mattr):
    flags = {"fpu", "sse2", *extra}
    got_mcpu, got_mattr, used = x86.llvm_cpu(flags)
    assert (got_mcpu, got_mattr) == (mcpu, mattr)
    assert set(used) <= flags


@dataclass
class FakeMachine:
    """Writes the files of /proc and /sys that a machine would show."""

    root: Path

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@pytest.fixture
def fake(tmp_path):
    fake = FakeMachine(tmp_path)
    fake.write("proc/cpuinfo", "flags : a b c\n\nflags : a c d\nmodel name : Thing 9\n")
    fake.write("proc/meminfo", "MemFree: 1 kB\nMemTotal: 1000 kB\n")
    return fake


def test_hyperthreads_count_as_one_core_and_flags_are_those_in_common(fake):
    for cpu in range(4):
        path = f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
        fake.write(path, f"{cpu % 2},{cpu % 2 + 2}\n")
    machine = read_machine(fake.root, {0, 1, 2, 3})
    assert machine.core_count == 2
    assert machine.flags == {"a", "c"}
    assert machine.model == "Thing 9"
    assert machine.memory_bytes == 1000 * 1024
    assert read_machine(fake.root, {0, 2}).core_count == 1


def test_only_the_big_cores_of_a_big_little_processor_count(fake):
    for cpu, capacity in enumerate((400, 400, 1024, 1024, 1024)):
        fake.write(f"sys/devices/system/cpu/cpu{cpu}/cpu_capacity", f"{capacity}\n")
    assert read_machine(fake.root, set(range(5))).core_count == 3


@pytest.mark.parametrize("version", [1, 2])
def test_limits_of_a_container_count(fake, version):
    if version == 2:
        fake.write("proc/self/cgroup", "0::/app\n")
        fake.write("sys/fs/cgroup/app/cpu.max", "max 100000\n")
        fake.write("sys/fs/cgroup/cpu.max", "250000 100000\n")
        fake.write("sys/fs/cgroup/app/memory.max", "4096\n")
        fake.write("sys/fs/cgroup/memory.max", "max\n")
    else:
        fake.write("proc/self/cgroup", "4:memory:/app\n1:cpu,cpuacct:/app\n")
        fake.write("sys/fs/cgroup/cpu/app/cpu.cfs_quota_us", "250000\n")
        fake.write("sys/fs/cgroup/cpu/app/cpu.cfs_period_us", "100000\n")
        fake.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "4096\n")
    machine = read_machine(fake.root, set(range(8)))
    assert (machine.core_count, machine.memory_bytes) == (2, 4096)
    assert "quota" in machine.sources["core_count"]
    assert "cgroup" in machine.sources["memory_bytes"]


def test_caches_are_read_and_an_assumption_says_that_it_is_one(fake):
    assert read_machine(fake.root, {0}).sources["l1_cache_bytes"].startswith("assumed")
    for index, (level, kind, size) in enumerate(
        [(1, "Instruction", "64K"), (1, "Data", "48K"), (2, "Unified", "2048K")]
    ):
        folder = f"sys/devices/system/cpu/cpu0/cache/index{index}"
        fake.write(f"{folder}/level", f"{level}\n")
        fake.write(f"{folder}/type", f"{kind}\n")
        fake.write(f"{folder}/size", f"{size}\n")
    machine = read_machine(fake.root, {0})
    assert (machine.l1_cache_bytes, machine.l2_cache_bytes) == (48 * 1024, 2048 * 1024)


def test_the_null_board_is_one_generic_core():
    board = targets.null()
    assert (board.core_count, board.target["num-cores"], board.cpu_features) == (1, 1, ())
    assert board.target["mcpu"] in ("x86-64", "generic")
