"""Compress a network by a recipe, then train what is left: before and after, on held-out data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import UsageError
from ...frontend import check, load_data
from ...frontend.data import Dataset
from ...frontend.shapes import Shapes, one_shape
from ...ir.model import Model
from ...metrics import AskedMetric, Metric, resolve
from ...passes import Compressed, Decision, Quantize, run
from ...reference.executor import evaluate
from ...reference.import_check import load_checked
from ...training import AskedLoss, Loss, Ranks, Settings, Trained, find_loss, train
from ..progress import Progress, Silent
from ..recipes import Recipe, find_recipe

CALIBRATION_SAMPLES = 512
"""Training samples that passes may look at, taken at random: data may be in order of class."""


@dataclass(frozen=True, kw_only=True)
class RetrainRequest:
    """What to compress and train, as given: files may still be unread.

    `model`, `data` and `validation`: files, `package.module:function`, or what they would give;
    `validation` are other samples, on which the best epoch is chosen. `aware`: train under the
    rounding of int8, whether the recipe has it or not. With `settings.distillation` the network
    before the recipe is the teacher. `metric` chooses the best epoch (`metrics.resolve`); `loss` is
    minimised in place of cross-entropy (`training.find_loss`).
    """

    model: str | Path | Model
    data: str | Path | Dataset
    validation: str | Path | Dataset
    recipe: str | Recipe = "dense"
    settings: Settings = field(default_factory=Settings)
    metric: AskedMetric = None
    loss: AskedLoss = None
    aware: bool = False
    shapes: Shapes | Sequence[Shapes] | None = None
    check_import: bool = True
    checkpoints: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a request names, read and found."""

    recipe: Recipe
    model: Model
    data: Dataset
    validation: Dataset
    metric: Metric
    loss: Loss | None


@dataclass(frozen=True, kw_only=True)
class RetrainPlan:
    """A request whose files were read and whose recipe was applied.

    `compressed` is the float network to train, `quantized` how int8 will round it.
    """

    request: RetrainRequest
    model: Model
    data: Dataset
    validation: Dataset
    metric: Metric
    loss: Loss | None
    compressed: Compressed
    quantized: tuple[Decision, ...]

    @property
    def decisions(self) -> Sequence[Decision]:
        """Every decision, in the order of the passes."""
        planned = [each for step in self.compressed.steps for each in step.decisions]
        return (*planned, *self.quantized)


@dataclass(frozen=True, kw_only=True)
class Retrained:
    """The trained network; `dense_metric` is that of the network before the recipe."""

    plan: RetrainPlan
    trained: Trained
    dense_metric: float


def retrain_model(
    model: str | Path | Model,
    data: str | Path | Dataset,
    validation: str | Path | Dataset,
    *,
    progress: Progress | None = None,
    **options: Any,
) -> Retrained:
    """Compress a network and train it, as `adaspring retrain` does, in this process.

    `options` are the other fields of `RetrainRequest`. `trained.model` of the result is what
    `adaspring.compile` takes.
    """
    request = RetrainRequest(model=model, data=data, validation=validation, **options)
    ranks, progress = Ranks(), progress or Silent()
    return retrain(plan_retraining(request, ranks, progress), ranks, progress)


def plan_retraining(request: RetrainRequest, ranks: Ranks, progress: Progress) -> RetrainPlan:
    """Read the files, apply the recipe's float passes, and plan the quantization.

    The leading process compresses for all: on other hosts, sums may round to other decisions.
    """
    inputs = read_inputs(request, progress)
    progress.step("compress", 0, 1, inputs.recipe.name)
    compressed, quantized = ranks.from_leader(lambda: _compress(request, inputs))
    progress.step("compress", 1, 1, "done")
    return RetrainPlan(
        request=request,
        model=inputs.model,
        data=inputs.data,
        validation=inputs.validation,
        metric=inputs.metric,
        loss=inputs.loss,
        compressed=compressed,
        quantized=quantized,
    )


def read_inputs(request: RetrainRequest, progress: Progress) -> Inputs:
    """Read and find what a request names, or say what is wrong with it."""
    recipe, loss = _find_recipe(request), find_loss(request.loss)
    progress.step("read", 0, 3, str(getattr(request.model, "name", request.model)))
    shapes = one_shape(request.shapes, "a network is trained at one")
    model = load_checked(request.model, shapes, check=request.check_import)
    progress.step("read", 1, 3, "data")
    data = check(load_data(request.data), model)
    progress.step("read", 2, 3, "validation data")
    validation = check(load_data(request.validation), model)
    metric = resolve(request.metric, model, validation)
    progress.step("read", 3, 3, "done")
    return Inputs(
        recipe=recipe, model=model, data=data, validation=validation, metric=metric, loss=loss
    )


def retrain(plan: RetrainPlan, ranks: Ranks, progress: Progress) -> Retrained:
    """Train what the plan left of the network, in this process or as one of several."""
    settings = plan.request.settings
    trained = train(
        plan.compressed.model,
        plan.data,
        plan.validation,
        settings,
        metric=plan.metric,
        loss=plan.loss,
        teacher=plan.model if settings.distillation else None,
        quantized=plan.quantized,
        checkpoints=plan.request.checkpoints,
        ranks=ranks,
        progress=progress,
    )
    dense = ranks.from_leader(lambda: _dense_metric(plan))
    return Retrained(plan=plan, trained=trained, dense_metric=dense)


def _find_recipe(request: RetrainRequest) -> Recipe:
    """The recipe, refused where its network could not be trained."""
    recipe = request.recipe
    if isinstance(recipe, str):
        recipe = find_recipe(recipe)
    trainable = any(each.trains_under_rounding for each in recipe.passes)
    if trainable and not request.aware:
        raise UsageError(
            f"recipe {recipe.name} quantizes; give --qat to train under its rounding, or "
            "a recipe that does not"
        )
    if not trainable and any(each.rounds_weights for each in recipe.passes):
        raise UsageError(
            f"recipe {recipe.name} rounds weights, which is not trained under; retrain "
            f"without it, then compile with --recipe {recipe.name}"
        )
    return recipe


def _compress(request: RetrainRequest, inputs: Inputs) -> tuple[Compressed, tuple[Decision, ...]]:
    recipe, data = inputs.recipe, inputs.data
    order = np.random.default_rng(request.settings.seed).permutation(len(data))
    calibration = data.take(order[:CALIBRATION_SAMPLES])
    made = run(inputs.model, recipe.float_passes, calibration)
    aware = (each for each in recipe.passes if each.trains_under_rounding)
    quantize = next(aware, Quantize())
    return made, quantize.plan(made.model, calibration) if request.aware else ()


def _dense_metric(plan: RetrainPlan) -> float:
    outputs, metric = evaluate(plan.model, plan.validation), plan.metric
    targets = outputs if metric.against == "dense" else plan.validation.targets
    assert targets is not None, "the metric was chosen for these data"
    return metric.value(outputs, targets)
