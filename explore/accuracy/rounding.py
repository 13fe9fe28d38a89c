"""How far a built variant is from its reference, and how far rounding lets it be.

A sum that differs in its last bit may round to another level. One such level is nothing; but deep
networks amplify it, until two right ways to compute one int8 network are as far apart as each is
from the float network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ...frontend.data import Dataset
from ...ir.model import Model
from ...passes import Step
from ...reference.executor import evaluate
from ..gate import tolerance_ratio
from ..variants import Probe, Variant, agreement_ratio


@dataclass(frozen=True, kw_only=True)
class Apart:
    """The largest difference from the reference, over the largest value of the reference.

    `rounding_ratio`: twice the largest change that rounding itself makes, likewise; it is looked at
    where the difference is above what a few levels explain, and 0 where it is no excuse.
    """

    ratio: float
    rounding_ratio: float = 0.0


def apart(model: Model, variant: Variant, probe: Probe, outputs: Sequence[np.ndarray]) -> Apart:
    """Compare outputs for the first samples of the probe with the variant's reference.

    `model` is the network with nothing compressed. What was trained has no float counterpart.
    """

    def floats() -> Sequence[np.ndarray] | None:
        if variant.training is not None or not any(map(_rounds, variant.steps)):
            return None
        if all(map(_rounds, variant.steps)):
            return _first(probe.dense_outputs, outputs)
        inputs = tuple(value[: len(outputs[0])] for value in probe.inputs)
        return evaluate(unrounded(model, variant.steps), Dataset(inputs=inputs))

    reference = _first(variant.outputs, outputs)
    return excused(outputs, reference, tolerance_ratio(variant.model), floats)


def excused(
    outputs: Sequence[np.ndarray],
    reference: Sequence[np.ndarray],
    allowed_ratio: float,
    floats: Callable[[], Sequence[np.ndarray] | None],
) -> Apart:
    """Compare outputs with the reference's, whose network gives `floats` where nothing is rounded.

    Rounding is an excuse up to twice the largest change that it makes to the reference's own
    outputs, since two that are each so far from the float network may be twice as far apart (a
    character that one reads and the other does not), and where the outputs are, in the mean square,
    no farther from the reference than rounding moved it.
    """
    ratio = agreement_ratio(outputs, reference)
    plain = None if ratio <= allowed_ratio else floats()
    if plain is None or not all(
        _mean_square(ours, right) <= _mean_square(right, floating)
        for ours, right, floating in zip(outputs, reference, plain, strict=True)
    ):
        return Apart(ratio=ratio)
    return Apart(ratio=ratio, rounding_ratio=2 * agreement_ratio(plain, reference))


def unrounded(model: Model, steps: Sequence[Step]) -> Model:
    """Return the network as the steps make it, but for those that round its weights."""
    for step in steps:
        if not _rounds(step):
            model = step.settings.apply(model, step.decisions)
    return model


def _rounds(step: Step) -> bool:
    return step.settings.rounds_weights


def _first(values: Sequence[np.ndarray], like: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [value[: len(each)] for value, each in zip(values, like, strict=True)]


def _mean_square(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.mean(np.square(a.astype(np.float64) - b)))
