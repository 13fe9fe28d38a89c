"""Compressed networks whose accuracy is known, before anything is compiled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..frontend.data import Dataset, Splits
from ..frontend.targets import Targets, join_targets, take_targets
from ..ir.index_ranges import draw_integers, index_ranges
from ..ir.model import Model, sample_shape
from ..library.manifest import DecisionRecord
from ..metrics import Metric
from ..passes import Compressed, Kept, Step
from ..passes.quantize.imported import imported_layers
from ..reference.executor import difference_ratio, evaluate
from .accuracy.scores import Scores
from .recipes import Recipe

# What counts as the largest value of an output that is zero everywhere.
_ALL_ZERO = 1e-2


@dataclass(frozen=True, kw_only=True)
class Probe:
    """The samples that every variant runs, and what the dense network answers to them.

    `validation_count` samples come first and decide what is kept; the rest are the test split
    and only reported. `targets` are what `metric` compares with. Without data the inputs are
    random, there is no metric, and only agreement is checked.
    """

    inputs: tuple[np.ndarray, ...]
    dense_outputs: tuple[np.ndarray, ...]
    metric: Metric | None
    targets: Targets | tuple[np.ndarray, ...] | None
    validation_count: int

    @property
    def class_labels(self) -> np.ndarray | None:
        """The targets where accuracy is judged by them, else None."""
        judged = self.metric is not None and self.metric.name == "top1"
        return self.targets if judged and isinstance(self.targets, np.ndarray) else None

    def first(self, count: int) -> Probe:
        """The first samples of the validation split alone, at most so many."""
        rows = np.arange(min(count, self.validation_count))
        return replace(
            self,
            inputs=_take(self.inputs, rows),
            dense_outputs=_take(self.dense_outputs, rows),
            targets=None if self.targets is None else _take(self.targets, rows),
            validation_count=len(rows),
        )

    def validation_value(self, outputs: Sequence[np.ndarray]) -> float | None:
        """The metric on the validation split of outputs (N, …)."""
        if self.metric is None or self.targets is None:
            return None
        part = np.arange(self.validation_count)
        return self.metric.value(_take(outputs, part), _take(self.targets, part))

    def scores(self, outputs: Sequence[np.ndarray], where: str | None) -> Scores | None:
        """The metric on both splits, with intervals; `where` they were run."""
        if self.metric is None or self.targets is None:
            return None
        rows = np.arange(len(self.inputs[0]))
        validation, test = (
            self.metric.score(_take(outputs, part), _take(self.targets, part))
            for part in (rows[: self.validation_count], rows[self.validation_count :])
        )
        return Scores(metric=self.metric, validation=validation, test=test, where=where)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A compressed network, what its passes decided, and what it answers in the reference.

    `validation_metric` is its value on the validation split, None without data. `training` says in
    one line how it was retrained, None where it was not.
    """

    recipe: Recipe
    model: Model
    steps: tuple[Step, ...]
    outputs: tuple[np.ndarray, ...]
    validation_metric: float | None
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
        return (*planned, training_record(self.training))


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


def training_record(detail: str, *, is_kept: bool = False) -> DecisionRecord:
    """How all layers were trained, or `is_kept`, why they are as they were before."""
    return DecisionRecord(
        pass_name="retrain",
        layer="all layers",
        action="kept" if is_kept else "changed",
        detail=detail,
    )


def make_probe(
    model: Model, splits: Splits | None, metric: Metric | None = None, seed: int = 0
) -> Probe:
    """The probe of a network: its validation and test splits, or eight random runs.

    Where random runs leave nothing finite to compare, integers that index nothing are 0 and 1, as
    in masks.
    """
    if splits is None:
        probe = unlabelled_probe(model, random_inputs(model, seed))
        floats = [value for value in probe.dense_outputs if value.dtype.kind == "f"]
        if all(np.isfinite(value).any() for value in floats):
            return probe
        return unlabelled_probe(model, random_inputs(model, seed, others=2))
    parts = (splits.validation, splits.test)
    joined = zip(*(part.inputs for part in parts), strict=True)
    inputs = tuple(np.concatenate(arrays) for arrays in joined)
    dense = evaluate(model, Dataset(inputs=inputs))
    against_dense = metric is not None and metric.against == "dense"
    return Probe(
        inputs=inputs,
        dense_outputs=dense,
        metric=metric,
        targets=dense if against_dense else join_targets([part.targets for part in parts]),
        validation_count=len(parts[0]),
    )


def unlabelled_probe(model: Model, inputs: tuple[np.ndarray, ...]) -> Probe:
    """The probe of a network that runs these inputs (N, …), on which only agreement is checked."""
    return Probe(
        inputs=inputs,
        dense_outputs=evaluate(model, Dataset(inputs=inputs)),
        metric=None,
        targets=None,
        validation_count=len(inputs[0]),
    )


def make_variant(
    recipe: Recipe, made: Compressed, probe: Probe, training: str | None = None
) -> Variant:
    """Run a compressed network on the probe in the reference executor; the dense one was run."""
    outputs = probe.dense_outputs
    if made.steps:
        outputs = evaluate(made.model, Dataset(inputs=probe.inputs))
    return Variant(
        recipe=recipe,
        model=made.model,
        steps=made.steps,
        outputs=outputs,
        validation_metric=probe.validation_value(outputs),
        training=training,
    )


def agreement_ratio(outputs: Sequence[np.ndarray], reference: Sequence[np.ndarray]) -> float:
    """The largest difference over the largest value of the reference, the worst output's.

    NaN and infinity agree with the same alone; beside anything else the ratio is infinite.
    """
    pairs = zip(outputs, reference, strict=True)
    return max(difference_ratio(ours, theirs, _ALL_ZERO) for ours, theirs in pairs)


def _take(values: Any, rows: np.ndarray) -> Any:
    """Some rows of outputs, of targets, or of several arrays of them."""
    if isinstance(values, np.ndarray | Mapping):
        return take_targets(values, rows)
    return tuple(value[rows] for value in values)


def random_inputs(model: Model, seed: int = 0, others: int | None = None) -> tuple[np.ndarray, ...]:
    """Inputs (N, …) of eight random runs.

    Floats are normal; integers are those that the network can index with, else those below
    `others`; without it all of a type of 8 bits, or 0 to 255.
    """
    generator, ranges = np.random.default_rng(seed), index_ranges(model)
    count = 8 * model.batch
    return tuple(
        _random(
            generator,
            (count, *sample_shape(spec, model.batch)),
            spec.dtype,
            ranges.get(spec.name, others),
        )
        for spec in model.inputs
    )


def _random(
    generator: np.random.Generator, shape: tuple[int, ...], dtype: str, index_range: int | None
) -> np.ndarray:
    if np.dtype(dtype).kind == "f":
        return generator.standard_normal(shape).astype(dtype)
    return draw_integers(generator, shape, dtype, index_range)
