"""Train a dense network and its compressed members on one set of shared weights."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import TrainingError
from ..frontend.data import Dataset
from ..ir.model import Model
from ..metrics import Metric
from ..passes.runner import Step
from .batches import Batches
from .distributed import Ranks
from .ensemble import Ensemble
from .lift import TorchModel
from .loop import Loop, Progress
from .members import member_of
from .objective import InPlace, Loss, loss_name
from .run.checkpoint import Epoch
from .run.identity import identity
from .run.schedule import Clock, Pace
from .settings import Settings
from .train import can_use_labels, check_data, compares_classes, judge_by

SAMPLED = 2
"""How many members take part in a step beside the dense network and the smallest."""


@dataclass(frozen=True, kw_only=True)
class TrainedTogether:
    """The networks of the best epoch; `members` by the names that were given.

    `history` tells means over all networks, the dense one among them; epoch 0 is before training.
    """

    dense: Model
    members: Mapping[str, Model]
    history: tuple[Epoch, ...]
    best: Epoch
    stopped: str


def train_together(
    dense: Model,
    members: Mapping[str, Sequence[Step]],
    data: Dataset,
    validation: Dataset,
    settings: Settings,
    *,
    metric: Metric | None = None,
    loss: Loss | None = None,
    teacher: Model | None = None,
    checkpoints: Path | None = None,
    ranks: Ranks | None = None,
    progress: Progress | None = None,
    clock: Clock = time.monotonic,
) -> TrainedTogether:
    """Train all at once; the networks that are given stay as they are.

    `members`: for each, the steps of passes that made it of `dense`, none of which may round.
    The best epoch has the best mean of `metric` over all networks. It, `loss`, checkpoints,
    `teacher` (of the dense network) and processes are those of `train`.

    Raises:
        DataError: the data do not fit the network.
        TrainingError: nothing can be trained for, the checkpoints are of another run, or the loss
            is not finite.

    """
    if not members:
        raise TrainingError("there are no members; give the steps of one or more")
    ranks = ranks or Ranks()
    data, validation = check_data(dense, data, validation)
    has_labels = can_use_labels(dense, data, validation, metric, loss)
    metric = judge_by(metric, dense, validation, teacher)
    classes = compares_classes(metric, validation)
    cut = {name: member_of(dense, steps) for name, steps in members.items()}
    ensemble = Ensemble(dense, cut, SAMPLED, settings.seed)
    device = ranks.device()
    loop = Loop(
        ensemble.to(device),
        TorchModel(teacher).to(device) if teacher is not None else None,
        InPlace(dense, teacher, settings.distillation, has_labels, loss, classes),
        metric,
        Batches(dense, data, settings.batch, settings.seed, ranks, device),
        settings,
        ranks,
        Pace(settings.time_limit_s, clock),
    )
    networks = [dense, *(each.model for each in cut.values()), *([teacher] if teacher else [])]
    decided = (settings, SAMPLED, tuple(cut), metric.name, loss_name(loss))
    run = identity(decided, networks, (), data, validation)
    stopped = loop.run(validation, checkpoints, run, progress)
    if loop.diverged:
        raise TrainingError(f"{stopped}; give a lower learning rate")
    loop.restore_best()
    return TrainedTogether(
        dense=ensemble.evolved(),
        members=ensemble.members(),
        history=tuple(loop.counters.history),
        best=loop.counters.best(),
        stopped=stopped,
    )
