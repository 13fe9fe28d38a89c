"""How near the convolutions of ResNet-18 and MobileNetV2 come to what this processor can do.

The peak is measured: multiply-adds in registers alone, fp32 and int8, on all threads. Each distinct
3×3 and 1×1 convolution is built with the tuning logs that ship with the package, and those in
--logs, and timed alone and warm, in turn with the peak of its type. A Winograd convolution's share
is by the multiplications that it does, its GOP/s are by those of the direct one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import report
import tvm
from executable import tensors_of
from networks import MobileNetV2, ResNet18, models
from tvm import IRModule

from adaspring.backends.build import Prepared, prepare
from adaspring.backends.codegen import tir_pipeline
from adaspring.backends.conv_algorithms import alternatives, fastest
from adaspring.backends.report.functions import functions_of
from adaspring.backends.report.peak import DTYPES, PeakLoop, peak_loop
from adaspring.backends.schedule.default import Best, calls_of, schedule_cpu
from adaspring.backends.tuning.log.log import TuningLog
from adaspring.backends.tuning.log.shipped import shipped_logs
from adaspring.backends.tuning.search.transfer import best_known, fastest_known
from adaspring.backends.tvm_threads import use_threads
from adaspring.explore.request import default_logs
from adaspring.ir.model import Model
from adaspring.library.manifest import FunctionRecord, board_record
from adaspring.targets import Board, host

KERNELS = ("direct conv", "winograd")
WINDOWS = {(3, 3): "3x3", (1, 1): "1x1"}
# A slow moment of the machine hits a single run of the loop more than a layer's 20 ms.
_PEAK_RUNS = 5
TIMING = {"number": 1, "repeat": 1, "min_repeat_ms": 20}


@dataclass(frozen=True)
class Layer:
    """One distinct function, built alone; `window` is its filters' size."""

    network: str
    window: str
    record: FunctionRecord
    timer: Any
    arguments: tuple[Any, ...]

    def seconds(self) -> float:
        """One call's."""
        return float(self.timer(*self.arguments).mean)


def networks(kind: type, board: Board, log: TuningLog) -> Iterator[tuple[Model, Prepared]]:
    """The network as `compile` lowers it, in fp32 and in int8."""
    dense, quantized = models(kind)
    yield dense, fastest(alternatives(dense, board), fastest_known(log))
    yield quantized, prepare(quantized, board)


def layers(model: Model, prepared: Prepared, best: Best) -> Iterator[Layer]:
    """Every distinct 3×3 and 1×1 convolution, built."""
    records = functions_of(prepared.module, tuple(prepared.weights))
    seen = set()
    for call, record in zip(calls_of(prepared.module), records, strict=True):
        if record.name in seen or not record.kernel.startswith(KERNELS):
            continue
        seen.add(record.name)
        (name,) = record.layers
        window = WINDOWS.get(model.weights[f"{name}.weight"].shape[2:])
        if window is not None:
            function = prepared.module[call.args[0]].with_attr("global_symbol", "main")
            scheduled = schedule_cpu(IRModule({"main": function}), prepared.isa, best)
            lowered = tir_pipeline.lower(scheduled, prepared.target)
            built = tir_pipeline.generate(lowered, prepared.target)
            tensors = tuple(tensors_of(call))
            timer = built.time_evaluator("main", tvm.cpu(), **TIMING)
            yield Layer(model.name, window, record, timer, tensors)


def in_turn(found: list[Layer], peaks: Mapping[str, PeakLoop], rounds: int) -> tuple[list, list]:
    """Rows of the layers, and of each its shares of the peak, round by round."""
    rows, shares = [], []
    for layer in found:
        record, peak = layer.record, peaks[str(layer.record.dtype)]
        layer.seconds()
        pairs = [(layer.seconds(), max(peak.gops(_PEAK_RUNS))) for _ in range(rounds)]
        seconds, gops = (np.array(values) for values in zip(*pairs, strict=True))
        shares.append(2e-9 * record.performed_macs_count / seconds / gops)
        rows.append(
            {
                "network": layer.network,
                "layer": record.layers[0],
                "window": layer.window,
                "kernel": record.kernel,
                "macs_count": record.macs_count,
                "p50_us": float(1e6 * np.median(seconds)),
                "gops": float(np.median(2e-9 * record.macs_count / seconds)),
                "peak_gops": float(np.median(gops)),
                "peak_ratio": float(np.median(shares[-1])),
            }
        )
        row = rows[-1]
        print(
            f"{row['network']:12} {row['window']} {row['layer']:32} {row['kernel']:20} "
            f"{row['p50_us']:8.1f} µs {row['gops']:7.1f} GOP/s {row['peak_ratio']:6.1%} of peak"
        )
    return rows, shares


def best_shares(
    found: list[Layer], shares: list[np.ndarray], dtype: str
) -> dict[str, dict[str, float]]:
    """The best layer of each window; and under the label itself the smaller of those."""
    label = "peak_share_" + {"float32": "fp32", "int8": "int8"}[dtype]
    best = {}
    for window in WINDOWS.values():
        of_window = [
            report.ratio(share)
            for layer, share in zip(found, shares, strict=True)
            if layer.window == window and layer.record.dtype == dtype
        ]
        best[f"{label} {window}"] = max(of_window, key=lambda ratio: ratio["median"])
    return {label: min(best.values(), key=lambda ratio: ratio["median"]), **best}


def main() -> None:
    """Measure the peaks, time the layers, print, write JSON."""
    parser = report.arguments(__doc__, "ResNet-18 alone, few rounds")
    parser.add_argument("--logs", type=Path, default=default_logs() / "host")
    asked = parser.parse_args()
    board = host()
    use_threads(board.core_count)
    log = TuningLog(asked.logs, shipped_logs(board))
    peaks = {dtype: peak_loop(board_record(board), dtype) for dtype in DTYPES}
    measured = {dtype: report.ratio(loop.gops(100)) for dtype, loop in peaks.items()}
    for dtype, gops in measured.items():
        print(f"peak {dtype}: {gops['max']:.1f} GOP/s (median {gops['median']:.1f})")
    kinds, rounds = ((ResNet18,), 3) if asked.quick else ((ResNet18, MobileNetV2), 15)
    if asked.quick:
        print("quick: one network, few rounds; the figures are rough")
    found = [
        layer
        for kind in kinds
        for model, prepared in networks(kind, board, log)
        for layer in layers(model, prepared, best_known(log))
    ]
    rows, shares = in_turn(found, peaks, rounds)
    ratios: dict[str, dict[str, float]] = {}
    for dtype in DTYPES:
        ratios |= best_shares(found, shares, dtype)
    for label, value in ratios.items():
        print(f"{label:20} {value['median']:.3f} ({value['min']:.3f} to {value['max']:.3f})")
    settings = {
        "threads": board.core_count,
        "logs": [asked.logs.name, "shipped"],
        "peak_gops": {dtype: gops["max"] for dtype, gops in measured.items()},
    }
    report.write(asked.json, "peak", ("adaspring", "apache-tvm"), settings, rows, ratios)


if __name__ == "__main__":
    main()
