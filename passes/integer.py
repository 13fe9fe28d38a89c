"""An int8 layer as decided, and how it is written in the IR: fake quantization.

Before  y = conv2d(x, w) + b
After   y = conv2d(dequantize(quantize(x, s, z)), dequantize(w8, w_scale, 0)) + b'
        x uint8 per tensor, w8 int8 per output channel, symmetric; b' makes up for the mean error

Whatever else reads an image x (a residual add, a concatenation) reads the same 8 bits, so that a
board need not keep the reals too: they are four times the bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from tvm import relax

from ..frontend.model import Model
from .calibrators import Range
from .graph import Graph, Layer, layers, variables
from .rewrite import Body, rebuild


@dataclass(frozen=True, kw_only=True)
class Integer:
    """A layer that will compute in 8 bits.

    `levels` (as the weight is stored) and `scales` (c_out,) are its weight, rounded as `rounding`
    says; `bias` is the corrected one, or None where the old one stays.
    """

    layer: str
    input_range: Range
    rounding: str
    levels: np.ndarray = field(repr=False, compare=False)
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


def written(model: Model, integers: Sequence[Integer]) -> Model:
    """Return the network with quantize and dequantize around the layers decided on.

    A weight that several layers share has a decision for each, in order: they differ in the range
    of the input alone.
    """
    waiting = {name: [d for d in integers if d.layer == name] for name in by_layer(integers)}
    chosen = {layer.call: layer for layer in layers(model) if layer.name in waiting}
    spans = {var: waiting[layer.name].pop(0).input_range for var, layer in chosen.items()}
    stored, decided = {layer.weight: layer for layer in chosen.values()}, by_layer(integers)
    weights = {}
    for name, array in model.weights.items():
        if name in stored:
            decision = decided[stored[name].name]
            weights[name], weights[f"{name}_scale"] = decision.levels, decision.scales
        else:
            weights[name] = array
    for layer in chosen.values():
        bias = decided[layer.name].bias
        if layer.bias and bias is not None:
            weights[layer.bias] = bias
    return rebuild(model, weights, _Rewrite(model, stored, chosen, spans))


def by_layer(integers: Sequence[Integer]) -> dict[str, Integer]:
    """Give a decision for each layer's name."""
    return {decision.layer: decision for decision in integers}


class _Rewrite:
    """Rewrites bindings: each weight and each input is quantized once, where first read."""

    def __init__(
        self,
        model: Model,
        stored: Mapping[str, Layer],
        chosen: Mapping[relax.Var, Layer],
        spans: Mapping[relax.Var, Range],
    ):
        self._names, self._graph = model.weight_names(), Graph.of(model)
        self._stored, self._chosen, self._spans = stored, chosen, spans
        self._images = self._quantized_images()
        self._waiting = set(stored)
        self._inputs: dict[tuple[relax.Var, float, int], relax.Var] = {}

    def _quantized_images(self) -> dict[relax.Var, Range]:
        """The images that are read in 8 bits; before max pooling too, which picks among them."""
        inner = self._graph.producers.keys() - set(self._graph.outputs())
        images = {
            layer.input: self._spans[call]
            for call, layer in self._chosen.items()
            if layer.kind != "dense" and layer.input in inner
        }
        for image, span in tuple(images.items()):
            pool = self._graph.call(image, "relax.nn.max_pool2d")
            before = None if pool is None else self._graph.origin(pool.args[0])
            if before in inner and len(self._graph.consumers[before]) == 1:
                images.setdefault(before, span)
        return images

    def __call__(self, body: Body, var: relax.Var, value: relax.Expr) -> relax.Expr:
        for read in variables(value):
            name = self._names.get(read)
            if name in self._waiting:
                self._waiting.remove(name)
                body.bind(read, self._weight(body, self._stored[name], read))
        if var not in self._chosen:
            return self._other(body, value)
        x = self._input(body, self._chosen[var].input, self._spans[var])
        return relax.Call(value.op, [x, body.of(value.args[1])], value.attrs)

    def _other(self, body: Body, value: relax.Expr) -> relax.Expr:
        """Rewrite what is no chosen layer: images that are quantized are read so."""
        if isinstance(value, relax.Var):
            return body.of(value)
        images = {read: self._graph.origin(read) for read in variables(value)}
        instead = {
            read: self._input(body, image, self._images[image])
            for read, image in images.items()
            if image in self._images
        }
        return body.of(value, instead)

    def _weight(self, body: Body, layer: Layer, old: relax.Var) -> relax.Var:
        zero = relax.const(0, "int8")
        scale = body.weight(f"{layer.weight}_scale")
        real = relax.op.dequantize(body.weight(layer.weight), scale, zero, layer.output_axis)
        return body.emit(real, f"{old.name}_dq")

    def _input(self, body: Body, old: relax.Var, span: Range) -> relax.Var:
        key = (old, span.scale, span.zero_point)
        if key not in self._inputs:
            scale = relax.const(np.float32(span.scale), "float32")
            zero = relax.const(span.zero_point, "uint8")
            small = relax.op.quantize(body.of(old), scale, zero, out_dtype="uint8")
            levels = body.emit(small, f"{old.name}_q")
            self._inputs[key] = body.emit(
                relax.op.dequantize(levels, scale, zero), f"{old.name}_dq"
            )
        return self._inputs[key]
