"""Recurrent layers: imported, built, run against ONNX Runtime and OpenVINO on the same ONNX file.

The same input, threads and process, each in turn; a ratio above 1 means that ours is faster.
Ours with the tuning logs that ship with the package, for the dense layer before the loop, and those
in --logs. A peer that is not installed is left out, and named.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import report
import torch
from executable import executable, on_tensor
from peer_calls import onnxruntime_call, openvino_call, save_onnx
from torch import nn

from adaspring.backends.build import prepare
from adaspring.backends.schedule.default import Best
from adaspring.backends.tuning.log.log import TuningLog
from adaspring.backends.tuning.log.shipped import shipped_logs
from adaspring.backends.tuning.search.transfer import best_known
from adaspring.backends.tvm_threads import use_threads
from adaspring.explore.measure.timing import time_in_turn
from adaspring.explore.request import default_logs
from adaspring.frontend.from_onnx.importer import from_onnx
from adaspring.passes import SixteenBit, WeightOnly, run
from adaspring.targets import Board, host

OURS = "ours-fp32"


@dataclass(frozen=True)
class Case:
    """A layer of `hidden` units over `steps` steps of `samples` sequences, as wide as it is."""

    kind: type[nn.RNNBase]
    hidden: int
    steps: int = 100
    samples: int = 1
    bidirectional: bool = False

    @property
    def name(self) -> str:
        """What the table calls it."""
        ways = " both ways" if self.bidirectional else ""
        return f"{self.kind.__name__} {self.hidden}{ways}, {self.samples} x {self.steps} steps"


CASES = (
    Case(nn.LSTM, 128),
    Case(nn.LSTM, 256),
    Case(nn.GRU, 128),
    Case(nn.GRU, 256),
    Case(nn.LSTM, 128, steps=1),
    Case(nn.LSTM, 128, bidirectional=True),
    Case(nn.LSTM, 128, samples=8),
    Case(nn.GRU, 128, samples=8),
    Case(nn.LSTM, 512),
)


class Network(nn.Module):
    """The layer alone: what each step gives."""

    def __init__(self, case: Case):
        super().__init__()
        self.layer = case.kind(
            case.hidden, case.hidden, batch_first=True, bidirectional=case.bidirectional
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run it over (samples, steps, width)."""
        return self.layer(x)[0]


def own_calls(
    onnx: Path, board: Board, best: Best, folder: Path
) -> tuple[dict[str, Callable], dict]:
    """Ours in float32, and with weights of 8 and 16 bits; how long import and build took."""
    start = time.perf_counter()
    model = from_onnx(onnx)
    imported = time.perf_counter()
    calls = {OURS: executable(prepare(model, board), best, folder / "fp32.so")}
    taken = {"import_s": imported - start, "build_s": time.perf_counter() - imported}
    for label, recipe in (("ours-bf16", SixteenBit()), ("ours-int8-weights", WeightOnly())):
        rounded = run(model, (recipe,), None).model
        calls[label] = executable(prepare(rounded, board), best, folder / f"{label}.so")
    return calls, taken


def peer_calls(onnx: Path, threads: int) -> dict[str, Callable]:
    """What is installed of the peers."""
    calls: dict[str, Callable] = {"onnxruntime-fp32": onnxruntime_call(onnx, threads)}
    try:
        import openvino
    except ImportError:
        print("left out: openvino, which is not installed")
        return calls
    return calls | {
        "openvino-fp32": openvino_call(openvino.Core().read_model(onnx), "f32", threads)
    }


def compare(
    case: Case, board: Board, best: Best, threads: int, seconds: float
) -> tuple[list[Mapping], Mapping]:
    """Rows of one layer, and its ratios round by round."""
    torch.manual_seed(0)
    network, shape = Network(case).eval(), (case.samples, case.steps, case.hidden)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_onnx(network, shape, folder / "net.onnx")
        own, taken = own_calls(folder / "net.onnx", board, best, folder)
        theirs = peer_calls(folder / "net.onnx", threads)
        calls = {label: on_tensor(call, x) for label, call in own.items()} | theirs
        times = time_in_turn(calls, [x], seconds)
    medians = {label: np.median(found, axis=1) for label, found in times.items()}
    rows = [
        {"network": case.name, "runner": label, "p50_ms": float(np.median(found))}
        | (taken if label == OURS else {})
        for label, found in medians.items()
    ]
    print(
        f"{case.name:34} import {taken['import_s']:.1f} s, build {taken['build_s']:.1f} s"
        + "".join(f"   {row['runner']} {row['p50_ms']:.3f}" for row in rows)
    )
    return rows, {label: medians[label] / medians[OURS] for label in theirs}


def main() -> None:
    """Time, print, write JSON."""
    parser = report.arguments(__doc__, "the first four layers, a few rounds")
    parser.add_argument("--logs", type=Path, default=default_logs() / "host")
    parser.add_argument("--threads", type=int, default=1, help="of ours and of the peers")
    asked = parser.parse_args()
    warnings.filterwarnings("ignore")  # torch's, of its own exporter
    board = host()
    use_threads(asked.threads)
    best = best_known(TuningLog(asked.logs, shipped_logs(board)))
    rows, ratios = [], {}
    for case in CASES[:4] if asked.quick else CASES:
        found, rounds = compare(case, board, best, asked.threads, 3.0 if asked.quick else 10.0)
        rows += found
        for label, values in rounds.items():
            ratios[f"{label} / {OURS}: {case.name}"] = known = report.ratio(values)
            print(f"    {label} / {OURS}  {known['median']:.2f} ({known['min']:.2f} to "
                  f"{known['max']:.2f})")  # fmt: skip
    settings = {"threads": asked.threads, "logs": [asked.logs.name, "shipped"]}
    packages = ("adaspring", "apache-tvm", "onnxruntime", "torch")
    report.write(asked.json, "recurrent", packages, settings, rows, ratios)


if __name__ == "__main__":
    main()
