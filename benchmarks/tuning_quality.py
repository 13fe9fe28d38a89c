"""What searching buys: end-to-end time over minutes of tuning, against ONNX Runtime fp32.

ResNet-18 and MobileNetV2 (plain torch, seeded weights, 224², batch 1) are tuned by the sketch
tuner, from an empty log. After each span of time the network is built with what the log holds and
timed in turn with ONNX Runtime, the same threads. Writes a curve for each network (JSON and PNG).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import report
import torch
from executable import executable, on_tensor
from networks import MobileNetV2, ResNet18, seeded
from peer_calls import onnxruntime_call, save_onnx

from adaspring.backends.conv_algorithms import alternatives, fastest
from adaspring.backends.tuning.engine import tune
from adaspring.backends.tuning.log.log import TuningLog
from adaspring.backends.tuning.search.transfer import fastest_known
from adaspring.backends.tuning.settings import Tuning
from adaspring.backends.tuning.tasks import tasks_of
from adaspring.backends.tvm_threads import use_threads
from adaspring.explore.measure.timing import time_in_turn
from adaspring.frontend.from_torch.importer import from_torch
from adaspring.targets import host

SPANS_MIN = (0, 1, 2, 5, 10, 20, 30)


def curve(kind: type, tuner: str, spans_min: tuple[float, ...], seconds: float) -> list[dict]:
    """Rows of one network: minutes of tuning, milliseconds, and the ratio to ONNX Runtime's."""
    board, shape = host(), kind.example_shape
    network = seeded(kind)
    model = from_torch(network, (torch.zeros(shape),), name=kind.__name__)
    ways = alternatives(model, board)
    tasks = tasks_of(ways.modules, ways.direct.isa)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    rows, spent_s, trials = [], 0.0, 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = TuningLog(folder / "log")
        save_onnx(network, shape, folder / "net.onnx")
        theirs = onnxruntime_call(folder / "net.onnx", board.core_count)
        for span in spans_min:
            if 60 * span > spent_s:
                # never left early: the question is what the time buys
                left = Tuning(
                    trials=10**9,
                    time_limit_s=60 * span - spent_s,
                    tuner=tuner,
                    patience=10**9,
                    seed=len(rows),
                )
                found = tune(tasks, board, log, left)
                spent_s += found.elapsed_s
                trials += found.measured_count
            prepared = fastest(ways, fastest_known(log))
            ours_call = executable(prepared, log.best, folder / f"{span}.so")
            calls = {"ours": on_tensor(ours_call, x), "onnxruntime": theirs}
            times = time_in_turn(calls, [x], seconds)
            ours, peers = (np.median(times[key], axis=1) for key in ("ours", "onnxruntime"))
            rows.append(
                {
                    "network": kind.__name__,
                    "tuner": tuner,
                    "tuning_min": spent_s / 60,
                    "trials": trials,
                    "ours_ms": float(np.median(ours)),
                    "onnxruntime_ms": float(np.median(peers)),
                    "ratio": report.ratio(peers / ours),
                }
            )
            print(
                f"{kind.__name__:12} {tuner:8} {spent_s / 60:5.1f} min {trials:6} trials   "
                f"ours {rows[-1]['ours_ms']:7.2f} ms   ONNX Runtime "
                f"{rows[-1]['onnxruntime_ms']:6.2f} ms   {rows[-1]['ratio']['median']:.2f} x",
                flush=True,
            )
    return rows


def draw(rows: list[dict], picture: Path) -> None:
    """Speed over ONNX Runtime's in the same run, a line a network; 1 is as fast."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for network in dict.fromkeys(row["network"] for row in rows):
        own = [row for row in rows if row["network"] == network]
        minutes = [row["tuning_min"] for row in own]
        axes.plot(minutes, [row["ratio"]["median"] for row in own], "o-", label=network)
    axes.axhline(1.0, color="black", linestyle="--", label="ONNX Runtime")
    axes.set(xlabel="minutes of tuning", ylabel="speed over ONNX Runtime's", ylim=(0, None))
    axes.set_title(f"{host().description}, batch 1, fp32")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(picture, dpi=150)


def main() -> None:
    """Tune, print, write JSON and PNG."""
    parser = report.arguments(__doc__, "MobileNetV2 alone, half a minute of tuning")
    parser.add_argument("--minutes", type=float, default=30.0, help="of tuning, each network")
    parser.add_argument("--tuner", default="sketch", choices=("sketch", "template", "auto"))
    parser.add_argument("--network", choices=("ResNet18", "MobileNetV2"), help="this one alone")
    parser.add_argument("--png", type=Path, help="draw the curves here")
    asked = parser.parse_args()
    use_threads(host().core_count)
    if asked.quick:
        print("quick: half a minute of tuning; the figures are rough")
    spans = (0, 0.5) if asked.quick else tuple(s for s in SPANS_MIN if s <= asked.minutes)
    kinds = (MobileNetV2,) if asked.quick else (ResNet18, MobileNetV2)
    if asked.network:
        kinds = tuple(kind for kind in (ResNet18, MobileNetV2) if kind.__name__ == asked.network)
    rows = [
        row
        for kind in kinds
        for row in curve(kind, asked.tuner, spans, 3.0 if asked.quick else 10.0)
    ]
    last = {row["network"]: row["ratio"] for row in rows}
    ratios = {f"{name}_speed_vs_onnxruntime": found for name, found in last.items()}
    settings = {"minutes": spans[-1], "tuner": asked.tuner, "threads": host().core_count}
    packages = ("adaspring", "apache-tvm", "onnxruntime", "torch")
    report.write(asked.json, "tuning_quality", packages, settings, rows, ratios)
    if asked.png:
        draw(rows, asked.png)


if __name__ == "__main__":
    main()
