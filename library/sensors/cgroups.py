"""The control groups that this process is in, and those above them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from .files import base, read_text

_MOST_LEVELS = 64


@dataclass(frozen=True)
class Groups:
    """Folders from the process's own group up to the root; each may be missing.

    `unified` are those of cgroup v2, `memory` those of version 1's memory controller.
    """

    unified: tuple[str, ...]
    memory: tuple[str, ...]


def find_groups(root: str | Path) -> Groups:
    """Read where the process is.

    In a container the path may be the host's while the mounted tree is the container's own: then
    the folders of the path are missing, and the tree's top is the container's group.
    """
    mounts = f"{base(root)}/sys/fs/cgroup"
    unified: tuple[str, ...] = ()
    memory: tuple[str, ...] = ()
    for line in (read_text(f"{base(root)}/proc/self/cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            unified = _upwards(_top(mounts), path)
        elif "memory" in controllers.split(","):
            memory = _upwards(f"{mounts}/memory", path)
    return Groups(unified, memory)


def _top(mounts: str) -> str:
    """Return where version 2 is mounted: beside version 1 in a folder of its own."""
    alone = os.path.lexists(f"{mounts}/cgroup.controllers")
    beside = f"{mounts}/unified"
    return beside if not alone and os.path.isdir(beside) else mounts


def _upwards(top: str, path: str) -> tuple[str, ...]:
    parts = [part for part in path.split("/") if part]
    if ".." in parts or len(parts) > _MOST_LEVELS:  # outside of what is mounted here
        parts = []
    return tuple("/".join((top, *parts[:count])) for count in range(len(parts), -1, -1))


def pressure_ratio(path: str) -> float | None:
    """Return the share of the last ten seconds in which something waited: PSI, "some avg10".

    Source  Linux, Documentation/accounting/psi.rst
    """
    for line in (read_text(path) or "").splitlines():
        words = line.split()
        if words[:1] == ["some"] and len(words) > 1 and words[1].startswith("avg10="):
            return _percentage(words[1].removeprefix("avg10="))
    return None


def _percentage(text: str) -> float | None:
    if not text.replace(".", "", 1).isdecimal() or not text.isascii() or len(text) > 10:
        return None
    value = float(text) / 100
    return value if value <= 1 else None
