"""A network in the forms that GPUs compute, built for a device of this machine, compared and timed.

`opencl.py` and `gpu.py` say for which device, and beside what.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tvm
from networks import random_data, seeded
from torch import nn, zeros

from adaspring.backends.build import Prepared
from adaspring.backends.schedule.default import Best
from adaspring.backends.tuning.engine import tune
from adaspring.backends.tuning.log.log import TuningLog
from adaspring.backends.tuning.settings import Tuning
from adaspring.backends.tuning.tasks import tasks_of
from adaspring.explore.measure.timing import time_in_turn
from adaspring.frontend.data import Dataset
from adaspring.frontend.from_torch.importer import from_torch
from adaspring.ir.model import Model
from adaspring.passes import Pass, Quantize, SixteenBit, run
from adaspring.reference.executor import evaluate

Call = Callable[[Any], Any]
FORMS: dict[str, tuple[Pass, ...]] = {
    "fp32": (), "fp16": (SixteenBit(dtype="float16"),), "int8": (Quantize(),)
}  # fmt: skip
AGREES = {"fp32": 1e-4, "fp16": 1e-2, "int8": 5e-2}
"""How far outputs may be from the reference's, of the largest. Rounding falls either way."""
_SAMPLES = 16


def network_models(kind: type[nn.Module], batch: int = 1) -> dict[str, Model]:
    """The network in each form, for so many samples at once."""
    shape = (batch, *kind.example_shape[1:])
    dense = from_torch(seeded(kind), (zeros(shape),), name=kind.__name__)
    samples = random_data(shape, batch * -(-_SAMPLES // batch))
    return {
        form: run(dense, passes, samples).model if passes else dense
        for form, passes in FORMS.items()
    }


def tuned(prepared: Mapping[str, Prepared], minutes: float, log: TuningLog) -> Best | None:
    """The fastest schedules after so many minutes; without any, the untuned ones."""
    if not minutes:
        return None
    networks = list(prepared.values())
    tasks = tasks_of([each.module for each in networks], networks[0].isa)
    tune(tasks, networks[0].board, log, Tuning(trials=10**6, time_limit_s=60 * minutes))
    return log.best


def differences(calls: Mapping[str, Call], models: Mapping[str, Model], x: Any) -> dict[str, float]:
    """How far each is from the reference's output, of its largest; from fp32's, if no form is."""
    found = {}
    data = Dataset(inputs=(x.numpy(),), targets=None)
    for name, call in calls.items():
        (wanted,) = evaluate(models.get(name, models["fp32"]), data)
        found[name] = float(np.abs(call(x).numpy() - wanted).max() / np.abs(wanted).max())
    return found


def agree(differs: Mapping[str, float]) -> bool:
    """Whether all do, each as far as its form allows."""
    return all(ratio <= AGREES.get(name, AGREES["fp32"]) for name, ratio in differs.items())


def medians_in_turn(
    calls: Mapping[str, Call], x: Any, device: tvm.runtime.Device, seconds: float
) -> dict[str, np.ndarray]:
    """The median of each round, in milliseconds, of calls on a tensor that is there already."""

    def waited(call: Call) -> Call:
        def until_done(_: Any) -> Any:
            result = call(x)
            device.sync()
            return result

        return until_done

    times = time_in_turn({name: waited(call) for name, call in calls.items()}, [x], seconds)
    return {name: np.median(found, axis=1) for name, found in times.items()}
