"""Train the cells of all pieces of a network together, so that any combination holds up."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import TrainingError
from ..frontend.data import Dataset
from ..ir.model import Model
from ..ir.pieces.segments import crossing_vars
from ..metrics import Metric
from ..passes.runner import Step
from .batches import Batches
from .combinations import Combinations
from .distributed import Ranks
from .lift import TorchModel
from .loop import Loop, Progress
from .members import member_of
from .objective import InPieces, Loss, loss_name
from .run.checkpoint import Epoch
from .run.identity import identity
from .run.schedule import Clock, Pace
from .settings import Distillation, Settings
from .together import SAMPLED
from .train import can_use_labels, check_data, compares_classes, judge_by


@dataclass(frozen=True, kw_only=True)
class TrainedCells:
    """The cells of the best epoch, of each piece by the names that were given.

    `history` tells means over a sample of combinations; epoch 0 is before training.
    """

    cells: tuple[Mapping[str, Model], ...]
    history: tuple[Epoch, ...]
    best: Epoch
    stopped: str


def train_cells(
    dense: Model,
    pieces: Sequence[Model],
    cells: Sequence[Mapping[str, Sequence[Step]]],
    data: Dataset,
    validation: Dataset,
    settings: Settings,
    *,
    metric: Metric | None = None,
    loss: Loss | None = None,
    checkpoints: Path | None = None,
    ranks: Ranks | None = None,
    progress: Progress | None = None,
    clock: Clock = time.monotonic,
) -> TrainedCells:
    """Train the cells of all pieces at once; the networks that are given stay as they are.

    `pieces`: the dense network, cut; they are cells, too, and not trained. `cells`: for each piece,
    by name, the steps of passes that made a cell of it, none of which may round. The dense network
    teaches (`settings.distillation`, or what is usual), labels or not. The best epoch has the best
    mean of `metric` over a sample of combinations. `loss`, checkpoints and processes are those of
    `train`.

    Raises:
        DataError: the data do not fit the network.
        TrainingError: nothing can be trained for, the checkpoints are of another run, or the loss
            is not finite.

    """
    if not any(cells):
        raise TrainingError("there are no cells to train; give the steps of one or more")
    ranks = ranks or Ranks()
    data, validation = check_data(dense, data, validation)
    has_labels = can_use_labels(dense, data, validation, metric, loss)
    metric = judge_by(metric, dense, validation, dense)
    members = [
        {name: member_of(piece, steps) for name, steps in of.items()}
        for piece, of in zip(pieces, cells, strict=True)
    ]
    module = Combinations(dense, pieces, members, SAMPLED, settings.seed)
    device = ranks.device()
    loop = Loop(
        module.to(device),
        TorchModel(dense).to(device),
        InPieces(
            dense,
            crossing_vars(dense, pieces),
            settings.distillation or Distillation(),
            has_labels,
            loss,
            compares_classes(metric, validation),
        ),
        metric,
        Batches(dense, data, settings.batch, settings.seed, ranks, device),
        settings,
        ranks,
        Pace(settings.time_limit_s, clock),
    )
    made = [member.model for of in members for member in of.values()]
    decided = (settings, SAMPLED, *(tuple(of) for of in members), metric.name, loss_name(loss))
    run = identity(decided, [dense, *made], (), data, validation)
    stopped = loop.run(validation, checkpoints, run, progress)
    if loop.diverged:
        raise TrainingError(f"{stopped}; give a lower learning rate")
    loop.restore_best()
    return TrainedCells(
        cells=module.cells(),
        history=tuple(loop.counters.history),
        best=loop.counters.best(),
        stopped=stopped,
    )
