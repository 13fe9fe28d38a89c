"""How far schedules carry: a pruned variant of a tuned network, with a tenth of the trials.

A residual network is tuned; 30 % of its channels are pruned; then the pruned network's functions
are tuned twice, from the dense network's log with a tenth of the trials, and from nothing with all
of them. `transfer_speed_share` is the full search's end-to-end time over the carried-over one's,
both built and timed in turn; 1 is as fast.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import report
import torch
import tvm
from executable import executable
from networks import ResNet18, seeded

from adaspring.backends.build import Prepared, prepare
from adaspring.backends.tuning.engine import tune
from adaspring.backends.tuning.log.log import TuningLog
from adaspring.backends.tuning.settings import Tuning
from adaspring.backends.tuning.tasks import tasks_of
from adaspring.backends.tvm_threads import use_threads
from adaspring.explore.measure.timing import time_in_turn
from adaspring.frontend.from_torch.importer import from_torch
from adaspring.passes import run
from adaspring.passes.prune.prune import Prune
from adaspring.targets import host


def search(name: str, prepared: Prepared, log: TuningLog, settings: Tuning) -> dict[str, object]:
    """Tune, and tell."""
    found = tune(tasks_of([prepared.module], prepared.isa), prepared.board, log, settings)
    print(
        f"{name:12} {found.measured_count:5} measured, {len(found.failed)} lost, "
        f"{found.elapsed_s:6.0f} s ({found.ended})",
        flush=True,
    )
    return {
        "search": name,
        "trials": found.measured_count,
        "lost": len(found.failed),
        "elapsed_s": found.elapsed_s,
    }


def compare(tuner: str, trials: int, folder: Path, seconds: float) -> tuple[list, dict]:
    """One tuner: rows, and the speed share round by round."""
    board = host()
    model = from_torch(seeded(ResNet18), (torch.zeros(ResNet18.example_shape),), name="resnet-18")
    pruned = run(model, (Prune(keep_ratio=0.7, multiple_of=16),), None).model
    dense, small = prepare(model, board), prepare(pruned, board)
    everything = Tuning(trials=trials, tuner=tuner, patience=10**9)
    carried, fresh = TuningLog(folder / "carried"), TuningLog(folder / "fresh")
    rows = [search(f"{tuner} dense", dense, carried, everything)]
    little = Tuning(trials=trials // 10, tuner=tuner)
    rows.append(search(f"{tuner} tenth", small, carried, little))
    rows.append(search(f"{tuner} full", small, fresh, everything))
    none = TuningLog(folder / "none")
    calls = {
        name: executable(small, log.best, folder / f"{name}.so")
        for name, log in (("untuned", none), ("tenth", carried), ("full", fresh))
    }
    sample = [tvm.runtime.tensor(np.zeros(ResNet18.example_shape, np.float32))]
    times: Mapping[str, np.ndarray] = time_in_turn(calls, sample, seconds)
    medians = {name: np.median(found, axis=1) for name, found in times.items()}
    for name, found in medians.items():
        print(f"{tuner} {name:10} {np.median(found):8.3f} ms")
        rows.append({"search": f"{tuner} {name}", "p50_ms": float(np.median(found))})
    return rows, {
        f"transfer_speed_share_{tuner}": report.ratio(medians["full"] / medians["tenth"]),
        f"untuned_speed_share_{tuner}": report.ratio(medians["full"] / medians["untuned"]),
    }


def main() -> None:
    """Tune, print, write JSON."""
    parser = report.arguments(__doc__, "the template alone, few trials")
    parser.add_argument("--trials", type=int, default=600, help="of a full search")
    asked = parser.parse_args()
    use_threads(host().core_count)
    trials = 80 if asked.quick else asked.trials
    if asked.quick:
        print("quick: few trials; the figures are rough")
    rows, ratios = [], {}
    for tuner in ("template",) if asked.quick else ("template", "sketch"):
        with tempfile.TemporaryDirectory() as folder:
            found, shares = compare(tuner, trials, Path(folder), 2.0 if asked.quick else 20.0)
        rows += found
        ratios |= shares
    for label, found in ratios.items():
        print(f"{label:34} {found['median']:.3f} ({found['min']:.3f} to {found['max']:.3f})")
    settings = {"trials": trials, "threads": host().core_count, "keep_ratio": 0.7}
    report.write(asked.json, "transfer", ("adaspring", "apache-tvm"), settings, rows, ratios)


if __name__ == "__main__":
    main()
