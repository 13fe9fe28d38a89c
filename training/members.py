"""What a compressed network shares with the dense one: its weights as slices of the dense ones.

Before  dense W (64, 32, 3, 3); a member's passes keep 48 of the outputs, 24 of the inputs
After   the member reads s W[outputs][:, inputs] + D, s (48,) a factor of its own for each output,
        D what refitting to its own inputs changed, which stays; weights of one axis (biases, norms)
        and what its passes made anew (factors) are its own

Import folds batch norm into weights and biases. A factor and a bias of its own for each output give
a member what statistics of its own would give it, as the source does.

Source  J. Yu et al., Slimmable Neural Networks, ICLR 2019, section 3.3 (switchable batch norm)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import TrainingError
from ..ir.layers import layers, macs_count
from ..ir.model import Model
from ..passes.refit import Refit
from ..passes.runner import Step

Slices = Mapping[int, np.ndarray]
"""For each axis that is cut, which indices of the dense weight are read; none is the whole."""


@dataclass(frozen=True, eq=False)
class Member:
    """A network that shares weights; `model` has those that it starts from.

    `slices`: of each shared weight; `offsets`: what refitting added to it, where it did;
    `output_axes`: its axis of outputs, where it is a layer's.
    """

    model: Model
    slices: Mapping[str, Slices]
    offsets: Mapping[str, np.ndarray]
    output_axes: Mapping[str, int]

    @property
    def macs_count(self) -> int:
        """Multiply-adds of one run."""
        return macs_count(self.model)


def member_of(dense: Model, steps: Sequence[Step]) -> Member:
    """Apply decisions to a network; find out what is left of each weight.

    Raises:
        TrainingError: a pass rounds weights; round what was trained.

    """
    made, bare = dense, _without_refits(dense, steps)
    for step in steps:
        made = step.settings.apply(made, step.decisions)
    slices = _slices(dense, bare, steps)
    axes = {layer.weight: layer.output_axis for layer in layers(made) if layer.weight in slices}
    changes = {name: made.weights[name] - bare.weights[name] for name in slices}
    offsets = {name: change for name, change in changes.items() if change.any()}
    return Member(made, slices, offsets, axes)


def _without_refits(model: Model, steps: Sequence[Step]) -> Model:
    """Apply decisions without those that refit."""
    for step in steps:
        if step.settings.rounds_weights:
            raise TrainingError(
                f"{step.settings!r} rounds weights, which cannot be shared; round after training"
            )
        chosen = [each for each in step.decisions if not isinstance(each, Refit)]
        model = step.settings.apply(model, chosen)
    return model


def _slices(dense: Model, bare: Model, steps: Sequence[Step]) -> dict[str, Slices]:
    """Apply the same to weights that hold their own indices along one axis, axis by axis."""
    wide = {n: w for n, w in dense.weights.items() if w.ndim > 1 and w.dtype.kind == "f"}
    found: dict[str, dict[int, np.ndarray]] = {name: {} for name in wide if name in bare.weights}
    for axis in range(max((weight.ndim for weight in wide.values()), default=0)):
        numbered = {name: _index_weight(w, axis) for name, w in wide.items() if axis < w.ndim}
        probe = _without_refits(dense.evolved(dense.module, {**dense.weights, **numbered}), steps)
        for name in found:
            if axis < wide[name].ndim and probe.weights[name].size:
                rows = np.moveaxis(probe.weights[name], axis, 0).reshape(
                    probe.weights[name].shape[axis], -1
                )
                found[name][axis] = np.clip(rows[:, 0], 0, wide[name].shape[axis] - 1).astype(int)
    return {
        name: {axis: index for axis, index in of.items() if len(index) < wide[name].shape[axis]}
        for name, of in found.items()
        if _is_slice(wide[name], of, bare.weights[name])
    }


def _index_weight(weight: np.ndarray, axis: int) -> np.ndarray:
    shape = [1] * weight.ndim
    shape[axis] = -1
    index = np.arange(weight.shape[axis], dtype=weight.dtype).reshape(shape)
    return np.broadcast_to(index, weight.shape).copy()


def _is_slice(weight: np.ndarray, by_axis: Mapping[int, np.ndarray], made: np.ndarray) -> bool:
    if made.ndim != weight.ndim or len(by_axis) < weight.ndim:
        return False
    index = np.ix_(*(by_axis[axis] for axis in range(weight.ndim)))
    return np.array_equal(weight[index], made)
