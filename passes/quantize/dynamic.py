"""Dynamic int8: weights rounded ahead, each input's scale taken from its own values in every run.

Before  y = conv2d(x, w) + b
After   s = max|x| / 127; y = conv2d(dequantize(quantize(x, s)), dequantize(w8, w_scale)) + b
        x int8 per tensor, or uint8 with s = max x / 255 where x cannot be negative; w8 int8 per
        output channel, symmetric

It takes no calibration data, and no input is clipped. Finding the largest value costs a pass over
each input. Samples that are run together share a scale.

Source  ONNX operator DynamicQuantizeLinear, here symmetric
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from tvm import relax

from ...ir.checks import refuse_rounded
from ...ir.graph import Graph, is_call
from ...ir.layers import layers
from ...ir.model import Model
from ...ir.rewrite import Body, rebuild
from ...ir.stored_weights import Grid, form_in
from ..decision import Decision, Pass, by_call
from ..loop_weights import plan_loops, round_loops
from .reduce_precision import ReduceLayerPrecision
from .static import chosen_layers, kept_layers
from .weight_rounding import round_to_nearest

if TYPE_CHECKING:
    from ...frontend.data import Dataset

NEVER_NEGATIVE = ("relax.nn.relu", "relax.nn.relu6", "relax.sigmoid", "relax.nn.softmax")
SMALLEST = 1e-30
"""The largest magnitude of an input that is all zeros counts as this much."""


@dataclass(frozen=True, kw_only=True)
class DynamicInteger:
    """A layer that will compute in 8 bits, its input of type `dtype` scaled anew in every run.

    `values` (as the weight is stored) and `scales` (c_out,) are its weight.
    """

    layer: str
    dtype: str
    weight_error_ratio: float
    values: np.ndarray = field(repr=False, compare=False)
    scales: np.ndarray = field(repr=False, compare=False)

    def describe(self) -> str:
        """Say in one line how the layer is quantized."""
        return (
            f"{self.layer}: int8, input {self.dtype} scaled in every run, weight changed by "
            f"{self.weight_error_ratio:.2%}"
        )


@dataclass(frozen=True, kw_only=True)
class DynamicQuantize(Pass):
    """Convolutions and dense layers in int8, but for those named in `keep`."""

    rounds_weights: ClassVar[bool] = True

    keep: tuple[str, ...] = ()

    def plan(self, model: Model, calibration: Dataset | None) -> tuple[Decision, ...]:
        """Round every weight to nearest; tell which inputs cannot be negative."""
        refuse_rounded(model)
        graph = Graph.of(model)
        decided = {}
        for layer in chosen_layers(model, self.keep):
            weight = model.weights[layer.weight]
            rounded = round_to_nearest(layer, weight)
            shape = [1] * weight.ndim
            shape[layer.output_axis] = -1
            change = np.linalg.norm(rounded.values * rounded.scales.reshape(shape) - weight)
            made = graph.producers.get(layer.input)
            positive = made is not None and any(is_call(made, name) for name in NEVER_NEGATIVE)
            decided[layer.call] = DynamicInteger(
                layer=layer.name,
                dtype="uint8" if positive else "int8",
                weight_error_ratio=float(change) / max(float(np.linalg.norm(weight)), SMALLEST),
                values=rounded.values,
                scales=rounded.scales,
            )
        kept = kept_layers(model, self.keep)
        return (*decided.values(), *kept, *plan_loops(model, "int8"))

    def apply(self, model: Model, decisions: Sequence[Decision]) -> Model:
        """Return the network with quantize and dequantize around the chosen layers."""
        decided = by_call(layers(model), [d for d in decisions if isinstance(d, DynamicInteger)])
        chosen = {layer.call: layer for layer in layers(model) if layer.call in decided}
        weights = dict(model.weights)
        for call, layer in chosen.items():
            weights[layer.weight] = decided[call].values
            weights[f"{layer.weight}_scale"] = decided[call].scales
        roundings = {call: decision.dtype for call, decision in decided.items()}
        forms = {layer.weight: form_in(layer, Grid()) for layer in chosen.values()}
        rewrite = ReduceLayerPrecision(model, chosen, roundings, forms, _quantize_input)
        return round_loops(rebuild(model, weights, rewrite), decisions)


def _quantize_input(body: Body, old: relax.Var, rounding: Hashable) -> relax.Var:
    dtype, name, x = str(rounding), old.name, body.of(old)
    zero = relax.const(0, dtype)
    sized = x if dtype == "uint8" else body.emit(relax.op.abs(x), f"{name}_abs")
    largest = body.emit(relax.op.max(sized), f"{name}_largest")
    some = body.emit(
        relax.op.maximum(largest, relax.const(np.float32(SMALLEST), "float32")), f"{name}_some"
    )
    steps = relax.const(np.float32(255 if dtype == "uint8" else 127), "float32")
    scale = body.emit(relax.op.divide(some, steps), f"{name}_scale")
    quantized = body.emit(relax.op.quantize(x, scale, zero, out_dtype=dtype), f"{name}_q")
    return body.emit(relax.op.dequantize(quantized, scale, zero), f"{name}_dq")
