"""The process that the memory of variants is measured in.

`python -m adaspring.explore.measure.memory_child LIBRARY PROBE VARIANT …` loads nothing but what
an app loads, opens nothing but these variants, and prints bytes as JSON: null for a GPU's, whose
memory is elsewhere, and where the kernel does not say what lies in memory (no
CONFIG_PROC_PAGE_MONITOR).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from ...library.loader import Library, load
from ...library.manifest import WEIGHTS_FOLDER
from ...library.weights import aligned_copy

_CALLS_COUNT = 5
_MAPPING = re.compile(r"[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \S+ *(.*)")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # of VmHWM; Linux, Documentation/filesystems/proc.rst


def peak_growth_bytes(
    library: Library, variants: Sequence[str], inputs: Sequence[np.ndarray]
) -> int:
    """By how much this process grows, at most, while it opens variants and runs them in turn.

    Counted are anonymous memory, their code, which is run from memory, and those pages of their
    weights that are mapped; the pages of TVM's runtime that come into memory at its first call are
    not.
    """
    codes = {library.manifest.variant(name).code for name in variants}
    code_bytes = sum(file.size_bytes for file in library.manifest.files if file.path in codes)
    files = {str(path.resolve()) for path in (library.folder / WEIGHTS_FOLDER).iterdir()}
    before_bytes = _resident_bytes(files)
    _CLEAR.write_text(_RESET_PEAK)
    net = library.open(variants[0], preload=False)
    for name in variants:
        net.use(name)
        for _ in range(_CALLS_COUNT):
            net(*inputs)
    status = _status()
    passing_bytes = max(0, status["VmHWM"] - status["VmRSS"])
    return _resident_bytes(files) - before_bytes + code_bytes + passing_bytes


def _resident_bytes(files: Collection[str]) -> int:
    total_kib, ours = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        found = _MAPPING.fullmatch(line)
        if found:
            ours = found[1] in files
        elif line.startswith("Rss:" if ours else "Anonymous:"):
            total_kib += int(line.split()[1])
    return 1024 * total_kib


def _status() -> dict[str, int]:
    """Kilobytes of /proc/self/status, in bytes."""
    lines = [line.split() for line in Path("/proc/self/status").read_text().splitlines()]
    return {words[0].rstrip(":"): 1024 * int(words[1]) for words in lines if words[-1] == "kB"}


def main(library: str, probe: str, *variants: str) -> None:
    """Measure and print."""
    with np.load(probe, allow_pickle=False) as data:
        inputs = [aligned_copy(data[f"x{i}"][0]) for i in range(len(data.files))]
    opened = load(library)
    seen = opened.manifest.board.device == "cpu" and _CLEAR.exists()
    print(json.dumps(peak_growth_bytes(opened, variants, inputs) if seen else None))


if __name__ == "__main__":
    main(*sys.argv[1:])
