"""`python -m adaspring.explore.measure.local_child LIBRARY PROBE OUT SECONDS`: runs and times.

Loads nothing but what an app loads. For each variant it writes OUT/NAME.npz: outputs `y0`, `y1` …
on all samples, and unless SECONDS is 0, `times_ms` of single calls, `cold_times_ms` of calls that
are 50 ms apart, and the `ratio` of the former to the plainest variant's.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from ...library.loader import load
from ...library.net import Net
from .timing import ratio, time_apart, time_in_turn


def main(library: str, probe: str, out: str, seconds: str) -> None:
    """Run, time, write."""
    opened = load(library)
    nets = {name: opened.open(name, preload=False) for name in opened.variants}
    with np.load(probe, allow_pickle=False) as data:
        inputs = [data[f"x{i}"] for i in range(len(data.files))]
    outputs = {name: run_all(net, inputs) for name, net in nets.items()}
    found = {name: {f"y{i}": y for i, y in enumerate(outputs[name])} for name in nets}
    if float(seconds):
        sample = [value[0] for value in inputs]
        times, cold = time_in_turn(nets, sample, float(seconds)), time_apart(nets, sample)
        plainest = times[opened.manifest.plainest]
        for name, arrays in found.items():
            arrays["times_ms"] = times[name].ravel()
            arrays["cold_times_ms"] = cold[name]
            arrays["ratio"] = np.array(ratio(times[name], plainest))
    for name, arrays in found.items():
        np.savez(Path(out) / f"{name}.npz", **arrays)  # type: ignore[arg-type]
    print(json.dumps({"names": list(opened.variants)}))


def run_all(net: Net, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """Every output on all samples, stacked."""
    runs = []
    for sample in zip(*inputs, strict=True):
        result = net(*sample)
        runs.append(result if isinstance(result, tuple) else (result,))
    return [np.stack(column) for column in zip(*runs, strict=True)]


if __name__ == "__main__":
    main(*sys.argv[1:])
