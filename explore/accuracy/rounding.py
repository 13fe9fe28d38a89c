"""How far a built variant is from its reference, and how far rounding lets it be.

A sum that differs in its last bit may round to another level. One such level is nothing; but deep
networks amplify it, until two right ways to compute one int8 network are as far apart as each is
from the float network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...frontend.data import Dataset
from ...ir.model import Model
from ...reference.executor import evaluate
from ..gate import tolerance_ratio
from ..variants import Probe, Variant, agreement_ratio


@dataclass(frozen=True, kw_only=True)
class Apart:
    """The largest difference from the reference, over the largest value of the reference.

    `rounding_ratio`: the largest change that rounding itself makes, likewise; it is looked at where
    the difference is above what a few levels explain, and 0 where it is no excuse.
    """

    ratio: float
    rounding_ratio: float = 0.0


def apart(model: Model, variant: Variant, probe: Probe, outputs: Sequence[np.ndarray]) -> Apart:
    """Compare outputs for the first samples of the probe with the variant's reference.

    `model` is the network with nothing compressed. Rounding is an excuse up to the largest change
    that it makes to the reference's own outputs, and where the outputs are, in the mean square, no
    farther from the reference than rounding moved it. What was trained has no float counterpart.
    """
    reference = _first(variant.outputs, outputs)
    ratio = agreement_ratio(outputs, reference)
    rounds = [step.settings.rounds_weights for step in variant.steps]
    if ratio <= tolerance_ratio(variant.model) or not any(rounds) or variant.training is not None:
        return Apart(ratio=ratio)
    floats = _first(_unrounded(model, variant, probe, len(outputs[0])), outputs)
    if not all(
        _mean_square(ours, right) <= _mean_square(right, plain)
        for ours, right, plain in zip(outputs, reference, floats, strict=True)
    ):
        return Apart(ratio=ratio)
    return Apart(ratio=ratio, rounding_ratio=agreement_ratio(floats, reference))


def _unrounded(model: Model, variant: Variant, probe: Probe, count: int) -> Sequence[np.ndarray]:
    """What the variant's network gives in the reference before its weights are rounded."""
    before = [step for step in variant.steps if not step.settings.rounds_weights]
    if not before:
        return probe.dense_outputs
    for step in before:
        model = step.settings.apply(model, step.decisions)
    return evaluate(model, Dataset(inputs=tuple(value[:count] for value in probe.inputs)))


def _first(values: Sequence[np.ndarray], like: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [value[: len(each)] for value, each in zip(values, like, strict=True)]


def _mean_square(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.mean(np.square(a.astype(np.float64) - b)))
