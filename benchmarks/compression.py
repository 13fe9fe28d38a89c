"""What compression costs in accuracy: our passes and other compressors on three trained networks.

Handwriting, keywords and activities, each with people in the test part who are nowhere else (but
for handwriting). Ranges and channels are chosen on calibration data, the error of factorization on
validation data; accuracy is of the test part. The variants of a network are tuned together into
--logs, from what is there and in the logs that ship with the package on, and timed in turn. Peers
are the extra `peers`; one that is not installed is left out, and named. Keywords need espeak-ng.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import compression_peers as peers
import numpy as np
import report
import torch
from compression_own import EPOCHS, ERRORS, MAX_DROP, own_models, own_rows, retrained_rows
from compression_picture import draw
from compression_rows import FINE_TUNED, LABELLED, MULTIPLE_OF, NONE, OURS, TOGETHER, Bench, Row
from datasets import FOLDER
from executable import executable, on_tensor
from rich.console import Console
from rich.table import Table
from trained import TASKS, Task, trained

from adaspring.backends.conv_algorithms import alternatives, fastest
from adaspring.backends.tuning.engine import tune
from adaspring.backends.tuning.log.log import TuningLog
from adaspring.backends.tuning.log.shipped import shipped_logs
from adaspring.backends.tuning.search.transfer import best_known, fastest_known
from adaspring.backends.tuning.settings import Tuning
from adaspring.backends.tuning.tasks import tasks_of
from adaspring.backends.tvm_threads import use_threads
from adaspring.errors import DataError
from adaspring.explore.measure.timing import time_in_turn
from adaspring.explore.request import default_logs
from adaspring.ir.model import Model
from adaspring.targets import Board, host


@dataclass(frozen=True)
class Extent:
    """How much is compared: data sets, a network a seed, shares of channels to prune, timing."""

    tasks: tuple[Task, ...]
    seeds: tuple[int, ...]
    pruned_percent: tuple[int, ...]
    seconds: float


FULL = Extent(TASKS, (0,), (30, 50, 70), 20.0)
QUICK = Extent(TASKS[-1:], (0,), (50,), 3.0)
PEERS = (peers.torch_pruning, peers.onnx_runtime, peers.nncf)
# How long all variants of a network are tuned, in times of how long they are timed.
TUNING_RATIO = 4.0
SUFFIX = {NONE: "", FINE_TUNED: "_retrained", TOGETHER: "_together"}
# Of each comparison: our variant, and the rows of a peer of which the most accurate counts.
AT_THE_SAME_SIZE = {
    f"pruned{percent}_vs_torch-pruning_points": (f"pruned{percent}", "torch-pruning")
    for percent in FULL.pruned_percent
} | {f"int8_vs_{peer}_points": ("int8", peer) for peer in ("onnxruntime", "nncf")}


def speeds(
    models: Mapping[str, Model], sample: np.ndarray, board: Board, log: TuningLog, seconds: float
) -> dict[str, np.ndarray]:
    """How many times as fast as the dense network each runs, all tuned, round by round."""
    ways = {name: alternatives(model, board) for name, model in models.items()}
    modules = (module for way in ways.values() for module in way.modules)
    tasks = tasks_of(modules, ways["dense"].direct.isa)
    tune(tasks, board, log, Tuning(trials=10**6, time_limit_s=TUNING_RATIO * seconds))
    best, known = best_known(log), fastest_known(log)
    ready = {name: fastest(way, known) for name, way in ways.items()}
    with tempfile.TemporaryDirectory() as folder:
        calls = {
            name: on_tensor(executable(prepared, best, Path(folder) / f"{name}.so"), sample)
            for name, prepared in ready.items()
        }
        times = time_in_turn(calls, [sample], seconds)
    medians = {variant: np.median(found, axis=1) for variant, found in times.items()}
    dense = medians.pop("dense")
    return {variant: dense / found for variant, found in medians.items()}


def peer_rows(bench: Bench) -> Iterator[Row]:
    """Those of the peers that are installed."""
    for peer in PEERS:
        try:
            yield from peer(bench)
        except ImportError as error:
            print(f"left out: {error}")


def differences(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Points of accuracy on the test part: what ours loses, and ours less a peer's.

    Of each data set, over the seeds; and under the label alone over all of them.
    """
    found: dict[str, list[float]] = {}
    for data, seed in dict.fromkeys((row.data, row.seed) for row in rows):
        of_network = [row for row in rows if (row.data, row.seed) == (data, seed)]
        for label, value in _compared(of_network).items():
            found.setdefault(label, []).append(value)
            found.setdefault(f"{label} {data}", []).append(value)
    return {label: report.ratio(values) for label, values in sorted(found.items())}


def _compared(rows: Sequence[Row]) -> dict[str, float]:
    """Of one network; without retraining, and with it as `_retrained` and `_together`."""
    dense = next(100 * r.accuracy_ratio for r in rows if (r.by, r.variant) == (OURS, "dense"))
    found = {
        f"{r.variant.replace('-', '_')}{SUFFIX[r.retraining]}_drop_points": dense
        - 100 * r.accuracy_ratio
        for r in rows
        if r.by == OURS and r.variant != "dense"
    }
    unlabelled = _points([row for row in rows if row.retraining not in LABELLED])
    labelled = _points([row for row in rows if row.retraining == FINE_TUNED])
    return found | _at_the_same_size(unlabelled, "") | _at_the_same_size(labelled, "_retrained")


