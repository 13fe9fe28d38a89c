"""One case from end to end, as a user would go: import, compile, open, and time beside others."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import report

import adaspring
from adaspring.backends.tuning.settings import Tuning
from adaspring.explore.compile import BoardResult, compile_model
from adaspring.explore.measure.timing import time_in_turn
from adaspring.explore.progress import Progress
from adaspring.explore.request import Bounds
from adaspring.frontend.data import Dataset, Splits, check
from adaspring.ir.model import Model
from adaspring.library.manifest import Manifest
from adaspring.reference.executor import evaluate
from adaspring.reference.import_check import load_checked
from adaspring.targets import host
from real.case import Case, Ready
from real.runtimes import Feed, onnxruntime_outputs, runtimes

_COMPARED = 8


@dataclass(frozen=True)
class Effort:
    """How long schedules are searched for and how long calls are timed, for each case."""

    tuning_s: float
    timing_s: float


def measure(case: Case, folder: Path, effort: Effort, progress: Progress) -> dict[str, Any]:
    """Everything that the table says of a case, as plain values."""
    ready = case.prepare(folder)
    start_s = time.monotonic()
    model = load_checked(ready.onnx, dict(ready.shapes) or None)
    imported_s = time.monotonic() - start_s
    held = _first(model, ready.samples)
    result = _compile(case, ready, model, folder / "libraries" / case.name, effort, progress)
    made = result.manifest
    times = _times(made, result.folder, ready.onnx, feeds(model, held)[0], effort.timing_s)
    return {
        "network": case.name,
        "package": str(case.package),
        "data": case.data,
        "import_s": imported_s,
        "compile_s": time.monotonic() - start_s - imported_s,
        "tuning_s": result.tuning.elapsed_s if result.tuning else 0.0,
        "disagreement": disagreement(model, ready.onnx, held),
        "p50_ms": {name: float(np.median(found)) for name, found in times.items()},
        "over": {
            f"{other} over {name}": report.ratio(
                np.median(times[other], axis=1) / np.median(times[name], axis=1)
            )
            for name in (variant.name for variant in made.variants)
            for other in ("onnxruntime", "openvino", made.plainest)
            if other in times and other != name
        },
        "variants": [_variant(made, name) for name in (v.name for v in made.variants)],
        "left_out": {entry.name: entry.reason for entry in made.dropped},
    }


def disagreement(model: Model, onnx: Path, held: Dataset) -> float:
    """The largest difference from ONNX Runtime's outputs, over the largest of those."""
    theirs = onnxruntime_outputs(onnx, feeds(model, held))
    found = []
    for index, ours in enumerate(evaluate(model, held)):
        given = np.asarray(ours, np.float64)
        wanted = np.array([outputs[index] for outputs in theirs], np.float64).reshape(given.shape)
        found.append(np.abs(given - wanted).max() / max(np.abs(wanted).max(), 1e-12))
    return float(np.nan_to_num(np.max(found), nan=np.inf))


def feeds(model: Model, held: Dataset) -> list[Feed]:
    """What each run takes, by the inputs' names."""
    rows = np.arange(len(held) // model.batch * model.batch).reshape(-1, model.batch)
    runs = model.cut_runs(held.inputs, rows)
    names = [spec.name for spec in model.inputs]
    return [dict(zip(names, values, strict=True)) for values in zip(*runs, strict=True)]


def _first(model: Model, samples: Dataset | Splits) -> Dataset:
    """A few held-out samples, as the network takes them."""
    held = samples.test if isinstance(samples, Splits) else samples
    return check(held.take(np.arange(_COMPARED)), model)


def _compile(
    case: Case, ready: Ready, model: Model, output: Path, effort: Effort, progress: Progress
) -> BoardResult:
    result = compile_model(
        model,
        output,
        progress=progress,
        data=ready.samples,
        metric=case.metric,
        training=ready.training,
        retrain_time_s=case.retrain_time_s,
        recipes=case.recipes,
        bounds=Bounds(max_drop=case.max_drop, front_only=False),
        tuning=Tuning(trials=10**6, time_limit_s=effort.tuning_s)
        if effort.tuning_s
        else Tuning(trials=0),
    )
    (board,) = result.boards
    assert isinstance(board, BoardResult), "the one board's error would have been raised"
    return board


def _times(
    made: Manifest, folder: Path, onnx: Path, feed: Feed, seconds: float
) -> dict[str, np.ndarray]:
    """Milliseconds of every variant and of the runtimes, in turn."""
    library = adaspring.load(folder)
    nets = {variant.name: library.open(variant.name, preload=False) for variant in made.variants}
    arrays = [np.ascontiguousarray(value) for value in feed.values()]
    own = {name: (lambda net=net: net(*arrays)) for name, net in nets.items()}
    threads = host().core_count
    found = time_in_turn(own | runtimes(onnx, feed, threads), (), seconds)
    for net in nets.values():
        net.close()
    return found


def _variant(made: Manifest, name: str) -> dict[str, Any]:
    cost = made.variant(name).cost
    metric = cost.metric
    assert metric is not None, "with data every variant is judged"
    return {
        "variant": name,
        "metric": metric.name,
        "higher_is_better": metric.direction == "higher",
        "value": metric.value,
        "interval": metric.interval,
        "size_bytes": cost.size_bytes.value,
        "macs_count": cost.macs_count.value,
    }
