"""What an app pays: opening, deciding, switching, memory. `python benchmarks/app_side.py`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import report

OPEN = """
import sys, time
import numpy
start = time.perf_counter()
import adaspring
net = adaspring.load(sys.argv[1]).open()
print(time.perf_counter() - start)
assert not {"tvm", "torch"} & set(sys.modules)
"""


def make_library(folder: Path) -> Path:
    """A library of the demo's network, seeded weights, three variants, untuned."""
    import torch

    import adaspring
    from adaspring.cli.demo.network import DigitsNet, example_input
    from adaspring.frontend.from_torch.importer import from_torch

    torch.manual_seed(0)
    model = from_torch(DigitsNet().eval(), (example_input(),), name="digits")
    adaspring.compile(
        model,
        folder / "library",
        recipes=("pruned-quarter", "pruned-half", "factorized"),
        bounds=adaspring.Bounds(max_drop=1.0, front_only=False),
        tuning=adaspring.Tuning(trials=0),
        logs=folder / "logs",
    )
    return folder / "library"


def open_ms(library: Path, runs: int) -> list[float]:
    """Milliseconds to import adaspring, load and open, each in a fresh interpreter."""
    command = [sys.executable, "-c", OPEN, str(library)]
    outputs = [subprocess.run(command, capture_output=True, check=True) for _ in range(runs)]
    return [1e3 * float(done.stdout) for done in outputs]


def switches(library: Path, count: int) -> tuple[list[float], list[float]]:
    """Decide in µs and switch in ms, of contexts that move between the variants."""
    import adaspring

    net = adaspring.load(library).open()
    contexts = [
        adaspring.Context(battery_ratio=1.0),
        adaspring.Context(battery_ratio=0.1, metric_floor=0.0),
        adaspring.Context(battery_ratio=0.5, latency_budget_ms=0.01),
    ]
    done = [net.adapt(contexts[i % len(contexts)]) for i in range(count)]
    return [s.decide_us for s in done[9:]], [s.switch_ms for s in done[9:]]


def grown_bytes(library: Path, folder: Path, *variants: str) -> int:
    """Bytes that a fresh process grows by, opening these variants and running them in turn."""
    from adaspring.explore.measure import answer_of
    from adaspring.library.reader import read_manifest

    specs = read_manifest(library).inputs
    samples = {f"x{i}": np.zeros((1, *spec.shape), spec.dtype) for i, spec in enumerate(specs)}
    np.savez(folder / "probe.npz", **samples)
    return answer_of("explore.measure.memory_child", library, folder / "probe.npz", *variants)


def memory(library: Path, folder: Path, runs: int) -> tuple[list[int], list[float]]:
    """Bytes of all variants together, and their ratio to the largest alone, in each run."""
    from adaspring.library.reader import read_manifest

    names = [variant.name for variant in read_manifest(library).variants]
    together, ratios = [], []
    for _ in range(runs):
        alone = [grown_bytes(library, folder, name) for name in names]
        together.append(grown_bytes(library, folder, *names))
        ratios.append(together[-1] / max(alone))
    return together, ratios


def row(what: str, unit: str, values: list[float]) -> dict[str, object]:
    """Median, p99 and extremes."""
    return {
        "what": what,
        "unit": unit,
        "median": float(np.median(values)),
        "p99": float(np.percentile(values, 99)),
        "min": float(np.min(values)),
        "max": float(np.max(values)),
        "runs": len(values),
    }


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = report.arguments(__doc__, "fewer runs, within a minute")
    arguments = parser.parse_args()
    runs, count = (5, 500) if arguments.quick else (30, 5000)
    if arguments.quick:
        print("quick: few runs; the figures are rough")
    with tempfile.TemporaryDirectory() as folder:
        library = make_library(Path(folder))
        opened = open_ms(library, runs)
        decided, switched = switches(library, count)
        grown, ratios = memory(library, Path(folder), 3 if arguments.quick else 10)
    rows = [
        row("import adaspring, load, open all variants (fresh process, NumPy there)", "ms", opened),
        row("decide", "µs", decided),
        row("switch", "ms", switched),
        row("memory of all variants, each run", "MB", [1e-6 * value for value in grown]),
        row("memory of all variants over that of the largest", "x", ratios),
    ]
    for entry in rows:
        print(
            f"{entry['what']:75} median {entry['median']:9.4f} {entry['unit']}"
            f"   p99 {entry['p99']:9.4f}   of {entry['runs']}"
        )
    kept = {"memory of all variants over that of the largest": report.ratio(ratios)}
    settings = {"quick": arguments.quick, "open_runs": runs, "switches": count}
    packages = ("adaspring", "apache-tvm-ffi", "numpy")
    report.write(arguments.json, "app_side", packages, settings, rows, kept)


if __name__ == "__main__":
    main()
