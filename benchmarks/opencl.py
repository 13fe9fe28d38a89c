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
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import report
import tvm
from executable import executable
from networks import NETWORKS, random_data
from on_device import FORMS, agree, differences, medians_in_turn, network_models, tuned
from opencl_candidates import compare_candidates
from torch import nn
from tvm import IRModule
from tvm.s_tir.schedule import Trace
from tvm.target import Target

from adaspring.backends.build import prepare
from adaspring.backends.schedule.gpu import rule_schedules
from adaspring.backends.tuning.log.log import TuningLog
from adaspring.library.opencl import plugin
from adaspring.targets import host_opencl

BOARD = host_opencl()
DEFAULTS = "DLight fp32"


def dlight(module: IRModule) -> Trace | None:
    """TVM's default schedule of a function."""
    for schedule in rule_schedules(module["main"], Target(dict(BOARD.target))):
        return schedule.trace
    return None


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
    x = tvm.runtime.tensor(random_data(kind.example_shape, 1).inputs[0], tvm.opencl(0))
    apart = differences(built, models, x)
    medians = medians_in_turn(built, x, tvm.opencl(0), seconds)
    return {
        "network": kind.__name__,
        "p50_ms": {name: float(np.median(found)) for name, found in medians.items()},
        "differs": apart,
        "agrees": agree(apart),
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
    ratios = report.ratios_by(results, itemgetter("network"))
    settings = {"device": plugin.device_name(), "tuning_minutes": asked.minutes}
    report.write(asked.json, "opencl", ("adaspring", "apache-tvm"), settings, results, ratios)


if __name__ == "__main__":
    main()
