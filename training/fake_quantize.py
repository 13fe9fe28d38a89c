"""Quantization-aware training: a network learns under the rounding that int8 will do to it.

Before  y = conv2d(x, w) + b                                             w, b trained
After   y = conv2d(q(x), q(w)) + b     q(v) = s * (clamp(round(v / s) + z) - z), w, b trained

The IR that runs is the one that `Quantize.apply` makes; its activations' scales stay as planned, a
weight's scale follows the weight (largest |w| of each output channel / 127). Gradients pass through
the rounding unchanged, and stop where a value is clamped.

Source  Y. Bengio et al., Estimating or Propagating Gradients Through Stochastic Neurons, 2013
        (straight-through estimator); B. Jacob et al., Quantization and Training of Neural Networks
        for Efficient Integer-Arithmetic-Only Inference, CVPR 2018, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..ir.layers import Layer, layers
from ..ir.model import Model
from ..passes.decision import Decision
from ..passes.quantize.int8_layer import Integer, by_layer, insert_qdq
from ..passes.quantize.weight_rounding import INT8, round_to_nearest
from ..reference.attributes import torch_type
from ..reference.gradients import GradientExecution
from ..reference.operators import TABLE, Operator
from ..reference.operators_nn import broadcast
from .lift import TorchModel


def _round(value: Tensor) -> Tensor:
    """Round to nearest, ties to even; the gradient is that of no rounding."""
    return value + (torch.round(value) - value).detach()


def _quantize(attrs: Any, x: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    """Give the quantized values as floats, so that gradients pass; the values are the integers'."""
    limits = torch.iinfo(torch_type(attrs.out_dtype))
    rounded = _round(x / broadcast(scale, x, attrs.axis)) + broadcast(zero_point, x, attrs.axis)
    return rounded.clamp(limits.min, limits.max)


def _dequantize(attrs: Any, x: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    return (x - broadcast(zero_point, x, attrs.axis)) * broadcast(scale, x, attrs.axis)


class FakeQuantExecution(GradientExecution):
    """A run in which quantize and dequantize let gradients through."""

    table: ClassVar[Mapping[str, Operator]] = {
        **TABLE,
        "relax.quantize": _quantize,
        "relax.dequantize": _dequantize,
    }


class QuantizationAware(TorchModel):
    """A float network that runs as the int8 network which `decisions` make of it.

    The parameters are the float weights; biases start as the decisions corrected them.
    `quantized()` is the int8 network of the weights as they are now.
    """

    execution = FakeQuantExecution

    def __init__(self, model: Model, decisions: Sequence[Decision]):
        self._integers = by_layer([each for each in decisions if isinstance(each, Integer)])
        chosen = [layer for layer in layers(model) if layer.name in self._integers]
        self._layers = tuple(chosen)
        corrected = dict(model.weights)
        for layer in chosen:
            bias = self._integers[layer.name].bias
            if layer.bias is not None and bias is not None:
                corrected[layer.bias] = bias
        start = model.evolved(model.module, corrected)
        super().__init__(start, self._written(start))

    def ir_weights(self) -> Mapping[str, Tensor]:
        """Round the float weights as `passes.weight_rounding.round_to_nearest` does."""
        held = self.tensors()
        for layer in self._layers:
            rounded, scale = quantize_straight_through(layer, held[layer.weight])
            held[layer.weight], held[f"{layer.weight}_scale"] = rounded, scale
        return held

    def quantized(self) -> Model:
        """Return the int8 network of the weights as they are now."""
        return self._written(self.evolved())

    def _written(self, model: Model) -> Model:
        plain = [
            replace(
                self._integers[layer.name],
                bias=None,
                **vars(round_to_nearest(layer, model.weights[layer.weight])),
            )
            for layer in self._layers
        ]
        return insert_qdq(model, plain)


def quantize_straight_through(layer: Layer, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Give a weight's quantized values as floats, and scales (c_out,).

    They are those of `round_to_nearest`, which gives int8.
    """
    others = tuple(axis for axis in range(weight.ndim) if axis != layer.output_axis)
    largest = weight.detach().abs().amax(dim=others, keepdim=True)
    scale = torch.where(largest > 0, largest / INT8.limit, 1.0)
    scale = scale.clamp(min=torch.finfo(torch.float32).tiny)
    rounded = _round(weight.double() / scale).clamp(-INT8.limit, INT8.limit)
    return rounded.to(weight.dtype), scale.reshape(-1)
