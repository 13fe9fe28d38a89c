"""Train a network: batches, steps, validation after each epoch, the best weights kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError, TrainingError
from ..frontend.data import Dataset, check
from ..ir.model import Model
from ..metrics import Metric, resolve
from ..metrics.classes import check_class_numbers
from ..passes.decision import Decision
from .batches import Batches
from .distributed import Ranks
from .fake_quantize import QuantizationAware
from .lift import TorchModel
from .loop import Loop, Progress
from .objective import Loss, Objective, loss_name, scores
from .run.checkpoint import Epoch
from .run.identity import identity
from .run.schedule import Clock, Pace
from .settings import Settings


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained network: the weights of the best epoch on the validation data.

    `network` is what runs: `model` itself, or under quantization-aware training the int8 network of
    its weights. `history` begins with the network before training, epoch 0, which may be the best.
    """

    model: Model
    network: Model
    history: tuple[Epoch, ...]
    best: Epoch
    stopped: str


class Diverged(TrainingError):
    """The loss is not finite any more; `trained` holds the best weights before that."""

    def __init__(self, text: str, trained: Trained):
        super().__init__(text)
        self.trained = trained

    def __reduce__(self) -> tuple[Any, ...]:
        """Go to another process as the text alone."""
        return TrainingError, (str(self),)


def train(
    model: Model,
    data: Dataset,
    validation: Dataset,
    settings: Settings,
    *,
    metric: Metric | None = None,
    loss: Loss | None = None,
    teacher: Model | None = None,
    quantized: Sequence[Decision] = (),
    checkpoints: Path | None = None,
    ranks: Ranks | None = None,
    progress: Progress | None = None,
    clock: Clock = time.monotonic,
) -> Trained:
    """Train a network's weights; the model is untouched.

    The best epoch is chosen by `metric` on the validation data, by what fits them where none is
    given (`metrics.resolve`). `loss` is minimised in place of cross-entropy, from outputs and
    targets in torch. `teacher` is distilled from as `settings.distillation` says. `quantized`:
    decisions of `passes.Quantize` on `model`, under which it trains. `checkpoints`: a folder that
    the run is saved in, and taken up from where it was killed. `ranks`: which of several processes
    this is. `clock`: what `settings.time_limit_s` is held against.

    Raises:
        DataError: the data do not fit the network.
        TrainingError: nothing can be trained for, or the checkpoints are of another run.
        Diverged: the loss is not finite.

    """
    ranks = ranks or Ranks()
    data, validation = check_data(model, data, validation)
    has_labels = can_use_labels(model, data, validation, metric, loss)
    metric = judge_by(metric, model, validation, teacher)
    classes = compares_classes(metric, validation)
    lifted = QuantizationAware(model, quantized) if quantized else TorchModel(model)
    objective = Objective(lifted.ir, teacher, settings.distillation, has_labels, loss, classes)
    device = ranks.device()
    batches = Batches(model, data, settings.batch, settings.seed, ranks, device)
    loop = Loop(
        lifted.to(device),
        TorchModel(teacher).to(device) if teacher is not None else None,
        objective,
        metric,
        batches,
        settings,
        ranks,
        Pace(settings.time_limit_s, clock),
    )
    teachers = () if teacher is None else (teacher,)
    decided = (settings, metric.name, loss_name(loss))
    run = identity(decided, (lifted.model, *teachers), quantized, data, validation)
    stopped = loop.run(validation, checkpoints, run, progress)
    return _result(loop, lifted, stopped, checkpoints)


def check_data(model: Model, data: Dataset, validation: Dataset) -> tuple[Dataset, Dataset]:
    """Return both parts of the data as the network takes them."""
    if len(validation) == 0:
        raise DataError("there are no validation samples; the best weights are chosen on them")
    data, validation = check(data, model), check(validation, model)
    if data.targets is not None and validation.targets is None:
        raise TrainingError(
            "training and validation data must both have labels, or neither; the training data "
            "alone may do without, to distil"
        )
    return data, validation


def judge_by(
    metric: Metric | None, model: Model, validation: Dataset, teacher: Model | None
) -> Metric:
    """Return the metric that chooses the best epoch.

    Raises:
        TrainingError: there is nothing to compare outputs with.

    """
    if validation.targets is None and teacher is None:
        raise TrainingError("the data have no labels; add y, or distil from the dense network")
    found = metric or resolve(None, model, validation)
    if found.against == "labels" and validation.targets is None:
        raise TrainingError(f"{found.name} needs labels, and the validation data have none; add y")
    if found.against == "dense" and teacher is None:
        raise TrainingError(
            f"{found.name} compares with the dense network, which has to teach then; distil from it"
        )
    return found


def can_use_labels(
    model: Model, data: Dataset, validation: Dataset, metric: Metric | None, loss: Loss | None
) -> bool:
    """Whether cross-entropy with class numbers is what training minimises.

    Raises:
        TrainingError: a loss is given and no targets for it, or the network gives no scores.
        DataError: a label is none of the network's classes.

    """
    if loss is not None and data.targets is None:
        raise TrainingError("the loss needs targets, and the training data have none; add y")
    is_number = metric is not None and metric.compares_outputs
    if data.labels is None or validation.labels is None or loss is not None or is_number:
        return False
    scores(model)
    check_class_numbers(model, data.labels)
    return True


def compares_classes(metric: Metric, validation: Dataset) -> bool:
    """Whether the outputs are scores of classes, whose order counts and not their values."""
    known = validation.labels is not None or metric.against == "dense"
    return known and not metric.compares_outputs


def _result(loop: Loop, lifted: TorchModel, stopped: str, checkpoints: Path | None) -> Trained:
    loop.restore_best()
    model = lifted.evolved()
    trained = Trained(
        model=model,
        network=lifted.quantized() if isinstance(lifted, QuantizationAware) else model,
        history=tuple(loop.counters.history),
        best=loop.counters.best(),
        stopped=stopped,
    )
    if loop.diverged:
        kept = f"; {checkpoints} keeps the best weights" if checkpoints else ""
        raise Diverged(
            f"{stopped}; give a lower learning rate (the best so far is epoch "
            f"{trained.best.epoch}{kept})",
            trained,
        )
    return trained
