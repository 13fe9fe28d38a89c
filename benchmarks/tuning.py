"""Candidates per second: our tuner against TVM's own, the same tasks, space, seed and trials.

Layers of ResNet-18 (plain torch, 224²), lowered as we lower them, are tuned in turn by TVM's
LocalBuilder and LocalRunner (`stock`), the same with its slowest import mended (`patched`), our
sketch tuner, and our template; again with another seed for each round. The clock includes the
start of the workers, and for TVM leaves out what its own process imports.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import report
import torch
import tvm
from networks import ResNet18, seeded

from adaspring.backends.build import prepare
from adaspring.backends.tuning.engine import tune
from adaspring.backends.tuning.log.log import TuningLog
from adaspring.backends.tuning.settings import Tuning
from adaspring.backends.tuning.tasks import Task, tasks_of
from adaspring.frontend.from_torch.importer import from_torch
from adaspring.targets import host


class StockTuner:
    """TVM's tuner in a process of its own, started once and asked layer by layer."""

    def __init__(self, folder: Path, kind: str, threads: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("stock_tuner.py")), str(folder), kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"TVM_NUM_THREADS": str(threads)},
        )
        self._answer("ready")

    def tune(self, tasks: Sequence[Task], trials: int, seed: int) -> dict:
        """Tune layers, `trials` for each; what came of it."""
        assert self.process.stdin is not None
        asked = {"tasks": [task.name for task in tasks], "trials": trials, "seed": seed}
        print(json.dumps(asked), file=self.process.stdin, flush=True)
        return json.loads(self._answer("{"))

    def _answer(self, start: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(start):
                return line
        raise RuntimeError("TVM's tuner ended without an answer")

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)


def ours(tasks: Sequence[Task], trials: int, tuner: str, seed: int, folder: Path) -> dict:
    """Tune layers by our tuner, from an empty log."""
    log = TuningLog(folder / f"{tuner}-{seed}")
    # no early stop: throughput is compared at the same number of candidates
    settings = Tuning(trials=trials * len(tasks), tuner=tuner, seed=seed, patience=10**9)
    found = tune(tasks, host(), log, settings)
    return {
        "seconds": found.elapsed_s,
        "measured": found.measured_count,
        "lost": len(found.failed),
        "best_s": [min(log.measured(task.module).values()) for task in tasks],
        "stages_s": dict(found.stages_s),
    }


def row(kind: str, seed: int, found: dict) -> dict:
    """One line of the table."""
    rate = found["measured"] / found["seconds"]
    shown = "  ".join(f"{name} {s:.0f}" for name, s in found.get("stages_s", {}).items())
    best = " ".join(f"{1e3 * second:.3f}" for second in found["best_s"])
    print(
        f"{kind:9} seed {seed}  {found['measured']:4} measured, {found['lost']:3} lost in "
        f"{found['seconds']:6.1f} s: {rate:6.2f} a second   best ms {best}   {shown}",
        flush=True,
    )
    return {"tuner": kind, "seed": seed, "candidates_per_s": rate, **found}


def main() -> None:
    """Tune, print, write JSON."""
    parser = report.arguments(__doc__, "two layers, few trials, without the unpatched stock tuner")
    parser.add_argument("--trials", type=int, default=64, help="of each layer")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    trials, count, rounds = (
        (16, 2, 1) if asked.quick else (asked.trials, asked.layers, asked.rounds)
    )
    if asked.quick:
        print("quick: few trials, so that starting the workers weighs more than it does")
    board = host()
    model = from_torch(seeded(ResNet18), (torch.zeros(ResNet18.example_shape),), name="resnet-18")
    prepared = prepare(model, board)
    tasks = [task for task in tasks_of([prepared.module], prepared.isa) if task.shape][:count]
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for task in tasks:
            (folder / f"{task.name}.json").write_text(tvm.ir.save_json(task.module))
        kinds = ("patched",) if asked.quick else ("stock", "patched")
        stock = {kind: StockTuner(folder, kind, board.core_count) for kind in kinds}
        for seed in range(1, rounds + 1):
            for kind, tuner in stock.items():
                rows.append(row(kind, seed, tuner.tune(tasks, trials, seed)))
            for kind in ("sketch", "template"):
                rows.append(row(kind, seed, ours(tasks, trials, kind, seed, folder)))
        for tuner in stock.values():
            tuner.close()
    ratios = compare(rows, asked.quick)
    for label, found in ratios.items():
        print(f"{label:34} {found['median']:.2f} ({found['min']:.2f} to {found['max']:.2f})")
    settings = {
        "trials": trials,
        "layers": [task.name for task in tasks],
        "threads": board.core_count,
        "network": model.name,
    }
    report.write(asked.json, "tuning", ("adaspring", "apache-tvm"), settings, rows, ratios)


def compare(rows: Sequence[dict], quick: bool) -> dict[str, dict[str, float]]:
    """The ratios, round by round."""
    by_kind: dict[str, list[dict]] = defaultdict(list)
    for entry in rows:
        by_kind[entry["tuner"]].append(entry)

    def rates(kind: str) -> np.ndarray:
        return np.array([entry["candidates_per_s"] for entry in by_kind[kind]])

    def bests(kind: str) -> np.ndarray:
        return np.array([entry["best_s"] for entry in by_kind[kind]])

    ratios = {"throughput_vs_patched_stock": report.ratio(rates("sketch") / rates("patched"))}
    if not quick:
        ratios["throughput_vs_stock"] = report.ratio(rates("sketch") / rates("stock"))
        template = rates("template") / rates("stock")
        ratios["template_throughput_vs_stock"] = report.ratio(template)
    speed = bests("patched") / bests("sketch")
    ratios["speed_of_best_vs_patched_stock"] = report.ratio(speed.ravel())
    return ratios


if __name__ == "__main__":
    main()
