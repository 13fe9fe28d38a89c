"""What a Mali-G610 and a Jetson Orin could reach with our kernels, on paper: nothing is run.

For each function of ResNet-18 and MobileNetV2, in fp32, fp16 and int8: its arithmetic intensity,
the registers that a thread takes, how many threads of a core that leaves, and the time that the
roofline of the board's data sheet predicts: the longer of its multiply-adds at the peak and its
bytes at the memory's bandwidth. Launches, caches and all that a kernel loses below the peak are
left out, so it is a lower bound. For Orin registers are those that NVIDIA's compiler reports, for
Mali the sums that our template keeps, since Arm's compiler is on the board alone.

Source  S. Williams et al., "Roofline", CACM 52(4), 2009.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import report
from cubins import registers
from networks import MobileNetV2, ResNet18
from on_device import network_models
from rich.console import Console
from rich.table import Table
from tvm.tirx import PrimFunc

from adaspring import targets
from adaspring.backends.build import Prepared, build, prepare
from adaspring.backends.report.functions import functions_of
from adaspring.backends.schedule.contraction import is_handwritten
from adaspring.backends.schedule.gpu import default_gpu_schedule
from adaspring.backends.schedule.gpu_contraction import sums_of
from adaspring.library.manifest import FunctionRecord

_SHOWN = 8


@dataclass(frozen=True)
class Sheet:
    """What a data sheet promises: 1e9 operations and bytes a second, threads of a core."""

    board: str
    gops: Mapping[str, float]
    bandwidth: float
    core_registers: int
    core_threads: int
    source: str

    def threads(self, registers_count: int) -> int:
        """How many threads a core holds whose registers are so many."""
        return min(self.core_threads, self.core_registers // max(registers_count, 1))

    def microseconds(self, record: FunctionRecord, form: str) -> float:
        """What the roofline predicts of a function of a network in that form."""
        peak = self.gops.get(form, self.gops["fp32"])
        return 1e-3 * max(2 * record.macs_count / peak, record.moved_bytes / self.bandwidth)


SHEETS = (
    Sheet(
        board="rock-5b-mali",
        gops={"fp32": 512.0, "int8": 2048.0},
        bandwidth=33.8,
        core_registers=65536,
        core_threads=2048,
        source="Arm Mali-G610: 64 fp32 and 256 int8 multiply-adds a cycle in each of 4 cores, at "
        "1 GHz; 32 registers for each of 2048 threads; Rock 5B: 64 bits of LPDDR4X-4224",
    ),
    Sheet(
        board="jetson-orin",
        gops={"fp32": 5325.0, "fp16": 42598.0, "int8": 85197.0},
        bandwidth=204.8,
        core_registers=65536,
        core_threads=1536,
        source="NVIDIA Jetson AGX Orin Technical Brief v1.2: 2048 CUDA cores and 64 tensor "
        "cores at 1.3 GHz, 256 multiply-adds of fp16 and 512 of int8 a cycle in each of these; "
        "204.8 GB/s; compute capability 8.7",
    ),
)


def rows_of(sheet: Sheet, prepared: Prepared, form: str) -> list[dict[str, Any]]:
    """Each function's figures, calls that are alike as one."""
    taken = _registers(prepared)
    found: dict[str, dict[str, Any]] = {}
    for record in functions_of(prepared.module, tuple(prepared.weights)):
        row = found.setdefault(
            record.name,
            {
                "function": record.name,
                "kernel": record.kernel,
                "calls": 0,
                "intensity": 2 * record.macs_count / record.moved_bytes,
                "registers": taken.get(record.name),
                "predicted_us": 0.0,
            },
        )
        row["calls"] += 1
        row["predicted_us"] += sheet.microseconds(record, form)
    for row in found.values():
        row["threads_of_a_core"] = row["registers"] and sheet.threads(row["registers"])
    return sorted(found.values(), key=lambda row: -row["predicted_us"])


def _registers(prepared: Prepared) -> dict[str, int]:
    """What a thread of each function takes: by the compiler, or the sums that it keeps."""
    if prepared.board.device == "cuda":
        with tempfile.TemporaryDirectory() as folder:
            built = build(prepared, None, Path(folder) / "code.so")
            return registers(built.code)
    kept = {}
    for var, function in prepared.module.functions_items():
        if isinstance(function, PrimFunc) and not is_handwritten(function):
            schedule = default_gpu_schedule(function, prepared.isa, prepared.target)
            kept[str(var.name_hint)] = sums_of(schedule.trace)
    return kept


def tell(name: str, rows: list[dict[str, Any]]) -> None:
    """The functions that take most, and all."""
    total = sum(row["predicted_us"] for row in rows)
    shown = Table(title=f"{name}: predicted {1e-3 * total:.2f} ms, never measured")
    for heading in ("function", "calls", "operations a byte", "registers", "threads", "us"):
        shown.add_column(heading, justify="left" if heading == "function" else "right")
    for row in rows[:_SHOWN]:
        figures = (row["calls"], f"{row['intensity']:.1f}", row["registers"] or "-")
        last = (row["threads_of_a_core"] or "-", f"{row['predicted_us']:.1f}")
        shown.add_row(row["function"][:48], *map(str, (*figures, *last)))
    Console(width=120).print(shown)


def main() -> None:
    """Predict, print, write JSON."""
    asked = report.arguments(__doc__, "MobileNetV2 alone").parse_args()
    results = []
    for sheet in SHEETS:
        board = targets.find(sheet.board)
        for kind in (MobileNetV2,) if asked.quick else (ResNet18, MobileNetV2):
            for form, model in network_models(kind).items():
                rows = rows_of(sheet, prepare(model, board), form)
                name = f"{kind.__name__} {form} on {sheet.board}"
                tell(name, rows)
                predicted_ms = 1e-3 * sum(row["predicted_us"] for row in rows)
                results.append({"network": name, "predicted_ms": predicted_ms, "functions": rows})
    settings = {sheet.board: sheet.source for sheet in SHEETS}
    report.write(asked.json, "gpu_on_paper", ("adaspring", "apache-tvm"), settings, results, {})


if __name__ == "__main__":
    main()
