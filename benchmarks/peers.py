"""Our dense fp32, bf16 and int8 code against ONNX Runtime, OpenVINO and torch, network by network.

The same network, input, threads and run, batch 1, each in turn; ours with the tuning logs that
ship with the package, and those in --logs. Needs the extra `peers`; a peer that is not installed is
left out, and named.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import report
import torch
from executable import executable, forms_of, on_tensor
from networks import asked_networks, random_data, seeded
from peer_calls import onnxruntime_calls, openvino_calls, save_onnx, torch_calls

from adaspring.backends.tuning.log.log import TuningLog
from adaspring.backends.tuning.log.shipped import shipped_logs
from adaspring.backends.tuning.search.transfer import best_known
from adaspring.backends.tvm_threads import use_threads
from adaspring.explore.measure.timing import time_in_turn
from adaspring.explore.request import default_logs
from adaspring.targets import Board, host

OURS = "ours-{}"
FP32, BF16, INT8 = map(OURS.format, ("fp32", "bf16", "int8"))
# what each label compares: ours, and the peers of which the fastest counts
RATIOS = {
    "fp32_vs_onnxruntime": (FP32, ("onnxruntime-fp32",)),
    "fp32_vs_best_peer": (FP32, ("onnxruntime-fp32", "openvino-fp32", "torch-compile")),
    "bf16_vs_openvino_bf16": (BF16, ("openvino-bf16",)),
    "bf16_vs_own_fp32": (BF16, (FP32,)),
    "int8_vs_onnxruntime": (INT8, ("onnxruntime-int8",)),
    "int8_vs_best_peer": (INT8, ("onnxruntime-int8", "openvino-int8")),
    "int8_vs_own_fp32": (INT8, (FP32,)),
}


def own_calls(kind: type, board: Board, log: TuningLog, folder: Path) -> dict[str, Callable]:
    """Our fp32, our int8, and where the processor multiplies it our bf16 of the same network."""
    best = best_known(log)
    return {
        OURS.format(form): executable(prepared, best, folder / f"{form}.so")
        for form, prepared in forms_of(kind, board, log).items()
    }


def peer_calls(
    network: torch.nn.Module, shape: tuple[int, ...], samples: Sequence[np.ndarray], folder, threads
) -> dict[str, Callable]:
    """What is installed of the peers."""
    onnx = folder / "net.onnx"
    save_onnx(network, shape, onnx)
    calls: dict[str, Callable] = {}
    for make in (
        partial(onnxruntime_calls, onnx, samples, threads),
        partial(openvino_calls, onnx, samples, threads),
        partial(torch_calls, network, shape, threads),
    ):
        try:
            calls |= make()
        except ImportError as error:
            print(f"left out: {error}")
    return calls


def compare(kind: type, board: Board, log: TuningLog, seconds: float) -> tuple[list, Mapping]:
    """Rows of one network, and its ratios round by round."""
    network, shape = seeded(kind), kind.example_shape
    (inputs,) = random_data(shape).inputs
    samples = np.split(inputs, len(inputs))
    x = samples[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        own = own_calls(kind, board, log, folder)
        theirs = peer_calls(network, shape, samples, folder, board.core_count)
        calls = {label: on_tensor(call, x) for label, call in own.items()} | theirs
        times = time_in_turn(calls, [x], seconds)
    medians = {label: np.median(found, axis=1) for label, found in times.items()}
    rows = [
        {"network": kind.__name__, "runner": label, "p50_ms": float(np.median(found))}
        for label, found in medians.items()
    ]
    print(kind.__name__ + "".join(f"   {row['runner']} {row['p50_ms']:.3f}" for row in rows))
    rounds = {
        label: np.min([medians[peer] for peer in peers], axis=0) / medians[ours]
        for label, (ours, peers) in RATIOS.items()
        if all(runner in medians for runner in (ours, *peers))
    }
    return rows, rounds


def main() -> None:
    """Time, print, write JSON."""
    parser = report.arguments(__doc__, "the four smallest networks, a few rounds")
    parser.add_argument("--logs", type=Path, default=default_logs() / "host")
    parser.add_argument("--network", action="append", help="this one alone; may be repeated")
    asked = parser.parse_args()
    warnings.filterwarnings("ignore", module="torch.onnx")
    board = host()
    use_threads(board.core_count)
    log = TuningLog(asked.logs, shipped_logs(board))
    kinds = asked_networks(asked.network, asked.quick)
    if asked.quick:
        print("quick: small networks, few rounds; the figures are rough")
    rows, ratios, by_label = [], {}, {}
    for kind in kinds:
        found, rounds = compare(kind, board, log, 3.0 if asked.quick else 20.0)
        rows += found
        for label, values in rounds.items():
            ratios[f"{label} {kind.__name__}"] = report.ratio(values)
            by_label.setdefault(label, []).append(float(np.median(values)))
    for label, values in by_label.items():
        mean = float(np.exp(np.mean(np.log(values))))
        ratios[label] = {
            "median": mean,
            "min": min(values),
            "max": max(values),
            "runs": len(values),
        }
        print(f"{label:22} geometric mean {mean:.2f} ({min(values):.2f} to {max(values):.2f})")
    settings = {"threads": board.core_count, "batch": 1, "logs": [asked.logs.name, "shipped"]}
    packages = ("adaspring", "apache-tvm", "onnxruntime", "torch")
    report.write(asked.json, "peers", packages, settings, rows, ratios)


if __name__ == "__main__":
    main()
