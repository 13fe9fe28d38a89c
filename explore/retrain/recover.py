"""Retrain a compressed network that lost too much accuracy, before it is built."""

from __future__ import annotations

from ...frontend.data import Dataset
from ...ir.model import Model
from ...passes import Compressed, run
from ...training import Distillation, Settings, train
from ..candidates import Candidate, Compressor
from ..progress import Progress

_BATCH_SAMPLES = 64


def recovered(
    candidate: Candidate,
    compressor: Compressor,
    dense: Model,
    data: Dataset,
    seed: int,
    progress: Progress,
) -> Candidate:
    """Distil the dense network into a candidate, under its rounding where it is int8.

    Other roundings of the recipe are done anew on what was trained. The best epoch is chosen on the
    calibration split, so that the validation split, which decides what is kept, has not been
    looked at.
    """
    held_out = compressor.calibration
    assert held_out is not None, "without data no candidate is known to have lost accuracy"
    passes = candidate.recipe.passes
    last = passes[-1:] if passes[-1].rounds_weights else ()
    aware = any(each.trains_under_rounding for each in last)
    settings = Settings(batch=batch_of(dense), seed=seed, distillation=Distillation())
    trained = train(
        compressor.compressed(passes[: len(passes) - len(last)]).model,
        data,
        held_out,
        settings,
        teacher=dense,
        quantized=candidate.steps[-1].decisions if aware else (),
        progress=progress,
    )
    made = Compressed(model=trained.network, steps=candidate.steps)
    if last and not aware:
        rounded = run(trained.model, last, held_out)
        made = Compressed(model=rounded.model, steps=(*candidate.steps[:-1], *rounded.steps))
    before = candidate.validation_accuracy
    assert before is not None, "a candidate that lost accuracy has one"
    rounding = " under int8 rounding" if aware else ""
    how = (
        f"retrained on {len(data)} samples{rounding}, distilled from dense: best epoch "
        f"{trained.best.epoch} of {len(trained.history) - 1} ({trained.stopped}); accuracy on the "
        f"validation split was {before:.1%} before"
    )
    return compressor.judged(candidate.recipe, made, how)


def batch_of(model: Model) -> int:
    """How many samples make a step: about 64, in whole runs of the network."""
    runs_of = model.inputs[0].shape[0]
    return max(1, _BATCH_SAMPLES // runs_of) * runs_of
