"""Compress a network by a recipe, then train what is left: before and after, on held-out data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import UsageError
from ...frontend.data import Dataset
from ...ir.model import Model
from ...passes import Decision, Quantize, Step, run
from ...reference.executor import accuracy, evaluate
from ...training import Ranks, Settings, Trained, train
from ..progress import Progress
from ..recipes import Recipe

CALIBRATION_SAMPLES = 512
"""Training samples that passes may look at, taken at random: data may be in order of class."""


@dataclass(frozen=True, kw_only=True)
class Retraining:
    """What to compress and train. `aware`: under the rounding of int8, whether the recipe has it.

    With `settings.distillation` the network before the recipe is the teacher.
    """

    model: Model
    data: Dataset
    validation: Dataset
    recipe: Recipe
    settings: Settings
    aware: bool = False
    checkpoints: Path | None = None

    def __post_init__(self) -> None:
        passes = self.recipe.passes
        trainable = any(each.trains_under_rounding for each in passes)
        if trainable and not self.aware:
            raise UsageError(
                f"recipe {self.recipe.name} quantizes; give --qat to train under its rounding, or "
                "a recipe that does not"
            )
        if not trainable and any(each.rounds_weights for each in passes):
            raise UsageError(
                f"recipe {self.recipe.name} rounds weights, which is not trained under; retrain "
                f"without it, then compile with --recipe {self.recipe.name}"
            )


@dataclass(frozen=True, kw_only=True)
class Compression:
    """The float network to train, the passes that made it, and how int8 will round it."""

    model: Model
    steps: tuple[Step, ...]
    quantized: tuple[Decision, ...]


@dataclass(frozen=True, kw_only=True)
class Retrained:
    """The trained network; `dense_accuracy` is that of the network before the recipe."""

    trained: Trained
    compression: Compression
    dense_accuracy: float | None


def compress(request: Retraining) -> Compression:
    """Apply the recipe's float passes, and plan the quantization."""
    order = np.random.default_rng(request.settings.seed).permutation(len(request.data))
    calibration = request.data.take(order[:CALIBRATION_SAMPLES])
    passes = [each for each in request.recipe.passes if not each.rounds_weights]
    made = run(request.model, passes, calibration)
    aware = (each for each in request.recipe.passes if each.trains_under_rounding)
    settings = next(aware, Quantize())
    quantized = settings.plan(made.model, calibration) if request.aware else ()
    return Compression(model=made.model, steps=made.steps, quantized=quantized)


def retrain(request: Retraining, ranks: Ranks, progress: Progress) -> Retrained:
    """Compress and train, in this process or as one of several.

    The leading process compresses for all: on other hosts, sums may round to other decisions.
    """
    progress.step("compress", 0, 1, request.recipe.name)
    compression = ranks.from_leader(lambda: compress(request))
    progress.step("compress", 1, 1, "done")
    trained = train(
        compression.model,
        request.data,
        request.validation,
        request.settings,
        teacher=request.model if request.settings.distillation else None,
        quantized=compression.quantized,
        checkpoints=request.checkpoints,
        ranks=ranks,
        progress=progress,
    )
    dense = ranks.from_leader(lambda: _accuracy(request.model, request.validation))
    return Retrained(trained=trained, compression=compression, dense_accuracy=dense)


def _accuracy(model: Model, held_out: Dataset) -> float | None:
    if held_out.labels is None:
        return None
    return accuracy(evaluate(model, held_out)[0], held_out.labels)


def decisions(compression: Compression) -> Sequence[Decision]:
    """Give every decision, in the order of the passes."""
    planned = [each for step in compression.steps for each in step.decisions]
    return (*planned, *compression.quantized)
