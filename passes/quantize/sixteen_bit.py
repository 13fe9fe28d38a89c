"""Layers in 16 bits: weights and inputs rounded to bfloat16 or float16, sums in float32.

Before  y = conv2d(x, w) + b
After   y = conv2d(astype(astype(x, h), f32), astype(w16, f32)) + b
        h = bfloat16 or float16, w16 the weight in h, two bytes each; b stays float32

Rounding is to nearest, ties to even. bfloat16 has float32's exponents and 8 significant bits, so
any trained weight fits. float16 has 11 bits and ends at 65504: what calibration data drive beyond
it stays as it is.

Source  D. Kalamkar et al., A Study of BFLOAT16 for Deep Learning Training, arXiv:1905.12322;
        P. Micikevicius et al., Mixed Precision Training, ICLR 2018 (float16).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from tvm import relax

from ...errors import PassError
from ...ir.checks import refuse_nan, refuse_rounded
from ...ir.layers import Layer, layers
from ...ir.model import Model
from ...ir.rewrite import Body, rebuild
from ...ir.stored_weights import SIXTEEN_BIT_TYPES, StoredForm, decode, encode
from ...reference.execution import Execution
from ...reference.executor import calibration_inputs
from ..decision import Decision, Kept, Pass, by_call
from ..loop_weights import plan_loops, round_loops
from .reduce_precision import ReduceLayerPrecision

if TYPE_CHECKING:
    from ...frontend.data import Dataset

# The largest value of each type; bfloat16's is 2^127 with all of 8 bits set.
_LARGEST = {"bfloat16": 2.0**128 - 2.0**120, "float16": 65504.0}
# Beyond this a weight loses what no rounding to 8 bits would cost: it lies among the subnormals.
_LARGEST_ERROR_RATIO = 0.01


@dataclass(frozen=True, kw_only=True)
class SixteenBitLayer:
    """A layer that will read 16-bit values: |w - w16| / |w| is `weight_error_ratio`."""

    layer: str
    dtype: str
    weight_error_ratio: float

    def describe(self) -> str:
        """Say in one line what the layer reads, and at what error."""
        return f"{self.layer}: {self.dtype}, weights changed by {self.weight_error_ratio:.2%}"


@dataclass(frozen=True, kw_only=True)
class SixteenBit(Pass):
    """Convolutions and dense layers on values of 16 bits, `dtype` "bfloat16" or "float16"."""

    rounds_weights: ClassVar[bool] = True

    dtype: str = "bfloat16"

    def __post_init__(self) -> None:
        if self.dtype not in SIXTEEN_BIT_TYPES:
            raise PassError(
                f"dtype is {self.dtype!r}; choose one of {', '.join(SIXTEEN_BIT_TYPES)}"
            )

    @property
    def needs_data(self) -> bool:
        """float16 does, to see which activations it cannot hold."""
        return self.dtype == "float16"

    @property
    def needs_instruction(self) -> str | None:
        """Of bfloat16 it multiplies, of float16 reads: sums are float32."""
        return self.dtype

    def plan(self, model: Model, calibration: Dataset | None) -> tuple[Decision, ...]:
        """Round every layer whose weight, and whose input as far as is known, fits."""
        if self.needs_data and calibration is None:
            raise PassError("float16 needs calibration data, as it overflows; give a data set")
        refuse_rounded(model)
        chosen = layers(model)
        for layer in chosen:
            refuse_nan(model, layer)
        reach = _largest(model, calibration, chosen) if calibration and self.needs_data else {}
        decided = _alike([self._decide(model, layer, reach) for layer in chosen])
        return (*decided, *plan_loops(model, self.dtype))

    def _decide(
        self, model: Model, layer: Layer, reach: Mapping[relax.Var, float]
    ) -> SixteenBitLayer | Kept:
        weight, limit = model.weights[layer.weight], _LARGEST[self.dtype]
        largest = float(np.abs(weight).max(initial=0.0))
        if layer.kind == "depthwise":
            return Kept(layer=layer.name, why="a depthwise layer has no products to sum in pairs")
        if weight.dtype != np.float32:
            return Kept(layer=layer.name, why=f"its weights are {weight.dtype.name}")
        if largest > limit:
            why = f"its largest weight, {largest:.3g}, is above {limit:.5g}, {self.dtype}'s largest"
            return Kept(layer=layer.name, why=why)
        if reach.get(layer.input, 0.0) > limit:
            why = f"its input reaches {reach[layer.input]:.3g}, above {limit:.5g}, {self.dtype}'s"
            return Kept(layer=layer.name, why=f"{why} largest")
        form = StoredForm(dtype=self.dtype)
        error_ratio = _error_ratio(weight, decode(encode(weight, form), form, weight.shape))
        if error_ratio > _LARGEST_ERROR_RATIO:
            why = f"its weights are so small that {self.dtype} changes them by {error_ratio:.1%}"
            return Kept(layer=layer.name, why=why)
        return SixteenBitLayer(layer=layer.name, dtype=self.dtype, weight_error_ratio=error_ratio)

    def apply(self, model: Model, decisions: Sequence[Decision]) -> Model:
        """Return the network with the chosen layers' weights and inputs rounded."""
        decided = by_call(layers(model), [d for d in decisions if isinstance(d, SixteenBitLayer)])
        chosen = {layer.call: layer for layer in layers(model) if layer.call in decided}
        forms = {
            layer.weight: StoredForm(dtype=decided[call].dtype) for call, layer in chosen.items()
        }
        weights = {
            name: encode(array, forms[name]) if name in forms else array
            for name, array in model.weights.items()
        }
        roundings = {call: decision.dtype for call, decision in decided.items()}
        rewrite = ReduceLayerPrecision(model, chosen, roundings, forms, _round_input)
        return round_loops(rebuild(model, weights, rewrite), decisions)


def _alike(decisions: Sequence[SixteenBitLayer | Kept]) -> tuple[SixteenBitLayer | Kept, ...]:
    """Keep every layer that shares its weight with one that is kept: it is stored once."""
    kept = {each.layer: each for each in decisions if isinstance(each, Kept)}
    return tuple(kept.get(each.layer, each) for each in decisions)


def _round_input(body: Body, old: relax.Var, rounding: Hashable) -> relax.Var:
    small = body.emit(relax.op.astype(body.of(old), str(rounding)), f"{old.name}_{rounding}")
    return body.emit(relax.op.astype(small, "float32"), f"{old.name}_float32")


def _error_ratio(weight: np.ndarray, rounded: np.ndarray) -> float:
    norm = np.linalg.norm(weight.astype(np.float64))
    lost = np.linalg.norm(rounded.astype(np.float64) - weight)
    return float(lost / norm) if norm > 0 else 0.0


def _largest(model: Model, calibration: Dataset, chosen: Sequence[Layer]) -> dict[relax.Var, float]:
    """The largest absolute value of each layer's input over the calibration samples."""
    inputs, wanted = calibration_inputs(model, calibration), {layer.input for layer in chosen}
    values = [*zip(model.function.params, inputs, strict=False)]
    found = {var: float(value.abs().max()) for var, value in values if var in wanted}
    for var, value in Execution(model, inputs):
        if var in wanted:
            found[var] = float(value.abs().max())
    return found
