"""How much each layer costs when it alone is quantized, the others being float."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...ir.model import Model
from ...metrics import Metric, worse_by
from ...reference.executor import evaluate
from .int8_layer import Integer, insert_qdq

if TYPE_CHECKING:
    from ...frontend.data import Dataset


@dataclass(frozen=True, kw_only=True)
class QuantizationError:
    """How far quantization moves a network's outputs on some data.

    `error_ratio` is the mean over samples of |y - y'|² / |y|², of all outputs together; `drop` how
    much worse `metric` gets, in its unit, or None where there is no metric.
    """

    error_ratio: float
    drop: float | None = None
    metric: Metric | None = None

    def describe(self) -> str:
        """Say both in a few words."""
        text = f"squared output error {self.error_ratio:.3%}"
        if self.drop is None or self.metric is None:
            return text
        change = self.metric.describe_change(self.drop)
        return f"{text}, {self.metric.name} worse by {change}"


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """The quantization error of a layer that alone is quantized."""

    layer: str
    error: QuantizationError

    def describe(self) -> str:
        """Say in one line what the layer alone does."""
        return f"{self.layer}: alone in int8, {self.error.describe()}"


def sensitivities(
    model: Model,
    integers: Sequence[Integer],
    data: Dataset,
    wanted: Sequence[np.ndarray],
    metric: Metric | None = None,
) -> tuple[Sensitivity, ...]:
    """Measure each layer, the most sensitive first; `wanted` are the float network's outputs."""
    found = []
    for name in dict.fromkeys(decision.layer for decision in integers):
        alone = insert_qdq(model, [decision for decision in integers if decision.layer == name])
        error = quantization_error(evaluate(alone, data), wanted, data, metric)
        found.append(Sensitivity(layer=name, error=error))
    return tuple(sorted(found, key=lambda each: (each.error.error_ratio, each.layer), reverse=True))


def quantization_error(
    given: Sequence[np.ndarray],
    wanted: Sequence[np.ndarray],
    data: Dataset,
    metric: Metric | None = None,
) -> QuantizationError:
    """Compare all outputs of a quantized network with the float one's."""
    error, drop = sum(error_ratio(a, b) for a, b in zip(given, wanted, strict=True)), None
    if metric is not None:
        targets = wanted if metric.against == "dense" else data.targets
        assert targets is not None, "the metric was chosen for these data"
        values = metric.value(wanted, targets), metric.value(given, targets)
        drop = worse_by(metric.direction, *values)
    return QuantizationError(error_ratio=error, drop=drop, metric=metric)


def error_ratio(given: np.ndarray, wanted: np.ndarray) -> float:
    """Return the mean over samples of |y - y'|² / |y|², so that no one sample decides alone."""
    y, error = wanted.reshape(len(wanted), -1), (given - wanted).reshape(len(wanted), -1)
    power = np.square(y, dtype=np.float64).sum(axis=1)
    return float(np.mean(np.square(error).sum(axis=1) / np.where(power > 0, power, 1.0)))
