"""Refit the layers of a compressed network so that each gives the outputs it gave before.

The dense network runs once over calibration samples. Then the compressed one runs, and at every
layer, in order, with x what reaches it there (after the refits so far) and y what the dense
network's layer gave:

Before  W, b                the weights that compression left
After   W + D, b + c        D, c minimise mean |y - (W + D) x - (b + c)|² + r |D|²

Where the samples say nothing, W stays. Of the dampings r in `RIDGES` the one is taken that, fitted
to three quarters of the positions, does best on the others. A layer without a bias gets none.

Source  Y. He et al., Channel Pruning for Accelerating Very Deep Neural Networks, ICCV 2017,
        section 3.1, step (ii), on the compressed network's own inputs as in section 3.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..ir.graph import Graph
from ..ir.layers import Layer, layers, shared_weights
from ..ir.model import Model
from ..reference.execution import Execution
from ..reference.executor import calibration_inputs
from .moments import Moments, grouped_weight, layer_weight, merge, moments, output_rows, positions

if TYPE_CHECKING:
    from ..frontend.data import Dataset

RIDGES = (1e-3, 1e-2, 1e-1, 1.0, np.inf)
"""The dampings tried, as shares of the mean power of x's features; infinity keeps W."""

ROUNDING = 1e-9
"""The least damping, as a share of the power of x about zero, so that x may be constant."""


@dataclass(frozen=True, kw_only=True)
class Refit:
    """A layer whose weights were fitted anew on calibration data.

    The errors are mean |y - y'|² over the variance of y.
    """

    layer: str
    error_before_ratio: float
    error_after_ratio: float
    weights: Mapping[str, np.ndarray] = field(repr=False, compare=False)

    def describe(self) -> str:
        """Say in one line what refitting gained."""
        return (
            f"{self.layer}: refitted, squared output error "
            f"{self.error_before_ratio:.2%} -> {self.error_after_ratio:.2%}"
        )


@dataclass(frozen=True, eq=False)
class Target:
    """What a layer must give: outputs (P, c_out) of the dense network, and where they were."""

    outputs: Tensor
    at: np.ndarray


def targets(dense: Model, data: Dataset) -> dict[str, Target]:
    """Run the dense network; sample every layer's output (bias included), by the layer's name."""
    inputs = calibration_inputs(dense, data)
    by_call, found = {layer.call: layer for layer in layers(dense)}, {}
    for var, value in Execution(dense, inputs):
        layer = by_call.get(var)
        if layer is not None:
            at = positions(layer, len(inputs[0]))
            rows = output_rows(layer, value, at)
            bias = dense.weights[layer.bias] if layer.bias else np.zeros(1, np.float32)
            found[layer.name] = Target(rows + torch.from_numpy(np.array(bias)), at)
    return found


def covariances(dense: Model, data: Dataset) -> dict[str, np.ndarray]:
    """Measure what each ungrouped layer reads: C (F, F), about the mean where a bias follows.

    C is exactly zero where the input never varies.
    """
    inputs = calibration_inputs(dense, data)
    by_call, found = {layer.call: layer for layer in layers(dense)}, {}
    execution = Execution(dense, inputs)
    for var, value in execution:
        layer = by_call.get(var)
        if layer is not None and layer.groups == 1:
            at = positions(layer, len(inputs[0]))
            rows = output_rows(layer, value, at)
            seen = merge(*moments(layer, execution.values[layer.input], at, rows))
            about = (seen.centre() if layer.bias else seen).xx[0]
            varies = np.trace(about) > ROUNDING * np.trace(seen.xx[0])
            found[layer.name] = about if varies else np.zeros_like(about)
    return found


def apply_refits(model: Model, decisions: Sequence[object]) -> Model:
    """Return the network with the weights of all refits among some decisions."""
    weights = dict(model.weights)
    for decision in decisions:
        if isinstance(decision, Refit):
            weights.update(decision.weights)
    return model.evolved(model.module, weights)


def refit(thin: Model, wanted: Mapping[str, Target], data: Dataset) -> tuple[Refit, ...]:
    """Refit every layer of `thin` that has a target and a weight of its own, in order."""
    execution = Execution(thin, calibration_inputs(thin, data))
    by_call, values = {layer.call: layer for layer in layers(thin)}, Graph.of(thin).producers
    shared = shared_weights(thin)
    found = []
    for var, _ in execution:
        layer = by_call.get(var)
        if layer is None or layer.name not in wanted or layer.weight in shared:
            continue
        target = wanted[layer.name]
        seen = moments(layer, execution.values[layer.input], target.at, target.outputs)
        result = _fit_layer(layer, thin, seen)
        found.append(result)
        for name, array in result.weights.items():
            execution.replace_weight(name, array)
        execution.values[var] = execution.evaluate(values[var])
    return tuple(found)


def _fit_layer(layer: Layer, thin: Model, parts: tuple[Moments, Moments]) -> Refit:
    """Choose the damping that does best on samples it was not fitted to, then fit to all."""
    weight = grouped_weight(layer, thin.weights[layer.weight])
    bias = thin.weights[layer.bias].astype(np.float64) if layer.bias else np.zeros(1)
    old = weight, np.broadcast_to(bias.reshape(layer.groups, -1), parts[0].y.shape)
    fit = partial(_fit, *old, moves_bias=layer.bias is not None)
    most, unseen = parts
    tried = [(unseen.squared_error(*fit(most, ridge)), -ridge) for ridge in RIDGES]
    seen = merge(*parts)
    new_weight, new_bias = fit(seen, -min(tried)[1])
    new = {layer.weight: layer_weight(layer, new_weight)}
    if layer.bias:
        new[layer.bias] = new_bias.reshape(-1).astype(np.float32)
    spread = max(float(seen.centre().yy.sum()), 1e-12 * float(seen.yy.sum()), 1e-30)
    return Refit(
        layer=layer.name,
        error_before_ratio=seen.squared_error(*old) / spread,
        error_after_ratio=seen.squared_error(new_weight, new_bias) / spread,
        weights=new,
    )


def _fit(
    weight: np.ndarray, bias: np.ndarray, seen: Moments, ridge: float, *, moves_bias: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Solve for one damping; infinite damping leaves the weight and moves the bias alone."""
    if ridge < np.inf:
        about = seen.centre() if moves_bias else seen
        power, whole = (np.einsum("gff->gf", xx).mean(axis=1) for xx in (about.xx, seen.xx))
        share = ridge * power + ROUNDING * whole + 1e-30
        damping = share[:, None, None] * np.eye(about.xx.shape[1])
        missing = about.xy - about.xx @ weight.transpose(0, 2, 1)
        root = torch.linalg.cholesky(torch.from_numpy(about.xx + damping))
        step = torch.cholesky_solve(torch.from_numpy(missing), root).numpy()
        weight = weight + step.transpose(0, 2, 1)
    if moves_bias:
        bias = seen.y - np.einsum("gof,gf->go", weight, seen.x)
    return weight, bias
