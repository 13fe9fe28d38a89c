"""Memory that may still be allocated, and how short it is.

Source  Linux, Documentation/admin-guide/cgroup-v2.rst, .../cgroup-v1/memory.rst
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .cached import Cached
from .cgroups import Groups, find_groups, pressure_ratio
from .files import base, read_table, read_text, read_whole, whole

_KIB = 1024
_NO_LIMIT_1 = 2**62  # version 1 says so by the largest number of pages
_LIMITS_S = 5.0


@dataclass(frozen=True)
class _Files:
    """Names in a group's folder: of limits, of the use, and keys of memory.stat."""

    limits: tuple[str, ...]
    usage: str
    reclaimable: tuple[str, ...]


_FILES_2 = _Files(
    ("memory.max", "memory.high"),
    "memory.current",
    ("inactive_file", "active_file", "slab_reclaimable"),
)
_FILES_1 = _Files(
    ("memory.limit_in_bytes",),
    "memory.usage_in_bytes",
    ("total_inactive_file", "total_active_file"),
)


@dataclass(frozen=True)
class _Limit:
    """A group's limit, None where what is there is no number."""

    bytes: int | None
    folder: str
    files: _Files

    def left_bytes(self) -> int | None:
        used = read_whole(f"{self.folder}/{self.files.usage}")
        if self.bytes is None or used is None:
            return None
        found = read_table(f"{self.folder}/memory.stat")
        freed = sum(whole(" ".join(found.get(key, []))) or 0 for key in self.files.reclaimable)
        return max(0, self.bytes - used + min(freed, used))


class Memory:
    """Reads what may still be allocated without swapping, besides what is in use.

    The least of what the machine has (MemAvailable) and what each control group has up to the
    root: memory.max or memory.high, less what is used, and again what could be reclaimed of that,
    as MemAvailable counts it: file pages, which mapped weights are. Of version 1 the same.
    """

    def __init__(
        self, root: str | Path = "/", *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._meminfo = f"{base(root)}/proc/meminfo"
        self._limits = Cached(lambda: _limits(find_groups(root)), _LIMITS_S, clock)

    def read(self) -> int | None:
        """Return bytes; None where the machine, or a group with a limit, does not say."""
        left = [self._machine_bytes(), *(limit.left_bytes() for limit in self._limits.read())]
        known = [value for value in left if value is not None]
        return min(known) if len(known) == len(left) else None

    def _machine_bytes(self) -> int | None:
        found = read_table(self._meminfo)
        available, total = (_kib(found.get(key)) for key in ("MemAvailable", "MemTotal"))
        if available is None or (total is not None and available > total):
            return None
        return _KIB * available


class MemoryPressure:
    """Reads the share of the last ten seconds in which something waited for memory.

    The machine's or the process's own group's, whichever is larger.
    """

    def __init__(
        self, root: str | Path = "/", *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._machine = f"{base(root)}/proc/pressure/memory"
        self._groups = Cached(lambda: find_groups(root), _LIMITS_S, clock)

    def read(self) -> float | None:
        """Return a ratio in [0, 1]; None where the kernel keeps none."""
        own = [f"{folder}/memory.pressure" for folder in self._groups.read().unified[:1]]
        found = [pressure_ratio(path) for path in (self._machine, *own)]
        return max((value for value in found if value is not None), default=None)


def _limits(groups: Groups) -> tuple[_Limit, ...]:
    two = (_limit(folder, _FILES_2) for folder in groups.unified)
    one = (_limit(folder, _FILES_1) for folder in groups.memory)
    return tuple(limit for limit in (*two, *one) if limit is not None)


def _limit(folder: str, files: _Files) -> _Limit | None:
    """Return the least limit of a group; None where it has none."""
    found = [value for name in files.limits for value in _values(f"{folder}/{name}")]
    if not found:
        return None
    known = [value for value in found if value is not None]
    return _Limit(min(known) if len(known) == len(found) else None, folder, files)


def _values(path: str) -> tuple[int | None, ...]:
    """Return a limit, (None,) where what is there is none, and () where there is no limit."""
    text = read_text(path)
    if text is None:
        return (None,) if os.path.lexists(path) else ()
    value = whole(text, 0, 2**63)
    no_limit = text.strip() == "max" or (value is not None and value >= _NO_LIMIT_1)
    return () if no_limit else (value,)


def _kib(words: list[str] | None) -> int | None:
    return whole(words[0], 0, 10**15) if words and words[1:] == ["kB"] else None
