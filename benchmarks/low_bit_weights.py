"""How fast and how large a dense layer is with weights of 8 and 4 bits, activations in float32.

One layer a network, random weights, untuned, against the same layer in float32, timed in turn.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import report
import torch
from executable import executable, on_tensor
from rich.console import Console
from rich.table import Table
from torch import nn

from adaspring.backends.build import prepare
from adaspring.backends.tvm_threads import use_threads
from adaspring.explore.measure.timing import time_in_turn
from adaspring.frontend.from_torch.importer import from_torch
from adaspring.passes import WeightOnly, run
from adaspring.targets import Board, host

# Inputs, outputs, samples.
SHAPES = ((4096, 4096, 1), (1024, 1024, 1), (1024, 1024, 32))
SETTINGS = {
    "8 bits": WeightOnly(bits=8),
    "4 bits": WeightOnly(bits=4),
    "8 bits, groups of 32": WeightOnly(bits=8, group_size=32),
    "4 bits, groups of 32": WeightOnly(bits=4, group_size=32),
}


def rows_of(shape: tuple[int, int, int], board: Board, seconds: float) -> list[dict[str, object]]:
    """A row for each way to store the weights: bytes, and float32's time over its own."""
    inputs, outputs, samples = shape
    torch.manual_seed(0)
    x = torch.randn(samples, inputs)
    dense = from_torch(nn.Linear(inputs, outputs).eval(), (x,), name="dense")
    models = {"float32": dense} | {
        name: run(dense, (setting,), None).model for name, setting in SETTINGS.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        ready = {name: prepare(model, board) for name, model in models.items()}
        calls = {
            name: on_tensor(executable(prepared, None, Path(folder) / f"{i}.so"), x.numpy())
            for i, (name, prepared) in enumerate(ready.items())
        }
        times = time_in_turn(calls, [x.numpy()], seconds)
    medians = {name: np.median(found, axis=1) for name, found in times.items()}
    return [
        {
            "layer": f"{inputs}x{outputs}, samples: {samples}",
            "weights": name,
            "weight_bytes": sum(array.nbytes for array in ready[name].weights.values()),
            "p50_us": float(1e3 * np.median(found)),
            "speed": report.ratio(medians["float32"] / found),
        }
        for name, found in medians.items()
    ]


def main() -> None:
    """Time, print, write JSON."""
    asked = report.arguments(__doc__, "one second a layer; the figures are rough").parse_args()
    board = host()
    use_threads(board.core_count)
    seconds = 1.0 if asked.quick else 10.0
    rows = [row for shape in SHAPES for row in rows_of(shape, board, seconds)]
    shown = Table("layer", "weights", "MB", "p50 µs", "float32's time over it")
    for row in rows:
        speed = row["speed"]
        shown.add_row(
            *(str(row["layer"]), str(row["weights"]), f"{1e-6 * row['weight_bytes']:.2f}"),
            *(f"{row['p50_us']:.1f}", f"{speed['median']:.2f}"),
        )
    Console().print(shown)
    ratios = {f"{row['layer']}, {row['weights']}": row["speed"] for row in rows}
    settings = {"threads": board.core_count, "tuned": False, "seconds": seconds}
    report.write(asked.json, "low_bit_weights", ("adaspring", "apache-tvm"), settings, rows, ratios)


if __name__ == "__main__":
    main()