def _points(rows: Sequence[Row]) -> dict[tuple[str, str], float]:
    points: dict[tuple[str, str], float] = {}
    for row in rows:
        key = (row.by, row.variant)
        points[key] = max(points.get(key, 0.0), 100 * row.accuracy_ratio)
    return points


def _at_the_same_size(points: Mapping[tuple[str, str], float], suffix: str) -> dict[str, float]:
    """Ours less the most accurate row of each peer; nothing where either is missing."""
    ours, found = {variant: right for (by, variant), right in points.items() if by == OURS}, {}
    for label, (own, peer) in AT_THE_SAME_SIZE.items():
        theirs = [
            right
            for (by, variant), right in points.items()
            if by.startswith(peer) and variant.startswith(own)
        ]
        if theirs and own in ours:
            found[label.replace("_points", f"{suffix}_points")] = ours[own] - max(theirs)
    return found


def table(rows: Sequence[Row]) -> Table:
    """A row a variant, means over the seeds."""
    shown = Table(title="test accuracy after compression")
    for heading in ("data", "by", "variant", "retraining"):
        shown.add_column(heading)
    for heading in ("accuracy %", "points lost", "MACs M", "weights KB", "x as fast"):
        shown.add_column(heading, justify="right")
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.data, row.by, row.variant, row.retraining), []).append(row)
    dense: dict[str, float] = {}
    for (data, by, variant, retraining), found in groups.items():
        mean = 100 * float(np.mean([row.accuracy_ratio for row in found]))
        if variant == "dense":
            shown.add_section()
        speed = next((row.speed_ratio for row in found if row.speed_ratio), None)
        shown.add_row(
            *(data, by, variant, retraining),
            f"{mean:.2f}",
            f"{dense.setdefault(data, mean) - mean:+.2f}",
            f"{1e-6 * np.mean([row.macs_count for row in found]):.2f}",
            f"{1e-3 * np.mean([row.weights_bytes for row in found]):.1f}",
            "" if speed is None else f"{speed:.2f}",
        )
    return shown


def compare(
    task: Task, extent: Extent, board: Board, log: TuningLog, data: Path
) -> tuple[list[Row], dict[str, dict[str, float]]]:
    """Rows of one data set, of every seed; speeds of the first."""
    parts, rows, ratios = task.data.load(data), [], {}
    for seed in extent.seeds:
        network = trained(task, parts, seed, data)
        bench = Bench(task, seed, parts, network, extent.pruned_percent, board.core_count)
        models = own_models(bench)
        own = list(own_rows(bench, models, NONE))
        if seed == extent.seeds[0]:
            rounds = speeds(models, parts.test.x[:1], board, log, extent.seconds)
            ratios = {name: report.ratio(found) for name, found in rounds.items()}
            own = [replace(row, speed_ratio=_median(ratios, row.variant)) for row in own]
        rows += own
        rows += retrained_rows(bench, models)
        rows += peer_rows(bench)
        print(f"{task.name}, seed {seed}: done", flush=True)
    speed = {f"{name}_speed_vs_dense {task.name}": found for name, found in ratios.items()}
    return rows, speed


def _median(ratios: Mapping[str, Mapping[str, float]], variant: str) -> float:
    return ratios[variant]["median"] if variant in ratios else 1.0


def main() -> None:
    """Train, compress, time, print, write JSON and a picture."""
    parser = report.arguments(__doc__, "activities alone, one network, half of the channels pruned")
    parser.add_argument("--logs", type=Path, default=default_logs() / "host")
    parser.add_argument(
        "--data", type=Path, default=FOLDER, help="where data and networks are kept"
    )
    parser.add_argument("--seeds", type=int, default=3, help="networks of each data set")
    parser.add_argument("--png", type=Path, help="draw accuracy over size here")
    asked = parser.parse_args()
    warnings.filterwarnings("ignore", module="torch.onnx")
    board = host()
    use_threads(board.core_count)
    torch.set_num_threads(1)  # the networks are small; the second would wait in a spin loop
    log = TuningLog(asked.logs, shipped_logs(board))
    extent = QUICK if asked.quick else replace(FULL, seeds=tuple(range(asked.seeds)))
    if asked.quick:
        print("quick: one network; the figures are rough")
    rows, ratios = [], {}
    for task in extent.tasks:
        try:
            found, speed = compare(task, extent, board, log, asked.data)
        except DataError as error:
            print(f"left out: {task.name}: {error}")
            continue
        rows += found
        ratios |= speed
    ratios = differences(rows) | ratios
    Console(width=140).print(table(rows))
    settings = {
        "seeds": extent.seeds,
        "seconds": extent.seconds,
        "threads": board.core_count,
        "logs": [asked.logs.name, "shipped"],
        "tuning_seconds": TUNING_RATIO * extent.seconds,
        "multiple_of": MULTIPLE_OF,
        "factorize_errors": ERRORS,
        "max_drop": MAX_DROP,
        "retraining_epochs": EPOCHS,
        "nncf_max_drop": peers.NNCF_MAX_DROP,
        "data": {task.name: repr(task.data.Settings()) for task in extent.tasks},
    }
    extra = ("nncf", "openvino", "torch-pruning")
    there = (name for name in extra if find_spec(name.replace("-", "_")))
    packages = ("adaspring", "apache-tvm", "onnxruntime", "torch", *there)
    report.write(
        asked.json, "compression", packages, settings, [asdict(row) for row in rows], ratios
    )
    if asked.png:
        draw(rows, asked.png)


if __name__ == "__main__":
    main()
