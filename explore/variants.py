"""Compressed networks whose accuracy is known, before anything is compiled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..frontend.data import Dataset, Splits
from ..ir.index_ranges import draw_integers, index_ranges
from ..ir.model import Model, sample_shape
from ..library.manifest import DecisionRecord
from ..passes import Compressed, Kept, Step
from ..passes.quantize.imported import imported_layers
from ..reference.executor import accuracy, difference_ratio, evaluate
from .recipes import Recipe

# What counts as the largest value of an output that is zero everywhere.
_ALL_ZERO = 1e-2


@dataclass(frozen=True, kw_only=True)
class Probe:
    """The samples that every variant runs: inputs, and where data was given, what is right.

    `validation_count` samples come first and decide what is kept; the rest are the test split
    and only reported. Without data the inputs are random and only agreement is checked.
    """

    inputs: tuple[np.ndarray, ...]
    labels: np.ndarray | None
    validation_count: int

    def validation_accuracy(self, outputs: np.ndarray) -> float | None:
        """Accuracy on the validation split of outputs (N, classes)."""
        return self._accuracy(outputs, slice(0, self.validation_count))

    def test_accuracy(self, outputs: np.ndarray) -> float | None:
        """Accuracy on the test split of outputs (N, classes)."""
        return self._accuracy(outputs, slice(self.validation_count, None))

    def _accuracy(self, outputs: np.ndarray, part: slice) -> float | None:
        if self.labels is None:
            return None
        return accuracy(outputs[part], self.labels[part])


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A compressed network, what its passes decided, and what it answers in the reference.

    `training` says in one line how it was retrained, None where it was not.
    """

    recipe: Recipe
    model: Model
    steps: tuple[Step, ...]
    outputs: tuple[np.ndarray, ...]
    validation_accuracy: float | None
    training: str | None = None

    @property
    def name(self) -> str:
        """The variant's name, that of its recipe."""
        return self.recipe.name

    def decisions(self) -> tuple[DecisionRecord, ...]:
        """Every layer's decision, and the training after them, as the manifest records it."""
        planned = decision_records(self.model, self.steps)
        if self.training is None:
            return planned
        trained = DecisionRecord(
            pass_name="retrain", layer="all layers", action="changed", detail=self.training
        )
        return (*planned, trained)


def decision_records(model: Model, steps: Sequence[Step]) -> tuple[DecisionRecord, ...]:
    """Every decision of a pipeline's steps, as the manifest records it.

    Without steps, how each layer came where the network came quantized.
    """
    made = [(type(step.settings).__name__.lower(), step.decisions) for step in steps]
    return tuple(
        DecisionRecord(
            pass_name=name,
            layer=str(decision.layer),  # TVM's own kind of string cannot be written
            action="kept" if isinstance(decision, Kept) else "changed",
            detail=decision.describe(),
        )
        for name, decisions in made or [("import", imported_layers(model))]
        for decision in decisions
    )


def make_probe(model: Model, splits: Splits | None, seed: int = 0) -> Probe:
    """The probe of a network: its validation and test splits, or eight random runs.

    Random floats are normal; random integers are those that the network can index with, else all
    of a type of 8 bits, or 0 to 255.
    """
    if splits is None:
        generator, ranges = np.random.default_rng(seed), index_ranges(model)
        count = 8 * model.batch
        inputs = tuple(
            _random(
                generator,
                (count, *sample_shape(spec, model.batch)),
                spec.dtype,
                ranges.get(spec.name),
            )
            for spec in model.inputs
        )
        return Probe(inputs=inputs, labels=None, validation_count=count)
    parts = (splits.validation, splits.test)
    inputs = tuple(
        np.concatenate(arrays) for arrays in zip(*(part.inputs for part in parts), strict=True)
    )
    labelled = all(part.labels is not None for part in parts)
    labels = np.concatenate([part.labels for part in parts]) if labelled else None
    return Probe(inputs=inputs, labels=labels, validation_count=len(parts[0].inputs[0]))


def make_variant(
    recipe: Recipe, made: Compressed, probe: Probe, training: str | None = None
) -> Variant:
    """Run a compressed network on the probe in the reference executor."""
    outputs = evaluate(made.model, Dataset(inputs=probe.inputs))
    return Variant(
        recipe=recipe,
        model=made.model,
        steps=made.steps,
        outputs=outputs,
        validation_accuracy=probe.validation_accuracy(outputs[0]),
        training=training,
    )


def agreement_ratio(outputs: Sequence[np.ndarray], reference: Sequence[np.ndarray]) -> float:
    """The largest difference over the largest value of the reference, the worst output's.

    NaN and infinity agree with the same alone; beside anything else the ratio is infinite.
    """
    pairs = zip(outputs, reference, strict=True)
    return max(difference_ratio(ours, theirs, _ALL_ZERO) for ours, theirs in pairs)


def _random(
    generator: np.random.Generator, shape: tuple[int, ...], dtype: str, index_range: int | None
) -> np.ndarray:
    if np.dtype(dtype).kind == "f":
        return generator.standard_normal(shape).astype(dtype)
    return draw_integers(generator, shape, dtype, index_range)
