"""Run a quantized network, layer by layer, against the dense one's outputs: fit and measure.

At each layer, in order, with what reaches it after the layers before were fitted: the weight is
rounded (where that takes data), the bias is corrected for the mean error, the error is measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from ...ir.graph import Graph
from ...ir.layers import Layer, layers, shared_weights
from ...ir.model import Model
from ...reference.execution import Execution
from ...reference.executor import calibration_inputs
from ..moments import moments, output_rows
from ..refit import Target
from .int8_layer import Integer, insert_qdq
from .weight_rounding import round_by_moments

if TYPE_CHECKING:
    from ...frontend.data import Dataset


def fit(
    model: Model,
    plain: Sequence[Integer],
    wanted: Mapping[str, Target],
    calibration: Dataset,
    *,
    rounding: str,
    corrects: bool,
) -> list[Integer]:
    """Return the decisions fitted and measured; a weight that several layers share stays."""
    integer = insert_qdq(model, plain)
    execution = Execution(integer, calibration_inputs(model, calibration))
    made, shared = Graph.of(integer).producers, shared_weights(model)
    by_call = {layer.call: layer for layer in layers(integer) if layer.quantized}
    waiting, found = iter(plain), []
    for var, value in execution:
        if var not in by_call:
            continue
        layer, decision = by_call[var], next(waiting)
        if layer.weight not in shared:
            target, weight = wanted[layer.name], model.weights[layer.weight]
            moves = corrects and layer.bias is not None and layer.bias not in shared
            if rounding == "gptq":
                x = execution.values[layer.input]
                seen = moments(layer, x, target.at, target.outputs)
                rounded = round_by_moments(layer, weight, seen, about_mean=moves)
                decision = replace(decision, **vars(rounded))
                execution.replace_weight(f"{layer.weight}_scale", rounded.scales)
                execution.replace_weight(layer.weight, rounded.values)
                value = execution.values[var] = execution.evaluate(made[var])
            bias = model.weights[layer.bias] if layer.bias else np.zeros(1, np.float32)
            decision = _measured(layer, decision, target, value, bias, moves=moves)
            if layer.bias and decision.bias is not None:
                execution.replace_weight(layer.bias, decision.bias)
        found.append(decision)
    return found


def _measured(
    layer: Layer, decision: Integer, target: Target, value: Tensor, bias: np.ndarray, *, moves: bool
) -> Integer:
    """Compare the layer's bare output with what it shall give; move the bias by the mean error."""
    missing = target.outputs.double() - output_rows(layer, value, target.at).double()
    errors, corrected = missing.numpy() - bias, None
    if moves:
        corrected = (bias + errors.mean(axis=0)).astype(np.float32)
        errors = errors - errors.mean(axis=0)
    spread = float(target.outputs.double().var(dim=0, correction=0).sum())
    error_ratio = float(np.square(errors).mean(axis=0).sum()) / max(spread, 1e-30)
    return replace(decision, bias=corrected, error_ratio=error_ratio)
