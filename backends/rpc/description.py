"""What a board says of itself, and whether that fits what was declared of it."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from ...targets import BOARDS, Board, find
from ...targets.catalogue import DETECTED
from ...targets.detect import this_architecture
from ...targets.machine import cpu_flags, kernel_is_foreign, read_machine
from .board.hwcaps import local_cpu_features

# The global function that every session of a board has; it returns the JSON of a BoardInfo.
INFO_FUNCTION = "adaspring.board_info"
RUN_CHAIN_FUNCTION = "adaspring.run_chain"
TIME_CHAIN_FUNCTION = "adaspring.time_chain"
EMULATED_SUFFIX = "-emulated"

_PACKAGES = ("adaspring", "apache-tvm", "apache-tvm-ffi")
_THERMAL_ZONES = ("cpu", "soc", "pkg")
# What firmware and the kernel keep for themselves is missing from MemTotal: 1 to 7 % on the boards.
_LEAST_MEMORY_RATIO = 0.9


class BoardInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A board as it is now. `threads_count` is what its sessions compute with."""

    machine: str
    cpu_model: str
    cpu_features: tuple[str, ...]
    core_count: int
    threads_count: int
    memory_bytes: int
    governor: str | None
    temperature_c: float | None
    emulated: bool
    versions: dict[str, str]


def describe_this_machine(
    threads_count: int | None, emulated_cpu: str | None, root: Path = Path("/")
) -> BoardInfo:
    """Describe the machine that this runs on; `emulated_cpu` is what the emulator shows of one.

    Sessions compute with `threads_count` threads where there are as many cores, with all cores
    where it is None. Cores and memory of an emulated board are its host's.
    """
    machine = read_machine(root, os.sched_getaffinity(0))
    arm = this_architecture() == "aarch64"
    if emulated_cpu is None and kernel_is_foreign(root):
        emulated_cpu = "processor"
    model = f"emulated {emulated_cpu}" if emulated_cpu else _model(root, machine.model)
    return BoardInfo(
        machine=this_architecture(),
        cpu_model=model,
        cpu_features=tuple(sorted(local_cpu_features() if arm else cpu_flags(root))),
        core_count=machine.core_count,
        threads_count=min(threads_count or machine.core_count, machine.core_count),
        memory_bytes=machine.memory_bytes,
        governor=None if emulated_cpu else _governor(root),
        temperature_c=None if emulated_cpu else _temperature_c(root),
        emulated=emulated_cpu is not None,
        versions=_versions(),
    )


def declared_board(key: str) -> Board | None:
    """Return the known board that is served under `key`, emulated or not; None for other keys.

    Raises:
        BoardError: it is a device that this machine lacks.

    """
    plain = key.removesuffix(EMULATED_SUFFIX)
    if any(name == plain for name, _ in DETECTED):
        return find(plain)
    return next((board for board in BOARDS if board.rpc_key == plain), None)


def mismatches(info: BoardInfo, declared: Board) -> tuple[str, ...]:
    """Say in which ways a board is less than what was declared; nothing where it fits."""
    if info.machine != declared.architecture:
        return (f"it is {info.machine}, but {declared.architecture} was declared",)
    found = []
    lacking = sorted(set(declared.cpu_features) - set(info.cpu_features))
    if lacking:
        found.append(f"its processor lacks {', '.join(lacking)}")
    if info.emulated:  # its cores and memory are those of the machine that emulates it
        return tuple(found)
    if info.core_count < declared.core_count:
        found.append(f"it has {info.core_count} cores, but {declared.core_count} were declared")
    if info.memory_bytes < _LEAST_MEMORY_RATIO * declared.memory_bytes:
        found.append(
            f"it has {info.memory_bytes / 2**30:.1f} GiB of memory, "
            f"but {declared.memory_bytes / 2**30:.1f} GiB were declared"
        )
    return tuple(found)


def _model(root: Path, cpu: str) -> str:
    """Return the board's name where firmware tells one, as it does on ARM boards."""
    text = _text(root / "proc/device-tree/model").strip("\0 \n")
    return text or cpu


def _governor(root: Path) -> str | None:
    return _text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip() or None


def _temperature_c(root: Path) -> float | None:
    """Return the hottest of the processor's sensors."""
    found = []
    for zone in (root / "sys/class/thermal").glob("thermal_zone*"):
        kind, value = _text(zone / "type").lower(), _text(zone / "temp").strip()
        if any(word in kind for word in _THERMAL_ZONES) and value.removeprefix("-").isdecimal():
            found.append(int(value) / 1000)
    return max(found, default=None)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # an emulated board runs adaspring from where it lies
            continue
    return found


def _text(path: Path) -> str:
    """Return a file's text; many boards have no such file, some refuse to read a sensor."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
