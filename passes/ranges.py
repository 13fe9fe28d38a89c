"""Look at a network's activations on calibration data, and choose each one's range."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from tvm import relax

from ..errors import PassError
from ..frontend.model import Model
from .calibrators import Calibrator, Range
from .execution import Execution

VALUES_PER_RUN = 2048


def ranges(
    model: Model, inputs: Sequence[Tensor], wanted: Sequence[relax.Var], calibrator: Calibrator
) -> dict[relax.Var, Range]:
    """Choose a range for each wanted variable from its values over calibration inputs."""
    left = set(wanted)
    return {
        var: calibrator(_finite(var, per_run(value)))
        for var, value in _values(model, inputs)
        if var in left
    }


def _values(model: Model, inputs: Sequence[Tensor]) -> Iterator[tuple[relax.Var, Tensor]]:
    yield from zip(model.function.params, inputs, strict=False)
    yield from Execution(model, inputs)


def per_run(value: Tensor) -> np.ndarray:
    """Take every run's extremes, and as many values as fit, as float64 (runs, n)."""
    flat = value.reshape(len(value), -1)
    places = flat.shape[1]
    if places > VALUES_PER_RUN:
        at = np.random.default_rng(0).choice(places, VALUES_PER_RUN, replace=False)
        ends = torch.stack([flat.amin(1), flat.amax(1)], dim=1)
        flat = torch.cat([flat[:, torch.from_numpy(at)], ends], dim=1)
    return flat.double().numpy()


def _finite(var: relax.Var, values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        raise PassError(
            f"{var.name} becomes NaN or infinite on the calibration data, so it has no range; "
            "check the network and its data"
        )
    return values
