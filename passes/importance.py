"""How much each channel of a group matters.

Without data, importance(j) = sum over the group's weights w of |w[j]| / mean over i of |w[i]|,
where |w[j]| is the Euclidean norm of all that channel j owns in w.

With calibration data, importance(j) = sum over the layers w that read the group of
p[j] / mean over i of p[i], where p[j] = |w[j]|² E[x[j]²] is the power that channel j brings to
the layer's output. Measured on two networks trained on handwritten digits and refitted after
pruning (`refit.py`), test images right: a residual network less 75 % of its MACs 97.8 %, by norms
96.0 % (before: 98.4 %); a depthwise network less 71 % 93.2 %, by norms 85.3 % (before: 97.2 %).

Source  H. Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017 (by norm).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..frontend.model import Model
from .coupling import Coupling, Holder
from .graph import Layer, layers
from .reference import Execution, calibration_inputs

if TYPE_CHECKING:
    from ..frontend.data import Dataset

Atoms = tuple[tuple[tuple[Holder, int, int], ...], ...]


def input_powers(model: Model, calibration: Dataset) -> dict[str, np.ndarray]:
    """Measure E[x²] of every input channel (feature) of each ungrouped layer, by its weight."""
    inputs = calibration_inputs(model, calibration)
    by_call = {layer.call: layer for layer in layers(model) if layer.groups == 1}
    execution, found = Execution(model, inputs), {}
    for var, _ in execution:
        layer = by_call.get(var)
        if layer is not None:
            x = execution.values[layer.input]
            channel = x.ndim - 1 if layer.kind == "dense" else 2
            over = tuple(axis for axis in range(x.ndim) if axis != channel)
            found[layer.weight] = x.double().square().mean(dim=over).numpy()
    return found


def importance(
    model: Model, coupled: Coupling, index: int, powers: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Score every channel of a group by the formulas above; without `powers`, by norms."""
    readers = _input_axes(layers(model)) if powers else {}
    atoms = coupled.atoms[index]
    by_power = _scores(model, atoms, powers, readers)
    return by_power if by_power.any() else _scores(model, atoms, {}, {})


def _input_axes(found: tuple[Layer, ...]) -> dict[str, int]:
    return {layer.weight: 1 - layer.output_axis for layer in found if layer.groups == 1}


def _scores(
    model: Model, atoms: Atoms, powers: Mapping[str, np.ndarray], readers: Mapping[str, int]
) -> np.ndarray:
    parts: dict[tuple[str, int], np.ndarray] = {}
    for j, atom in enumerate(atoms):
        for holder, axis, at in atom:
            if not isinstance(holder, str) or model.weights[holder].ndim < 2:
                continue
            if readers and readers.get(holder) != axis:
                continue
            square = np.square(np.take(model.weights[holder], at, axis), dtype=np.float64).sum()
            power = powers[holder][at] if powers else 1.0
            parts.setdefault((holder, axis), np.zeros(len(atoms)))[j] += square * power
    scores = np.zeros(len(atoms))
    for part in parts.values():
        sizes = part if powers else np.sqrt(part)
        scores += sizes / sizes.mean() if sizes.any() else 0.0
    return scores
