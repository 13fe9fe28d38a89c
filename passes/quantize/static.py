"""Int8 post-training quantization: 8-bit weights and activations, written as fake quantization.

Before  y = conv2d(x, w) + b
After   y = conv2d(x8, w8) + b', x8 and w8 through dequantize (`integer.py` shows the form)

Activation ranges come from calibration data (`calibrators.py`), and so may the rounding of weights
(`gptq.py`), on what reaches the layer in the quantized network. Rounding is to nearest, ties to
even, as TVM's legalization of quantize computes it.

Source  B. Jacob et al., Quantization and Training of Neural Networks for Efficient
        Integer-Arithmetic-Only Inference, CVPR 2018; M. Nagel et al., Data-Free Quantization,
        ICCV 2019, section 4.2 (bias correction, here on calibration data).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tvm import relax

from ...errors import PassError
from ...ir.checks import refuse_nan, refuse_rounded
from ...ir.convolutions import FORWARDS, TRANSPOSED
from ...ir.graph import Graph
from ...ir.layers import Layer, layers, read_both_ways
from ...ir.model import Model
from ...reference.executor import calibration_inputs, evaluate
from ..decision import Decision, Kept, Pass
from ..loop_weights import plan_loops, round_loops
from ..refit import targets
from .calibrators import CALIBRATORS, Range, ranges
from .int8_fit import fit
from .int8_layer import Integer, insert_qdq
from .sensitivity import quantization_error
from .weight_rounding import ROUNDINGS, round_to_nearest

if TYPE_CHECKING:
    from ...frontend.data import Dataset

MULTIPLYING = {
    "relax.matmul": "of values that are not a layer's weight (k, n)",
    **dict.fromkeys((*FORWARDS, *TRANSPOSED), "by what is not a weight"),
    "relax.nn.attention": "multiplies activations, whose ranges change with every input",
    "relax.nn.attention_bias": "multiplies activations, whose ranges change with every input",
}
"""Operators of many multiply-adds, and why one that is no layer stays float."""


@dataclass(frozen=True, kw_only=True)
class Quantize(Pass):
    """Convolutions and dense layers in int8, on calibrated activations.

    `calibration` names what chooses activation ranges, `rounding` what rounds weights; the layers
    named in `keep` stay in floats.
    """

    calibration: str = "auto"
    rounding: str = "nearest"
    keep: tuple[str, ...] = ()
    needs_data: ClassVar[bool] = True
    rounds_weights: ClassVar[bool] = True
    trains_under_rounding: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.calibration not in CALIBRATORS:
            raise PassError(
                f"no calibration named {self.calibration!r}; choose from {', '.join(CALIBRATORS)}"
            )
        if self.rounding not in ROUNDINGS:
            raise PassError(
                f"no rounding named {self.rounding!r}; choose from {', '.join(ROUNDINGS)}"
            )

    def plan(self, model: Model, calibration: Dataset | None) -> tuple[Decision, ...]:
        """Choose each input's range, round each weight, correct biases on what reaches them."""
        if calibration is None:
            raise PassError("quantization needs calibration data; give a data set")
        refuse_rounded(model)
        chosen = chosen_layers(model, self.keep)
        kept = kept_layers(model, self.keep)
        if not chosen:
            return kept
        inputs = calibration_inputs(model, calibration)
        calibrator = CALIBRATORS[self.calibration]
        spans = ranges(model, inputs, [layer.input for layer in chosen], calibrator)
        plain = [_plain(model, layer, spans[layer.input]) for layer in chosen]
        decided = _nearest_network(model, plain, calibration, self.rounding)
        return (*decided, *kept, *plan_loops(model, "int8"))

    def apply(self, model: Model, decisions: Sequence[Decision]) -> Model:
        """Return the network with quantize and dequantize around the chosen layers."""
        quantized = insert_qdq(model, [d for d in decisions if isinstance(d, Integer)])
        return round_loops(quantized, decisions)


BOTH_WAYS = "float: layers read its weight both ways, and its scales fit one"
IN_GROUPS = "float: in a grouped transposed convolution no axis of the weight counts the outputs"


def chosen_layers(model: Model, keep: Sequence[str]) -> list[Layer]:
    """List the layers to quantize; refuse what cannot be."""
    found = layers(model)
    unknown = sorted(set(keep) - {layer.name for layer in found})
    if unknown:
        names = ", ".join(dict.fromkeys(layer.name for layer in found))
        raise PassError(f"no layer named {unknown[0]!r} to keep; the network has {names}")
    cannot = _without_scales(model)
    chosen = [layer for layer in found if layer.name not in keep and layer.name not in cannot]
    for layer in chosen:
        refuse_nan(model, layer)
    return chosen


def kept_layers(model: Model, keep: Sequence[str]) -> tuple[Kept, ...]:
    """Say why layers, and operators that multiply, stay in floats."""
    names = dict.fromkeys(layer.name for layer in layers(model) if layer.name in keep)
    asked = tuple(Kept(layer=name, why="float, as asked for") for name in names)
    cannot = _without_scales(model)
    rest = tuple(Kept(layer=name, why=why) for name, why in cannot.items() if name not in names)
    return (*asked, *rest, *_float_operators(model))


def _without_scales(model: Model) -> dict[str, str]:
    """Name the layers whose weights cannot have a scale for each output, and why."""
    turned, found = read_both_ways(model), {}
    for layer in layers(model):
        if layer.weight in turned:
            found[layer.name] = BOTH_WAYS
        elif not layer.scales_by_output:
            found[layer.name] = IN_GROUPS
    return found


def _float_operators(model: Model) -> tuple[Kept, ...]:
    """Say why operators that multiply, but are no layers, stay in floats."""
    calls, whys = {layer.call for layer in layers(model)}, {}
    for var, value in Graph.of(model).bindings:
        name = value.op.name if isinstance(value, relax.Call) else ""
        if name in MULTIPLYING and var not in calls:
            whys[var.name] = f"float: {name.removeprefix('relax.')} {MULTIPLYING[name]}"
    return tuple(Kept(layer=name, why=why) for name, why in whys.items())


def _plain(model: Model, layer: Layer, span: Range) -> Integer:
    rounded = round_to_nearest(layer, model.weights[layer.weight])
    return Integer(layer=layer.name, input_range=span, **vars(rounded))


def _nearest_network(
    model: Model, plain: Sequence[Integer], calibration: Dataset, rounding: str
) -> list[Integer]:
    """Measure every layer with and without bias correction; keep the nearer network's decisions."""
    dense = targets(model, calibration)
    wanted = evaluate(model, calibration)
    tried = []
    for correct in (False, True):
        decisions = fit(model, plain, dense, calibration, rounding=rounding, corrects=correct)
        given = evaluate(insert_qdq(model, decisions), calibration)
        tried.append((quantization_error(given, wanted, calibration).error_ratio, decisions))
    return min(tried, key=lambda each: each[0])[1]
