"""How much each unit of a group matters: one function for each setting of `Prune.importance`.

Each looks at the network (and the data) once and returns a function that scores a group's atoms.
w[j] is all that unit j owns in a weight w, along one of its axes; a part p of the score enters as
p[j] / mean over i of p[i], so that no weight counts by its size.

l1        sum over the group's weights of |w[j]|, absolute values summed
l2        the same with the Euclidean norm
geometric sum over the group's layers of the distances of the filter w[j] to all others: what lies
          near the geometric median can be had from the rest
power     sum over the layers w that read the group of |w[j]|² E[x[j]²], the power that unit j
          brings to the layer's output; needs data
taylor    mean over batches of (sum over the layers w that read the group of w[j] · dL/dw[j])²: the
          first-order change of the loss L when the unit goes; needs data. L is the cross-entropy
          of the first output (taken as logits) where the data have labels, else half the mean
          energy |y|² / 2 of all outputs

Where the data say nothing of a group (its inputs or gradients are all zero), l2 decides.

Source  H. Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017 (l1); Y. He et al., Filter
        Pruning via Geometric Median, CVPR 2019, eq. 4; P. Molchanov et al., Importance Estimation
        for Neural Network Pruning, CVPR 2019, eq. 8 and section 3.2 (batches, gates).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import PassError
from ...ir.layers import layers
from ...ir.model import Model
from ...reference.execution import Execution
from ...reference.executor import calibration_inputs
from ...reference.gradients import weight_gradients
from ..moments import grouped_weight
from .coupling import Holder

if TYPE_CHECKING:
    from ...frontend.data import Dataset

Atoms: TypeAlias = tuple[tuple[tuple[Holder, int, int], ...], ...]
Score: TypeAlias = Callable[[Atoms], np.ndarray]
Places: TypeAlias = Mapping[tuple[str, int], np.ndarray]
"""For a weight's axis, a figure for each index along it (…, size)."""

RUNS_PER_BATCH = 16
"""Runs whose gradients are taken together for taylor."""


def l1(model: Model, data: Dataset | None) -> Score:
    """Sum absolute values."""
    return partial(_normalize, places=_sum_by_axis(model, np.abs))


def l2(model: Model, data: Dataset | None) -> Score:
    """Take the root of summed squares."""
    return partial(_normalize, places=_sum_by_axis(model, np.square), root=True)


def geometric(model: Model, data: Dataset | None) -> Score:
    """Sum the distances to all other filters."""
    axes = {layer.weight: layer.output_axis for layer in layers(model)}

    def score(atoms: Atoms) -> np.ndarray:
        filters: dict[str, list[list[np.ndarray]]] = {}
        for j, atom in enumerate(atoms):
            for holder, axis, at in atom:
                if isinstance(holder, str) and axes.get(holder) == axis:
                    rows = filters.setdefault(holder, [[] for _ in atoms])
                    rows[j].append(np.take(model.weights[holder], at, axis).reshape(-1))
        parts = [np.array([np.concatenate(row) for row in rows]) for rows in filters.values()]
        return _sum_relative(_distances(part.astype(np.float64)) for part in parts)

    return score


def power(model: Model, data: Dataset | None) -> Score:
    """Measure what each input channel brings to the layers that read it."""
    assert data is not None, "Prune asks for data first"
    by_call = {layer.call: layer for layer in layers(model) if layer.kind != "depthwise"}
    execution = Execution(model, calibration_inputs(model, data))
    places: dict[tuple[str, int], np.ndarray] = {}
    for var, _ in execution:
        layer = by_call.get(var)
        if layer is None:
            continue
        x = execution.values[layer.input]
        channel = x.ndim - 1 if layer.kind == "dense" else 2
        over = tuple(axis for axis in range(x.ndim) if axis != channel)
        powers = x.double().square().mean(dim=over).numpy().reshape(layer.groups, -1)
        squares = np.square(grouped_weight(layer, model.weights[layer.weight]))
        squares = squares.reshape(*squares.shape[:2], powers.shape[1], -1).sum(axis=(1, 3))
        place = (layer.weight, 1 - layer.output_axis)
        places[place] = places.get(place, 0.0) + (squares * powers).sum(axis=0)
    return partial(_normalize, places=places)


