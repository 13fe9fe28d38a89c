"""Reads what Linux says of the machine this runs on: no compiler, no C, files alone."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Set
from dataclasses import dataclass
from pathlib import Path

from ..errors import BoardError

_KIB = 2**10
_ASSUMED_L1_BYTES, _ASSUMED_L2_BYTES = 32 * _KIB, 256 * _KIB


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What was read. `flags` are those that all usable processors have."""

    model: str
    flags: frozenset[str]
    core_count: int
    memory_bytes: int
    l1_cache_bytes: int
    l2_cache_bytes: int
    sources: dict[str, str]


def cpu_flags(root: Path = Path("/")) -> frozenset[str]:
    """Return the flags of /proc/cpuinfo that every processor has ("flags" or "Features")."""
    found = [
        frozenset(line.partition(":")[2].split())
        for line in _text(root / "proc/cpuinfo").splitlines()
        if line.partition(":")[0].strip() in ("flags", "Features")
    ]
    return frozenset.intersection(*found) if found else frozenset()


def cache_folder() -> Path:
    """Where what can be made again is kept for the user: XDG_CACHE_HOME, or ~/.cache."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(cache) if os.path.isabs(cache) else Path.home() / ".cache"
    return base / "adaspring"


def read_machine(root: Path, allowed: Set[int]) -> Machine:
    """Read /proc and /sys below `root`; `allowed` are the processors this process may use."""
    if not (root / "proc/cpuinfo").exists():
        raise BoardError("this machine has no /proc/cpuinfo; name a board, or describe it in TOML")
    cores, cores_source = _core_count(root, allowed)
    memory, memory_source = _memory_bytes(root)
    l1, l1_source = _cache_bytes(root, min(allowed), 1, _ASSUMED_L1_BYTES)
    l2, l2_source = _cache_bytes(root, min(allowed), 2, _ASSUMED_L2_BYTES)
    return Machine(
        model=_model(root),
        flags=cpu_flags(root),
        core_count=cores,
        memory_bytes=memory,
        l1_cache_bytes=l1,
        l2_cache_bytes=l2,
        sources={
            "core_count": cores_source,
            "memory_bytes": memory_source,
            "l1_cache_bytes": l1_source,
            "l2_cache_bytes": l2_source,
        },
    )


def kernel_is_foreign(root: Path) -> bool:
    """Tell an emulator that nobody told of, as containers for another architecture use it."""
    kernel = _text(root / "proc/sys/kernel/arch", default="").strip()
    return bool(kernel) and kernel != platform.machine()


def fastest_cpus(root: Path, allowed: Set[int]) -> frozenset[int]:
    """Return the allowed processors of the greatest capacity: the big ones of big.LITTLE."""
    capacity = {cpu: _number(_cpu(root, cpu) / "cpu_capacity", default=0) for cpu in allowed}
    return frozenset(cpu for cpu in allowed if capacity[cpu] == max(capacity.values()))


def _core_count(root: Path, allowed: Set[int]) -> tuple[int, str]:
    """Count physical cores of the fastest kind, as far as affinity and quota let us use them."""
    siblings = {
        _text(_cpu(root, cpu) / "topology/thread_siblings_list", default=str(cpu)).strip()
        for cpu in fastest_cpus(root, allowed)
    }
    quota = _cpu_quota(root)
    source = "detected: /sys topology, sched_getaffinity"
    if quota is not None and quota < len(siblings):
        return max(1, int(quota)), f"{source}, cgroup quota of {quota:g} processors"
    return len(siblings), source


def _cpu_quota(root: Path) -> float | None:
    for folder in _cgroup_folders(root, "cpu"):
        words = _text(folder / "cpu.max", default="max").split()
        if words[0] != "max":
            return int(words[0]) / int(words[1])
        quota = _number(folder / "cpu.cfs_quota_us", default=-1)
        if quota > 0:
            return quota / _number(folder / "cpu.cfs_period_us", default=100_000)
    return None


def _memory_bytes(root: Path) -> tuple[int, str]:
    for line in _text(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            total = int(line.split()[1]) * _KIB
            break
    else:
        raise BoardError("/proc/meminfo has no MemTotal; name a board, or describe it in TOML")
    limits = [
        int(text)
        for folder in _cgroup_folders(root, "memory")
        for name in ("memory.max", "memory.limit_in_bytes")
        if (text := _text(folder / name, default="max").strip()) != "max"
    ]
    if limits and min(limits) < total:
        return min(limits), "detected: cgroup memory limit"
    return total, "detected: MemTotal of /proc/meminfo"


def _cgroup_folders(root: Path, controller: str) -> Iterable[Path]:
    """Yield this process's cgroup and those above it, version 2 and version 1."""
    for line in _text(root / "proc/self/cgroup", default="").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        base = root / "sys/fs/cgroup" / (controller if controllers else "")
        own = base / path.strip("/")
        yield from (own, *(above for above in own.parents if above.is_relative_to(base)))


def _cache_bytes(root: Path, cpu: int, level: int, assumed: int) -> tuple[int, str]:
    for index in sorted((_cpu(root, cpu) / "cache").glob("index*")):
        kind = _text(index / "type", default="").strip()
        if _number(index / "level", default=0) == level and kind in ("Data", "Unified"):
            size = _text(index / "size").strip()
            return int(size.removesuffix("K")) * _KIB, f"detected: /sys cache, processor {cpu}"
    return assumed, "assumed: this system does not report its caches"


def _model(root: Path) -> str:
    for line in _text(root / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model"):
            return value.strip()
    return "unnamed processor"


def _cpu(root: Path, cpu: int) -> Path:
    return root / f"sys/devices/system/cpu/cpu{cpu}"


def _number(path: Path, *, default: int) -> int:
    return int(_text(path, default=str(default)))


def _text(path: Path, *, default: str | None = None) -> str:
    try:
        return path.read_text()
    except OSError:
        if default is None:
            raise
        return default
