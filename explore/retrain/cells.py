"""Train the cells of all pieces together, and keep what that made where it is better."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from ...errors import AdaspringError
from ...frontend.data import Dataset
from ...library.manifest import DecisionRecord
from ...passes import Compressed, Kept, Step
from ...training import Settings, TrainedCells, find_loss, train_cells
from ..cells.cells import Cell, Pieces, compress_pieces
from ..compressor import Compressor, Passes, name_of
from ..plan import Plan
from ..progress import Progress
from ..variants import Probe, training_record
from .compare_cells import compare
from .recover import training_settings

LEARNING_RATE = 5e-4
MOST_APART = 500
"""So many training samples choose the epoch at most."""


def retrain_cells(
    refitted: Pieces,
    compressors: Sequence[Compressor],
    plan: Plan,
    probe: Probe,
    progress: Progress,
) -> Pieces:
    """Train cells of all pieces on shared weights; return them, or those that were given.

    The dense network teaches and stays what it is. The best epoch is chosen on training samples
    that are set apart: cells were refitted to the calibration split, which would favour those.
    Roundings (int8, bf16) are done anew on what was trained. Trained cells are taken where
    on the validation split (`probe`) the mean metric of a sample of combinations is better and no
    fewer of them keep within --max-drop. What cannot be trained says why.
    """
    members = [dict(_members(cells, each)) for cells, each in _paired(refitted, compressors)]
    if not any(members):
        progress.note("no cell has weights that could be trained before they are rounded")
        return refitted
    count, (data, apart) = sum(map(len, members)), _set_apart(plan)
    progress.note(f"{count} cells of {len(members)} pieces train on {len(data)} samples")
    try:
        done = _train(refitted, members, data, apart, plan, progress)
    except AdaspringError as error:
        progress.note(f"the cells stay as they were refitted: {error}")
        return _with_training(refitted, members, training_record(str(error), is_kept=True))
    how = (
        f"trained together with {count - 1} other cells of {len(members)} pieces, over "
        f"combinations, on shared weights and {len(data)} samples, distilled from dense: best "
        f"epoch {done.best.epoch} of {len(done.history) - 1} by {len(apart)} others "
        f"({done.stopped})"
    )
    for compressor, of, trained in zip(compressors, members, done.cells, strict=True):
        compressor.replace(
            {
                passes: Compressed(model=trained[name_of(passes)], steps=steps)
                for passes, steps in of.items()
            },
            how,
        )
    trained_pieces = _as_before(refitted, compressors, progress)
    verdict = compare(refitted, trained_pieces, plan, probe, progress)
    progress.note(f"trained cells are {verdict.describe()}")
    record = training_record(f"{how}; {verdict.describe()}", is_kept=not verdict.is_better)
    return _with_training(trained_pieces if verdict.is_better else refitted, members, record)


def _paired(
    pieces: Pieces, compressors: Sequence[Compressor]
) -> Iterator[tuple[tuple[Cell, ...], Compressor]]:
    return zip(pieces.cells, compressors, strict=True)


def _members(
    cells: Sequence[Cell], compressor: Compressor
) -> Iterator[tuple[Passes, tuple[Step, ...]]]:
    """What passes make of a piece before any rounding, where they change it."""
    for passes in dict.fromkeys(cell.recipe.float_passes for cell in cells):
        steps = compressor.compress(passes).steps
        decisions = [decision for step in steps for decision in step.decisions]
        if not all(isinstance(decision, Kept) for decision in decisions):
            yield passes, steps


def _set_apart(plan: Plan) -> tuple[Dataset, Dataset]:
    """The samples to train on, and those that choose the epoch: a fifth, up to some hundreds.

    Where the metric needs labels that the training data lack, the calibration split chooses.
    """
    data, metric = plan.training, plan.metric
    assert data is not None, "cells are trained on training data"
    assert plan.splits is not None, "and with held-out data"
    assert metric is not None, "by which they are judged"
    if data.targets is None and metric.against == "labels":
        return data, plan.splits.calibration
    order = np.random.default_rng(plan.request.seed).permutation(len(data))
    count = -(-min(len(data) // 5, MOST_APART) // plan.model.batch) * plan.model.batch
    return data.take(order[count:]), data.take(order[:count])


def _settings(plan: Plan) -> Settings:
    """Smaller steps than one network alone takes, and to the end of the schedule.

    Cells were refitted, so training only passes them once its learning rate has fallen.
    """
    usual = training_settings(plan.model, plan.request)
    return replace(usual, learning_rate=LEARNING_RATE, patience=usual.epochs)


def _train(
    pieces: Pieces,
    members: Sequence[dict[Passes, tuple[Step, ...]]],
    data: Dataset,
    apart: Dataset,
    plan: Plan,
    progress: Progress,
) -> TrainedCells:
    return train_cells(
        plan.model,
        pieces.dense,
        [{name_of(passes): steps for passes, steps in of.items()} for of in members],
        data,
        apart,
        _settings(plan),
        metric=plan.metric,
        loss=find_loss(plan.request.loss),
        progress=progress,
    )


def _as_before(refitted: Pieces, compressors: Sequence[Compressor], progress: Progress) -> Pieces:
    """The cells that there were, of what the compressors go on from now."""
    recipes = list(dict.fromkeys(cell.recipe for cell in refitted.every))
    made = compress_pieces(refitted.dense, recipes, compressors, progress)
    pairs = zip(made.cells, refitted.kinds, strict=True)
    return Pieces(
        dense=made.dense,
        cells=tuple(
            tuple(cell for cell in cells if cell.recipe.name in names) for cells, names in pairs
        ),
    )


def _with_training(
    pieces: Pieces, members: Sequence[dict[Passes, tuple[Step, ...]]], record: DecisionRecord
) -> Pieces:
    """The pieces, each cell that was trained, or was to be, with what is said of that."""
    return Pieces(
        dense=pieces.dense,
        cells=tuple(
            tuple(
                replace(cell, training=record) if cell.recipe.float_passes in of else cell
                for cell in cells
            )
            for cells, of in zip(pieces.cells, members, strict=True)
        ),
    )