def taylor(model: Model, data: Dataset | None) -> Score:
    """Estimate how the loss changes by its gradient at the weights that read the group."""
    assert data is not None, "Prune asks for data first"
    inputs = calibration_inputs(model, data)
    samples = np.arange(len(inputs[0]) * model.batch)
    labels = None
    if data.labels is not None:
        labels = torch.from_numpy(data.labels[np.minimum(samples, len(data) - 1)])
        labels = labels.reshape(len(inputs[0]), -1)
    readers = {x.weight: 1 - x.output_axis for x in layers(model) if x.kind != "depthwise"}
    effects: dict[tuple[str, int], list[np.ndarray]] = {}
    for start in range(0, len(inputs[0]), RUNS_PER_BATCH):
        part = slice(start, start + RUNS_PER_BATCH)
        loss = partial(_loss, labels=None if labels is None else labels[part].reshape(-1))
        found = weight_gradients(model, [x[part] for x in inputs], loss, tuple(readers))
        for name, gradient in found.items():
            moved = np.moveaxis(gradient * model.weights[name], readers[name], 0)
            sums = moved.reshape(len(moved), -1).sum(axis=1, dtype=np.float64)
            effects.setdefault((name, readers[name]), []).append(sums)
    places = {place: np.stack(rows) for place, rows in effects.items()}
    return lambda atoms: np.square(sum(_parts(atoms, places), np.zeros(1))).mean(axis=-1)


IMPORTANCES: Mapping[str, Callable[[Model, Dataset | None], Score]] = {
    "l1": l1,
    "l2": l2,
    "geometric": geometric,
    "power": power,
    "taylor": taylor,
}
NEED_DATA = ("power", "taylor")


def scorer(model: Model, name: str, data: Dataset | None) -> Score:
    """Return the scores of a setting; l2's for a group of which the data say nothing."""
    score, norms = IMPORTANCES[name](model, data), l2(model, None)

    def scores(atoms: Atoms) -> np.ndarray:
        found = np.broadcast_to(score(atoms), len(atoms))
        return found if found.any() else norms(atoms)

    return scores


def _loss(outputs: tuple[Tensor, ...], labels: Tensor | None) -> Tensor:
    """Compute the loss of mapped outputs (S, *shape), labels (S · batch) or None."""
    if labels is None:
        energies = [y.double().square().sum() / (2 * len(y)) for y in outputs]
        return torch.stack(energies).sum()
    scores = outputs[0].reshape(len(labels), -1)
    if int(labels.max()) >= scores.shape[1]:
        raise PassError(
            f"the calibration data have label {int(labels.max())}, the network's first output "
            f"{scores.shape[1]} scores a sample; give data without labels, or choose 'power'"
        )
    return F.cross_entropy(scores, labels)


def _sum_by_axis(model: Model, size: Callable[[np.ndarray], np.ndarray]) -> Places:
    """Sum a figure of each number over all axes but one, for each axis of each weight."""
    places = {}
    for name, array in model.weights.items():
        if array.ndim >= 2:
            sizes = size(array.astype(np.float64))
            for axis in range(array.ndim):
                others = tuple(i for i in range(array.ndim) if i != axis)
                places[name, axis] = sizes.sum(axis=others)
    return places


def _parts(atoms: Atoms, places: Places) -> list[np.ndarray]:
    """Sum, for each place, the figures of what each atom owns there: (atoms, …)."""
    parts: dict[tuple[Holder, int], np.ndarray] = {}
    for j, atom in enumerate(atoms):
        for holder, axis, at in atom:
            known = places.get((holder, axis)) if isinstance(holder, str) else None
            if known is not None:
                empty = np.zeros((len(atoms), *known.shape[:-1]))
                parts.setdefault((holder, axis), empty)[j] += known[..., at]
    return list(parts.values())


def _normalize(atoms: Atoms, places: Places, *, root: bool = False) -> np.ndarray:
    parts = _parts(atoms, places)
    return _sum_relative(np.sqrt(part) if root else part for part in parts)


def _sum_relative(parts: Iterable[np.ndarray]) -> np.ndarray:
    """Add up parts, each relative to its own mean."""
    total = np.zeros(1)
    for part in parts:
        total = total + (part / part.mean() if part.any() else 0.0 * part)
    return total


def _distances(filters: np.ndarray) -> np.ndarray:
    """Sum each row's Euclidean distances to all rows."""
    rows = torch.from_numpy(filters)
    return torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist").sum(1).numpy()
