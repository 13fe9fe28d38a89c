"""The measuring process: `python -m adaspring.explore.measure_child LIBRARY PROBE OUT SECONDS`.

Loads nothing but what an app loads. For each variant it writes OUT/NAME.npz: outputs `y0`, `y1` …
on all samples, `seconds` of single calls, and `ratio`, the median over rounds of this variant's
time over the first's.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from ..library.loader import load

_CALLS_PER_ROUND = 5


def main(library: str, probe: str, out: str, seconds: str) -> None:
    """Run, time, write."""
    opened = load(library)
    nets = {name: opened.open(name, preload=False) for name in opened.variants}
    with np.load(probe, allow_pickle=False) as data:
        inputs = [data[f"x{i}"] for i in range(len(data.files))]
    outputs = {name: _run_all(net, inputs) for name, net in nets.items()}
    rounds = _time(nets, [value[0] for value in inputs], float(seconds))
    first = np.median(rounds[opened.variants[0]], axis=1)
    for name in opened.variants:
        ratio = np.median(np.median(rounds[name], axis=1) / first)
        arrays: dict[str, np.ndarray] = {f"y{i}": value for i, value in enumerate(outputs[name])}
        arrays |= {"seconds": rounds[name].ravel(), "ratio": ratio}
        np.savez(Path(out) / f"{name}.npz", **arrays)  # type: ignore[arg-type]
    print(json.dumps({"names": list(opened.variants)}))


def _run_all(net, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """Every output on all samples, stacked."""
    runs = []
    for sample in zip(*inputs, strict=True):
        result = net(*sample)
        runs.append(result if isinstance(result, tuple) else (result,))
    return [np.stack(column) for column in zip(*runs, strict=True)]


def _time(nets, sample: list[np.ndarray], seconds: float) -> dict[str, np.ndarray]:
    """Seconds of single calls, (rounds, calls), the variants in turn until the time is over."""
    found: dict[str, list[list[float]]] = {name: [] for name in nets}
    end = time.perf_counter() + seconds
    while len(next(iter(found.values()))) < 5 or time.perf_counter() < end:
        for name, net in nets.items():
            net(*sample)
            calls = []
            for _ in range(_CALLS_PER_ROUND):
                start = time.perf_counter()
                net(*sample)
                calls.append(time.perf_counter() - start)
            found[name].append(calls)
    return {name: np.array(rounds) for name, rounds in found.items()}


if __name__ == "__main__":
    main(*sys.argv[1:])
