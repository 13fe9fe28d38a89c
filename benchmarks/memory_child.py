"""The process that `memory.py` looks into: opens variants as an app does, and prints JSON."""

from __future__ import annotations

import json
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_MAPPING = re.compile(r"[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \S+ *(.*)")
_KINDS = (
    ("memfd:adaspring", "code"),
    ("/weights/", "weights"),
    ("libtvm", "runtime"),
    ("/pool-", "runtime"),
    ("[heap]", "heap"),
    ("[stack]", "stack"),
)
_CALLS_COUNT = 3


def pss_kib() -> Counter[str]:
    """Kilobytes of this process's memory by what they hold, its share of those of many."""
    found: Counter[str] = Counter()
    kind = ""
    with Path("/proc/self/smaps").open() as lines:  # line by line: what is read is memory, too
        for line in lines:
            mapping = _MAPPING.match(line)
            if mapping:
                name = mapping[1]
                kinds = (kind for text, kind in _KINDS if text in name)
                kind = next(kinds, "other files" if name.startswith("/") else "anonymous")
            elif line.startswith("Pss:"):
                found[kind] += int(line.split()[1])
    return found


def timed(owner: Any, name: str, spent_ms: dict[str, float], step: str) -> None:
    """Add to a step what a function takes."""
    function: Callable[..., Any] = getattr(owner, name)

    def measured(*arguments: Any, **named: Any) -> Any:
        begin = time.perf_counter()
        try:
            return function(*arguments, **named)
        finally:
            spent_ms[step] += 1e3 * (time.perf_counter() - begin)

    setattr(owner, name, measured)


def main(path: str, *asked: str) -> None:
    """Open, call and print."""
    begin = time.perf_counter()
    import adaspring
    from adaspring.library import loader, reader

    imported = time.perf_counter()
    spent_ms: dict[str, float] = defaultdict(float)
    timed(reader.LibraryFolder, "read_manifest", spent_ms, "manifest")
    timed(reader.LibraryFolder, "verify", spent_ms, "hash all files")
    timed(reader.LibraryFolder, "read", spent_ms, "read and hash code again")
    timed(loader, "map_tensors", spent_ms, "map weights")
    timed(loader, "load_code", spent_ms, "load code")
    start = time.perf_counter(), time.process_time()
    library = adaspring.load(path)
    loaded = time.perf_counter(), time.process_time()
    before = pss_kib()
    opening = time.perf_counter(), time.process_time()
    net = library.open(asked[-1] if asked else None, preload=not asked)
    opened = time.perf_counter(), time.process_time()
    inputs = [np.zeros(spec.shape, spec.dtype) for spec in net.inputs]
    most = before
    for name in asked or (*net.variants[1:], net.variants[0]):
        net.use(name)
        for _ in range(_CALLS_COUNT):
            net(*inputs)
        most = max(most, pss_kib(), key=lambda kinds: sum(kinds.values()))
    open_ms, processor_ms = (
        1e3 * (b - a + d - c) for a, b, c, d in zip(start, loaded, opening, opened, strict=True)
    )
    spent_ms["all else"] = open_ms - sum(spent_ms.values())
    found = {
        "import_ms": 1e3 * (imported - begin),
        "open_ms": open_ms,
        "processor_ms": processor_ms,
        "steps_ms": spent_ms,
        "before_kib": before,
        "most_kib": most,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
