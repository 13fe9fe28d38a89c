"""Memory and opening time of libraries of ten variants. `python benchmarks/memory.py`.

Memory is PSS, the process's share of every page (/proc/self/smaps), read in fresh processes: once
the library is open, and at its most while variants are opened and called in turn, the largest last.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import report

CHILD = Path(__file__).with_name("memory_child.py")
RECIPES = (
    "dense",
    "pruned-quarter",
    "pruned-half",
    "factorized",
    "bf16",
    "int8-weights",
    "int8",
    "pruned-quarter-int8",
    "pruned-half-int8",
    "pruned-most-int8",
)


def make_library(kind: type, folder: Path) -> Path:
    """A library of a network with seeded weights, a variant by each recipe, untuned, not timed."""
    import torch
    from networks import random_data, seeded

    from adaspring.backends.build import build, prepare
    from adaspring.explore.assemble import library_parts
    from adaspring.explore.board.runtime import runtime_files
    from adaspring.explore.recipes import find_recipe
    from adaspring.frontend.from_torch.importer import from_torch
    from adaspring.library.manifest import Cost, Figure
    from adaspring.library.writer import LibraryParts, VariantParts, write_library
    from adaspring.passes import run
    from adaspring.targets import host

    shape = kind.example_shape
    model = from_torch(seeded(kind), (torch.zeros(shape),), name=kind.__name__)
    board, data, now = host(), random_data(shape), datetime.now(UTC).isoformat()
    unknown = Figure(value=0.0, origin="modelled", how="not asked for", when=now)
    variants = []
    for name in RECIPES:
        compressed = run(model, find_recipe(name).passes, data).model
        built = build(prepare(compressed, board), None, folder / f"{kind.__name__}-{name}.so")
        variants.append(
            VariantParts(
                name=name,
                recipe=name,
                decisions=(),
                code_path=built.code,
                functions=built.functions,
                weights=built.weights,
                cost=Cost(size_bytes=unknown, macs_count=unknown),
                agreement=None,
            )
        )
    parts = library_parts(model, board, tuple(variants), ())
    packed = {**vars(parts), "runtime_paths": runtime_files(board)}
    write_library(folder / f"{kind.__name__}.lib", LibraryParts(**packed))
    return folder / f"{kind.__name__}.lib"


def networks(quick: bool) -> list[type]:
    """Keyword spotting, the demo's and MobileNetV2, which takes minutes to compile ten times."""
    from networks import MobileNetV2
    from networks.tiny import DsCnn

    from adaspring.cli.demo.network import DigitsNet, example_input

    DigitsNet.example_shape = tuple(example_input().shape)  # type: ignore[attr-defined]
    return [DsCnn, DigitsNet, *([] if quick else [MobileNetV2])]


def seen_in(library: Path, *variants: str) -> dict[str, Any]:
    """What a fresh process sees that opens and calls these variants in turn; all where none."""
    command = [sys.executable, str(CHILD), str(library), *variants]
    done = subprocess.run(command, capture_output=True, check=True, timeout=120)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def grown(seen: dict[str, Any]) -> int:
    """KiB between the open library and the most."""
    return sum(seen["most_kib"].values()) - sum(seen["before_kib"].values())


def measure(library: Path, runs: int) -> tuple[list[dict[str, object]], dict[str, list[float]]]:
    """Rows of one library, and the two ratios of each run."""
    from adaspring.library.reader import read_manifest

    names = [variant.name for variant in read_manifest(library).variants]
    largest = max(names, key=lambda name: grown(seen_in(library, name)))
    pairs = [(seen_in(library, largest), seen_in(library)) for _ in range(runs)]
    name, rows = library.stem, []
    for what, seen in (("largest alone", 0), ("all variants", 1)):
        every = [pair[seen] for pair in pairs]
        kinds = sorted({kind for each in every for kind in each["most_kib"]})
        for kind in kinds:
            kib = [each["most_kib"].get(kind, 0) for each in every]
            rows.append(row(f"{name}, {what}: {kind}", "KiB", kib))
        rows.append(row(f"{name}, {what}: the process", "KiB", [total(e) for e in every]))
        rows.append(row(f"{name}, {what}: growth since load", "KiB", [grown(e) for e in every]))
    opened = [pair[1] for pair in pairs]
    rows.append(row(f"{name}: load and open", "ms", [each["open_ms"] for each in opened]))
    processor_ms = [each["processor_ms"] for each in opened]
    rows.append(row(f"{name}: load and open, processor time", "ms", processor_ms))
    for step in opened[0]["steps_ms"]:
        rows.append(row(f"{name}, opening: {step}", "ms", [e["steps_ms"][step] for e in opened]))
    ratios = {
        f"{name}: process, all over largest": [total(b) / total(a) for a, b in pairs],
        f"{name}: growth, all over largest": [grown(b) / grown(a) for a, b in pairs],
    }
    return rows, ratios


def total(seen: dict[str, Any]) -> int:
    """KiB of the process at its most."""
    return int(sum(seen["most_kib"].values()))


def row(what: str, unit: str, values: list[float]) -> dict[str, object]:
    """A line of the table, printed: median and extremes."""
    found = {"what": what, "unit": unit, **report.ratio(values)}
    print(f"{what:60} {found['median']:10.2f} {unit}  ({found['min']:.2f} to {found['max']:.2f})")
    return found


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = report.arguments(__doc__, "two small networks, three runs")
    arguments = parser.parse_args()
    runs = 3 if arguments.quick else 9
    rows: list[dict[str, object]] = []
    ratios: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in networks(arguments.quick):
            library = make_library(kind, Path(folder))
            found = measure(library, runs)
            rows += found[0]
            ratios |= {what: report.ratio(values) for what, values in found[1].items()}
    for what, values in ratios.items():
        print(
            f"{what:60} {values['median']:10.2f} x   ({values['min']:.2f} to {values['max']:.2f})"
        )
    settings = {"quick": arguments.quick, "runs": runs, "variants": len(RECIPES)}
    packages = ("adaspring", "apache-tvm-ffi", "numpy")
    report.write(arguments.json, "memory", packages, settings, rows, ratios)


if __name__ == "__main__":
    main()
