"""An int8 layer as decided, and how it is written in the IR: fake quantization.

Before  y = conv2d(x, w) + b
After   y = conv2d(dequantize(quantize(x, s, z)), dequantize(w8, w_scale, 0)) + b'
        x uint8 per tensor, w8 int8 per output channel, symmetric; b' makes up for the mean error
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from tvm import relax

from ...ir.layers import layers
from ...ir.model import Model
from ...ir.rewrite import Body, rebuild
from ...ir.stored_weights import Grid, form_in
from ..decision import by_call
from .calibrators import Range
from .reduce_precision import ReduceLayerPrecision


@dataclass(frozen=True, kw_only=True)
class Integer:
    """A layer that will compute in 8 bits.

    `values` (as the weight is stored) and `scales` (c_out,) are its weight, rounded as `rounding`
    says; `bias` is the corrected one, or None where the old one stays.
    """

    layer: str
    input_range: Range
    rounding: str
    values: np.ndarray = field(repr=False, compare=False)
    scales: np.ndarray = field(repr=False, compare=False)
    bias: np.ndarray | None = field(default=None, repr=False, compare=False)
    error_ratio: float | None = None

    def describe(self) -> str:
        """Say in one line how the layer is quantized, and at what error."""
        chosen = self.input_range
        corrected = "" if self.bias is None else ", bias corrected"
        error = "not measured" if self.error_ratio is None else f"{self.error_ratio:.2%}"
        return (
            f"{self.layer}: int8, input scale {chosen.scale:.4g}, zero point {chosen.zero_point} "
            f"({chosen.inside_ratio:.3%} of values inside), weight rounded by {self.rounding}"
            f"{corrected}, squared output error {error}"
        )


def insert_qdq(model: Model, integers: Sequence[Integer]) -> Model:
    """Return the network with quantize and dequantize around the layers decided on.

    A weight that several layers share has a decision for each, in order: they differ in the range
    of the input alone.
    """
    decided = by_call(layers(model), integers)
    chosen = {layer.call: layer for layer in layers(model) if layer.call in decided}
    weights = dict(model.weights)
    for call, layer in chosen.items():
        decision = decided[call]
        weights[layer.weight] = decision.values
        weights[f"{layer.weight}_scale"] = decision.scales
        if layer.bias and decision.bias is not None:
            weights[layer.bias] = decision.bias
    forms = {layer.weight: form_in(layer, Grid()) for layer in chosen.values()}
    spans = {call: decision.input_range for call, decision in decided.items()}
    roundings = {var: (span.scale, span.zero_point) for var, span in spans.items()}
    rewrite = ReduceLayerPrecision(model, chosen, roundings, forms, _quantize_input)
    return rebuild(model, weights, rewrite)


def _quantize_input(body: Body, old: relax.Var, rounding: Hashable) -> relax.Var:
    scale_value, zero_point = cast(tuple[float, int], rounding)
    scale = relax.const(np.float32(scale_value), "float32")
    zero = relax.const(zero_point, "uint8")
    small = relax.op.quantize(body.of(old), scale, zero, out_dtype="uint8")
    quantized = body.emit(small, f"{old.name}_q")
    return body.emit(relax.op.dequantize(quantized, scale, zero), f"{old.name}_dq")
