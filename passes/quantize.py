"""Int8 post-training quantization: 8-bit weights and activations, written as fake quantization.

Before  y = conv2d(x, w) + b
After   y = conv2d(dequantize(quantize(x, s, z)), dequantize(w8, w_scale, 0)) + b'
        x uint8 per tensor, w8 int8 per output channel, symmetric; b' makes up for the mean error

Whatever else reads an image x (a residual add, a concatenation) reads the same 8 bits, so that a
board need not keep the reals too: they are four times the bytes.

Activation ranges come from calibration data (`ranges.py`). Rounding is to nearest, ties to even,
as TVM's legalization of quantize computes it.

Source  B. Jacob et al., Quantization and Training of Neural Networks for Efficient
        Integer-Arithmetic-Only Inference, CVPR 2018; M. Nagel et al., Data-Free Quantization,
        ICCV 2019, section 4.2 (bias correction, here on calibration data).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from tvm import relax

from ..errors import PassError
from ..frontend.model import Model
from .decision import Decision
from .graph import Graph, Layer, layers, variables
from .integers import refuse_quantized
from .moments import output_rows
from .ranges import Range, ranges
from .reference import Execution, calibration_inputs, evaluate
from .refit import Target, targets
from .rewrite import Body, rebuild

if TYPE_CHECKING:
    from ..frontend.data import Dataset

WEIGHT_LIMIT = 127


@dataclass(frozen=True, kw_only=True)
class Integer:
    """A layer that will compute in 8 bits: its input's range, and its corrected bias."""

    layer: str
    input_range: Range
    error_ratio: float
    weights: Mapping[str, np.ndarray] = field(repr=False, compare=False)

    def describe(self) -> str:
        """Say in one line how the layer is quantized, and at what error."""
        chosen = self.input_range
        corrected = ", bias corrected" if self.weights else ""
        return (
            f"{self.layer}: int8, input scale {chosen.scale:.4g}, zero point {chosen.zero_point} "
            f"({chosen.percentile:g} % of values inside){corrected}, "
            f"squared output error {self.error_ratio:.2%}"
        )


@dataclass(frozen=True, kw_only=True)
class Quantize:
    """Convolutions and dense layers in int8, on calibrated activations."""

    needs_data: ClassVar[bool] = True

    def plan(self, model: Model, calibration: Dataset | None) -> tuple[Decision, ...]:
        """Choose each input's range, then correct each bias on what reaches its layer."""
        if calibration is None:
            raise PassError("quantization needs calibration data; give a data set")
        refuse_quantized(model)
        chosen = layers(model)
        for layer in chosen:
            _check(model, layer)
        inputs = calibration_inputs(model, calibration)
        spans = ranges(model, inputs, [layer.input for layer in chosen])
        plain = {
            layer.name: Integer(
                layer=layer.name, input_range=spans[layer.input], error_ratio=0.0, weights={}
            )
            for layer in chosen
        }
        return tuple(_corrected(model, plain, calibration).values())

    def apply(self, model: Model, decisions: Sequence[Decision]) -> Model:
        """Return the network with quantize and dequantize around the chosen layers."""
        integers = {d.layer: d for d in decisions if isinstance(d, Integer)}
        chosen = {layer.call: layer for layer in layers(model) if layer.name in integers}
        weights, stored = {}, {layer.weight: layer for layer in chosen.values()}
        for name, array in model.weights.items():
            if name in stored:
                weights[name], weights[f"{name}_scale"] = rounded(stored[name], array)
            else:
                weights[name] = array
        for decision in integers.values():
            weights.update(decision.weights)
        spans = {var: integers[layer.name].input_range for var, layer in chosen.items()}
        return rebuild(model, weights, _Rewrite(model, stored, chosen, spans))


def rounded(layer: Layer, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Round a weight to int8 by output channel, symmetric; return it and its scales (c_out,)."""
    others = tuple(axis for axis in range(weight.ndim) if axis != layer.output_axis)
    largest = np.abs(weight).max(axis=others, keepdims=True)
    scale = np.where(largest > 0, largest / WEIGHT_LIMIT, 1.0).astype(np.float32)
    scale = np.maximum(scale, np.finfo(np.float32).tiny)
    levels = np.clip(np.rint(weight / scale), -WEIGHT_LIMIT, WEIGHT_LIMIT)
    return levels.astype(np.int8), scale.reshape(-1)


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


def _check(model: Model, layer: Layer) -> None:
    if not np.isfinite(model.weights[layer.weight]).all():
        raise PassError(f"the weight of {layer.name} holds NaN or infinity; it cannot be rounded")


def _corrected(
    model: Model, plain: Mapping[str, Integer], calibration: Dataset
) -> dict[str, Integer]:
    """Measure every layer with and without bias correction; keep the nearer network's decisions."""
    dense = targets(model, calibration)
    wanted = evaluate(model, calibration)
    tried = []
    for correct in (False, True):
        decisions = _measured(model, plain, dense, calibration, correct)
        given = evaluate(Quantize().apply(model, tuple(decisions.values())), calibration)
        error = sum(_error_ratio(a, b) for a, b in zip(given, wanted, strict=True))
        tried.append((error, decisions))
    return min(tried, key=lambda each: each[0])[1]


def _error_ratio(given: np.ndarray, wanted: np.ndarray) -> float:
    """Return the mean over samples of |y - y'|² / |y|², so that no one sample decides alone."""
    y, error = wanted.reshape(len(wanted), -1), (given - wanted).reshape(len(wanted), -1)
    power = np.square(y, dtype=np.float64).sum(axis=1)
    return float(np.mean(np.square(error).sum(axis=1) / np.where(power > 0, power, 1.0)))


def _measured(
    model: Model,
    plain: Mapping[str, Integer],
    dense: Mapping[str, Target],
    calibration: Dataset,
    correct: bool,
) -> dict[str, Integer]:
    """Run the quantized network layer by layer against the dense one's outputs."""
    integer = Quantize().apply(model, tuple(plain.values()))
    execution = Execution(integer, calibration_inputs(model, calibration))
    by_call, found = {layer.call: layer for layer in layers(integer)}, {}
    for var, value in execution:
        layer = by_call.get(var)
        if layer is None or layer.name not in plain:
            continue
        target = dense[layer.name]
        bias = integer.weights[layer.bias] if layer.bias else np.zeros(1, np.float32)
        missing = target.outputs.double() - output_rows(layer, value, target.at).double()
        missing = missing.numpy() - bias
        weights = {}
        if correct and layer.bias:
            weights[layer.bias] = (bias + missing.mean(axis=0)).astype(np.float32)
            execution.replace_weight(layer.bias, weights[layer.bias])
            missing = missing - missing.mean(axis=0)
        spread = float(target.outputs.double().var(dim=0, correction=0).sum())
        error_ratio = float(np.square(missing).mean(axis=0).sum()) / max(spread, 1e-30)
        found[layer.name] = replace(plain[layer.name], error_ratio=error_ratio, weights=weights)
    return found
