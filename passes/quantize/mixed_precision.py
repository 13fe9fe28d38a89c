"""Quantize all layers, then give back float to the most sensitive ones until a bound holds.

Before  a float network, and what its outputs may lose
After   the int8 layers of `quantize`, and as few float ones as it takes

Layers are ordered by the output error of each alone; k of them being float, the others are planned
anew (`Quantize(keep=…)`) and measured together. The least k is found by halving: k holds, k - 1
does not. All float always holds.

Source  H. Wu et al., Integer Quantization for Deep Learning Inference, 2020, section 5.1 (partial
        quantization by sensitivity), for the order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...errors import PassError
from ...ir.model import Model
from ...metrics import AskedMetric, Metric, resolve
from ...reference.executor import evaluate
from ..decision import Decision, Kept, Pass
from ..loop_weights import LoopWeight, keep_loops
from .int8_layer import Integer
from .sensitivity import QuantizationError, Sensitivity, quantization_error, sensitivities
from .static import Quantize

if TYPE_CHECKING:
    from ...frontend.data import Dataset


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The network's own line: how many layers are float, and what the whole loses."""

    float_count: int
    layer_count: int
    error: QuantizationError
    layer: str = "network"

    def describe(self) -> str:
        """Say in one line what was given back, and what is lost."""
        return (
            f"{self.layer}: {self.float_count} of {self.layer_count} layers given back to float, "
            f"{self.error.describe()}"
        )


@dataclass(frozen=True, kw_only=True)
class MixedPrecision(Pass):
    """Int8 as far as the outputs' error, and a metric on the calibration samples, allow it.

    `max_error_ratio` bounds the mean over samples of |y - y'|² / |y|²; `max_drop` how much worse
    `metric` may get, in its unit. Without a metric it is that of the whole compilation, else what
    fits the samples (`metrics.resolve`). One of the two bounds, or both, must hold.
    """

    max_error_ratio: float | None = None
    max_drop: float | None = None
    metric: AskedMetric = None
    quantize: Quantize = field(default_factory=Quantize)
    needs_data: ClassVar[bool] = True
    rounds_weights: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.max_error_ratio is None and self.max_drop is None:
            raise PassError("mixed precision needs a bound; give max_error_ratio or max_drop")
        if self.max_error_ratio is not None and not 0 <= self.max_error_ratio < 1:
            bound = self.max_error_ratio
            raise PassError(f"max_error_ratio is {bound}; choose a value from 0 to below 1")
        if self.max_drop is not None and not 0 <= self.max_drop < math.inf:
            raise PassError(f"max_drop is {self.max_drop}; choose a value from 0")

    def with_metric(self, metric: Metric) -> MixedPrecision:
        """The same settings, judged by this metric where they name none."""
        return replace(self, metric=metric) if self.metric is None else self

    def plan(self, model: Model, calibration: Dataset | None) -> tuple[Decision, ...]:
        """Choose which layers are float; the sensitivities of all are among the decisions.

        Where all are float nothing changes, so that there are `Kept` alone.
        """
        if calibration is None:
            raise PassError("quantization needs calibration data; give a data set")
        metric = self._metric(model, calibration)
        wanted = evaluate(model, calibration)
        if not all(np.isfinite(output).all() for output in wanted):
            raise PassError("the float network's outputs hold NaN or infinity; nothing to compare")
        search = _Search(self, model, calibration, wanted, metric)
        decisions, lost = search.evaluate(())
        integers = [d for d in decisions if isinstance(d, Integer)]
        ranked = sensitivities(model, integers, calibration, wanted, metric)
        if self._holds(lost):
            return (*decisions, *ranked, self._chosen(0, ranked, lost))
        names = [each.layer for each in ranked]
        holds, fails = len(names), 0
        best = search.evaluate(names)
        while holds - fails > 1:
            count = (holds + fails) // 2
            found = search.evaluate(names[:count])
            if self._holds(found[1]):
                holds, best = count, found
            else:
                fails = count
        explained = self._explained(best[0], ranked[:holds])
        if holds == len(names):
            return explained
        return (*explained, *ranked, self._chosen(holds, ranked, best[1]))

    def apply(self, model: Model, decisions: Sequence[Decision]) -> Model:
        """Return the network with quantize and dequantize around the chosen layers."""
        return self.quantize.apply(model, decisions)

    def _metric(self, model: Model, calibration: Dataset) -> Metric | None:
        """The metric for these samples; a bound in shares is checked against its unit."""
        if self.max_drop is None and self.metric is None and calibration.targets is None:
            return None
        metric = resolve(self.metric, model, calibration)
        if metric.unit == "ratio" and self.max_drop is not None and self.max_drop >= 1:
            bound = self.max_drop
            raise PassError(f"max_drop is {bound}; choose a value from 0 to below 1")
        return metric

    def _holds(self, lost: QuantizationError) -> bool:
        near = self.max_error_ratio is None or lost.error_ratio <= self.max_error_ratio
        return near and (self.max_drop is None or (lost.drop or 0.0) <= self.max_drop)

    def _explained(
        self, decisions: Sequence[Decision], given_back: Sequence[Sensitivity]
    ) -> tuple[Decision, ...]:
        """Say of each layer given back that it is one of the most sensitive, and by how much."""
        why = {
            each.layer: f"float to hold the bound: alone in int8, {each.error.describe()}"
            for each in given_back
        }
        return tuple(
            replace(d, why=why[d.layer]) if isinstance(d, Kept) and d.layer in why else d
            for d in decisions
        )

    def _chosen(self, count: int, ranked: Sequence[Sensitivity], lost: QuantizationError) -> Chosen:
        return Chosen(float_count=count, layer_count=len(ranked), error=lost)


@dataclass(frozen=True, eq=False)
class _Search:
    """Plans and measures the network with some layers float."""

    settings: MixedPrecision
    model: Model
    calibration: Dataset
    wanted: tuple[np.ndarray, ...]
    metric: Metric | None

    def evaluate(
        self, float_layers: Sequence[str]
    ) -> tuple[tuple[Decision, ...], QuantizationError]:
        """Return the decisions, and what all of them together lose."""
        quantize = self.settings.quantize
        quantize = replace(quantize, keep=(*quantize.keep, *float_layers))
        planned = quantize.plan(self.model, self.calibration)
        decisions = (
            *(each for each in planned if not isinstance(each, LoopWeight)),
            *keep_loops(self.model, "float: the bound is held by choosing among layers"),
        )
        given = evaluate(quantize.apply(self.model, decisions), self.calibration)
        return decisions, quantization_error(given, self.wanted, self.calibration, self.metric)
