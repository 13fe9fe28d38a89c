"""How right and how fast our kernels are on the OpenCL device of this machine.

Each network is built in fp32, float16 and int8 by our template, tuned where --minutes are given,
and in fp32 by TVM's default schedules (DLight) too. All must agree with the reference executor;
then they are timed in turn. --candidates N draws that many schedules of the template, over all
functions of all networks in fp32 and int8, and compares each with the function's default.

The device may be PoCL, which computes on the processor. Under Oclgrind, which simulates a device
and reports what a kernel must not do, give --candidates alone (docs/opencl.md has the command).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import report
import tvm
from executable import executable
from networks import NETWORKS, random_data, seeded
from opencl_candidates import compare_candidates
from torch import nn, zeros
from tvm import IRModule
from tvm.s_tir.schedule import Trace
from tvm.target import Target

from adaspring.backends.build import Prepared, prepare
from adaspring.backends.schedule.default import Best
from adaspring.backends.schedule.gpu import rule_schedules
from adaspring.backends.tuning.engine import tune
from adaspring.backends.tuning.log.log import TuningLog
from adaspring.backends.tuning.settings import Tuning
from adaspring.backends.tuning.tasks import tasks_of
from adaspring.explore.measure.timing import time_in_turn
from adaspring.frontend.from_torch.importer import from_torch
from adaspring.ir.model import Model
from adaspring.library.opencl import plugin
from adaspring.passes import Pass, Quantize, SixteenBit, run
from adaspring.reference.executor import evaluate
from adaspring.targets import host_opencl

FORMS: dict[str, tuple[Pass, ...]] = {
    "fp32": (), "fp16": (SixteenBit(dtype="float16"),), "int8": (Quantize(),)
}  # fmt: skip
AGREES = {"fp32": 1e-4, "fp16": 1e-2, "int8": 5e-2}
"""How far outputs may be from the reference's, of the largest. Rounding falls either way."""
BOARD = host_opencl()
DEFAULTS = "DLight fp32"


def network_models(kind: type[nn.Module]) -> dict[str, Model]:
    """The network in each form."""
    dense = from_torch(seeded(kind), (zeros(kind.example_shape),), name=kind.__name__)
    samples = random_data(kind.example_shape)
    return {
        form: run(dense, passes, samples).model if passes else dense
        for form, passes in FORMS.items()
    }


def dlight(module: IRModule) -> Trace | None:
    """TVM's default schedule of a function."""
    for schedule in rule_schedules(module["main"], Target(dict(BOARD.target))):
        return schedule.trace
    return None


def waited(call: Callable[[Any], Any], x: Any) -> Callable[[Any], Any]:
    """A call on a tensor that is there, until the device has done it."""

    def until_done(_: Any) -> Any:
        result = call(x)
        tvm.opencl(0).sync()
        return result

    return until_done


def tuned(prepared: dict[str, Prepared], minutes: float, log: TuningLog) -> Best | None:
    """The fastest schedules after so many minutes; without any, the untuned ones."""
    if not minutes:
        return None
    tasks = tasks_of([each.module for each in prepared.values()], prepared["fp32"].isa)
    tune(tasks, BOARD, log, Tuning(trials=10**6, time_limit_s=60 * minutes))
    return log.best


def measure(kind: type[nn.Module], folder: Path, minutes: float, seconds: float) -> dict[str, Any]:
    """Build, compare and time a network."""
    models = network_models(kind)
    prepared = {form: prepare(model, BOARD) for form, model in models.items()}
    best = tuned(prepared, minutes, TuningLog(folder / "log"))
    built = {
        form: executable(each, best, folder / f"{kind.__name__}-{form}.so")
        for form, each in prepared.items()
    }
    built[DEFAULTS] = executable(prepared["fp32"], dlight, folder / f"{kind.__name__}-dlight.so")
    sample = random_data(kind.example_shape, 1)
    x = tvm.runtime.tensor(sample.inputs[0], tvm.opencl(0))
    apart = {}
    for name, call in built.items():
        (wanted,) = evaluate(models.get(name, models["fp32"]), sample)
        apart[name] = float(np.abs(call(x).numpy() - wanted).max() / np.abs(wanted).max())
    calls = {name: waited(call, x) for name, call in built.items()}
    times = time_in_turn(calls, [x], seconds)
    medians = {name: np.median(found, axis=1) for name, found in times.items()}
    return {
        "network": kind.__name__,
        "p50_ms": {name: float(np.median(found)) for name, found in medians.items()},
        "differs": apart,
        "agrees": all(apart[name] <= AGREES.get(name, AGREES["fp32"]) for name in apart),
        "over": {
            f"{name} over {DEFAULTS}": report.ratio(medians[DEFAULTS] / medians[name])
            for name in FORMS
        },
    }


def tell(found: dict[str, Any]) -> None:
    """A line for each form of a network."""
    for name, ms in found["p50_ms"].items():
        ratio = found["over"].get(f"{name} over {DEFAULTS}")
        over = f"{ratio['median']:7.2f} x DLight" if ratio else ""
        line = f"{found['network']:16} {name:12} {ms:9.3f} ms {over:16}"
        print(f"{line}  differs {found['differs'][name]:.1e}", flush=True)


def main() -> None:
    """Compare, measure, print, write JSON."""
    parser = report.arguments(__doc__, "two seconds of timing a network")
    parser.add_argument("--network", action="append", choices=[n.__name__ for n in NETWORKS])
    parser.add_argument("--minutes", type=float, default=0.0, help="of tuning, for each network")
    parser.add_argument("--candidates", type=int, default=0, help="schedules to compare")
    asked = parser.parse_args()
    plugin.start(BOARD.target, BOARD.name)
    print(f"on {plugin.device_name()}")
    kinds = [n for n in NETWORKS if not asked.network or n.__name__ in asked.network]
    results: list[dict[str, Any]] = []
    if asked.candidates:
        forms = [network_models(kind)[form] for kind in kinds for form in ("fp32", "int8")]
        prepared = [prepare(model, BOARD) for model in forms]
        results.append(compare_candidates(prepared, asked.candidates))
        wrong = results[-1]["wrong"]
        print(f"{results[-1]['compared_count']} candidates, wrong: {len(wrong)}", *wrong, sep="\n")
    else:
        for kind in kinds:
            with tempfile.TemporaryDirectory() as folder:
                seconds = 2.0 if asked.quick else 20.0
                results.append(measure(kind, Path(folder), asked.minutes, seconds))
                tell(results[-1])
    ratios = {
        f"{label} {found['network']}": ratio
        for found in results
        for label, ratio in found.get("over", {}).items()
    }
    settings = {"device": plugin.device_name(), "tuning_minutes": asked.minutes}
    report.write(asked.json, "opencl", ("adaspring", "apache-tvm"), settings, results, ratios)


if __name__ == "__main__":
    main()
