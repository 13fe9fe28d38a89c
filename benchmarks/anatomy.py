"""Where the time of a call goes: `python benchmarks/anatomy.py`, a table that adds up.

Of each network, in fp32 and int8 (and bf16 where the processor multiplies it): what one call takes;
each function within the network, and alone and warm; the least it could take, the longer of its
multiply-adds at the measured peak and its bytes at the measured bandwidth of the caches; and what
lies between functions. Beside it the same of ONNX Runtime and OpenVINO, by their own profilers.

Our functions are told apart by the virtual machine's instrument, which costs a microsecond a call;
what one call takes is measured without. `--functions` prints every function.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import report
import tvm
import tvm_ffi
from anatomy_peers import ROUNDS, theirs, warm_call_us
from executable import forms_of, tensors_of
from networks import asked_networks, random_data
from rich.console import Console
from rich.table import Table
from tvm import IRModule, te

from adaspring.backends.build import Built, Prepared, board_target, build
from adaspring.backends.codegen import tir_pipeline
from adaspring.backends.kernels.isa import instruction_set
from adaspring.backends.report import peak
from adaspring.backends.schedule.default import calls_of, schedule_cpu
from adaspring.backends.tuning.log.log import TuningLog
from adaspring.backends.tuning.log.shipped import shipped_logs
from adaspring.backends.tuning.search.transfer import best_known
from adaspring.explore.request import default_logs
from adaspring.library.executable import Executable, Part
from adaspring.library.manifest import FunctionRecord, board_record
from adaspring.library.native import pool
from adaspring.library.runtime import Machine, load_code, use_threads
from adaspring.library.tensors import CPU
from adaspring.library.weights import aligned_copy
from adaspring.targets import Board, host

TIMING = {"number": 1, "repeat": 9, "min_repeat_ms": 5}
COPIED_VALUES = 1 << 18
"""What the bandwidth is measured by: a megabyte is read and another one written."""


@dataclass(frozen=True)
class Limits:
    """What this processor can do on its threads: by type 1e9 operations a second, and GB/s."""

    gops: Mapping[str, float]
    gb_per_s: float

    def least_us(self, record: FunctionRecord) -> float:
        """The least that a function could take."""
        computing = 0.0
        if record.dtype is not None:
            gops = self.gops.get(record.dtype, self.gops["float32"])
            computing = 2e-3 * record.performed_macs_count / gops
        return max(computing, 1e-3 * record.moved_bytes / self.gb_per_s)


def bandwidth_gb_per_s(board: Board, folder: Path) -> float:
    """What a loop over all threads reads and writes, of memory that the caches hold."""
    x = te.placeholder((64, COPIED_VALUES // 64), "float32")
    y = te.compute(x.shape, lambda i, j: x[i, j] + 1)
    function = te.create_prim_func([x, y]).with_attr("global_symbol", "copy")
    scheduled = schedule_cpu(IRModule({"copy": function}), instruction_set(board), None)
    target, code = board_target(board), folder / "copy.so"
    lowered = tir_pipeline.lower(scheduled, target)
    tir_pipeline.generate(lowered, target).export_library(str(code))
    copy = tvm.runtime.load_module(str(code))
    pool.give_to(str(code))
    shape = tuple(int(extent) for extent in x.shape)
    arrays = [tvm.runtime.tensor(aligned_copy(np.zeros(shape, np.float32))) for _ in "xy"]
    timer = copy.time_evaluator("copy", tvm.cpu(), **TIMING)
    return 8e-9 * COPIED_VALUES / float(np.median(timer(*arrays).results))


def alone_us(prepared: Prepared, code: Path) -> list[float]:
    """What each function of the code takes again and again; in the order of the calls."""
    (kernels,) = tvm.runtime.load_module(str(code)).imports
    pool.give_to(str(code))
    known: dict[str, float] = {}
    found = []
    for call in calls_of(prepared.module):
        name = call.args[0].name_hint
        if name not in known:
            timer = kernels.time_evaluator(name, tvm.cpu(), **TIMING)
            known[name] = 1e6 * float(np.median(timer(*tensors_of(call)).results))
        found.append(known[name])
    return found


def within_us(machine: Machine, x: Any, weights: Any) -> tuple[list[float], float]:
    """The medians of each function within the network, and of one call by `main`."""
    executable = Executable("anatomy", [Part(machine, weights)], "cpu", host().core_count)
    rounds, whole = [], []
    for _ in range(ROUNDS):
        executable.run_timed([x])  # the first call that is told of is slower
        told = executable.run_timed([x])
        rounds.append([1e3 * ms for name, ms in told if not name.startswith("vm.")])
        whole.append(warm_call_us(lambda: executable.run([x])))
    return np.median(rounds, axis=0).tolist(), float(np.median(whole))


def ours(kind: type, form: str, prepared: Prepared, best: Any, limits: Limits, folder: Path):
    """The row of a network in one precision, with a row for each of its functions."""
    built: Built = build(prepared, best, folder / f"{form}.so")
    machine = load_code(built.code.read_bytes(), built.code, CPU)
    weights = tvm_ffi.convert([tvm.runtime.tensor(aligned_copy(w)) for w in built.weights.values()])
    (inputs,) = random_data(kind.example_shape, 1).inputs
    within, call_us = within_us(machine, tvm.runtime.tensor(aligned_copy(inputs)), weights)
    alone = alone_us(prepared, built.code)
    functions = [
        {
            "function": record.name,
            "layers": list(record.layers),
            "kernel": record.kernel,
            "macs_count": record.performed_macs_count,
            "moved_bytes": record.moved_bytes,
            "within_us": within_one,
            "alone_us": alone_one,
            "least_us": limits.least_us(record),
        }
        for record, within_one, alone_one in zip(built.functions, within, alone, strict=True)
    ]
    alone_sum_us = sum(alone)
    return {
        "network": kind.__name__,
        "runner": f"ours-{form}",
        "call_us": call_us,
        "functions_us": alone_sum_us,
        "least_us": sum(limits.least_us(record) for record in built.functions),
        "between_us": call_us - alone_sum_us,
        "instrumented_us": sum(within),
        "functions": functions,
    }


def table(rows: Sequence[Mapping[str, Any]], by_function: bool) -> Table:
    """A line for each runner, or for each function of ours."""
    made = Table(title="microseconds of one call, medians")
    made.add_column("network")
    made.add_column("function of" if by_function else "runner")
    for heading in ("call", "functions", "least", "functions / least", "between"):
        made.add_column(heading, justify="right")
    for row in rows:
        made.add_row(row["network"], row["runner"], *_figures(row))
        for each in row.get("functions", ()) if by_function else ():
            line = {"call_us": each["within_us"], "functions_us": each["alone_us"]} | each
            made.add_row("", f"{each['function'][:40]} ({each['kernel']})", *_figures(line))
    return made


def _figures(row: Mapping[str, Any]) -> list[str]:
    least = row.get("least_us")
    return [
        f"{row['call_us']:.1f}",
        f"{row['functions_us']:.1f}",
        f"{least:.1f}" if least else "",
        f"{row['functions_us'] / least:.2f}" if least else "",
        f"{row['between_us']:.1f}" if "between_us" in row else "",
    ]


def main() -> None:
    """Take apart, print, write JSON."""
    parser = report.arguments(__doc__, "the four smallest networks")
    parser.add_argument("--logs", type=Path, default=default_logs() / "host")
    parser.add_argument("--network", action="append", help="this one alone; may be repeated")
    parser.add_argument("--functions", action="store_true", help="print every function of ours")
    asked = parser.parse_args()
    board = host()
    log = TuningLog(asked.logs, shipped_logs(board))
    use_threads(board.core_count)
    with tempfile.TemporaryDirectory() as name:
        bandwidth = bandwidth_gb_per_s(board, Path(name))
    limits = Limits(peak.measure(board_record(board)), bandwidth)
    print(f"at most {dict(limits.gops)} GOP/s, {limits.gb_per_s:.1f} GB/s")
    rows: list[dict[str, Any]] = []
    for kind in asked_networks(asked.network, asked.quick):
        with tempfile.TemporaryDirectory() as name:
            for form, prepared in forms_of(kind, board, log).items():
                rows.append(ours(kind, form, prepared, best_known(log), limits, Path(name)))
            rows += theirs(kind, Path(name), board.core_count)
        print(f"{kind.__name__} done")
    Console(width=140).print(table(rows, asked.functions))
    settings = {
        "threads": board.core_count,
        "rounds": ROUNDS,
        "peak_gops": dict(limits.gops),
        "gb_per_s": limits.gb_per_s,
    }
    packages = ("adaspring", "apache-tvm", "onnxruntime")
    report.write(asked.json, "anatomy", packages, settings, rows, {})


if __name__ == "__main__":
    main()
