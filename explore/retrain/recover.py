"""Retrain a compressed network that lost too much, before it is built."""

from __future__ import annotations

from ...ir.model import Model
from ...passes import Compressed, run
from ...training import Distillation, Settings, find_loss, train
from ..compressor import Compressor
from ..plan import Plan
from ..progress import Progress
from ..request import Request
from ..variants import Probe, Variant, make_variant

_BATCH_SAMPLES = 64


def retrain_variant(
    variant: Variant, compressor: Compressor, plan: Plan, probe: Probe, progress: Progress
) -> Variant:
    """Distil the dense network into a variant, under its rounding where it is int8.

    Other roundings of the recipe are done anew on what was trained. The best epoch is chosen on the
    calibration split, so that the validation split, which decides what is kept, has not been
    looked at.
    """
    data, metric, dense = plan.training, plan.metric, plan.model
    assert plan.splits is not None, "retraining is asked for with held-out data"
    assert metric is not None, "by which it is judged"
    assert data is not None, "and with training data"
    held_out = plan.splits.calibration
    passes = variant.recipe.passes
    last = passes[-1:] if passes[-1].rounds_weights else ()
    aware = any(each.trains_under_rounding for each in last)
    settings = training_settings(dense, plan.request)
    progress.note(f"{variant.name} lost accuracy; retraining on {len(data)} samples")
    trained = train(
        compressor.compress(passes[: len(passes) - len(last)]).model,
        data,
        held_out,
        settings,
        metric=metric,
        loss=find_loss(plan.request.loss),
        teacher=dense,
        quantized=variant.steps[-1].decisions if aware else (),
        progress=progress,
    )
    made = Compressed(model=trained.network, steps=variant.steps)
    if last and not aware:
        rounded = run(trained.model, last, plan.calibration)
        made = Compressed(model=rounded.model, steps=(*variant.steps[:-1], *rounded.steps))
    before = variant.validation_metric
    assert before is not None, "a variant that lost too much has one"
    rounding = " under int8 rounding" if aware else ""
    how = (
        f"retrained on {len(data)} samples{rounding}, distilled from dense: best epoch "
        f"{trained.best.epoch} of {len(trained.history) - 1} ({trained.stopped}); {metric.name} "
        f"on the validation split was {metric.describe(before)} before"
    )
    return make_variant(variant.recipe, made, probe, how)


def training_settings(model: Model, request: Request) -> Settings:
    """Distillation in steps of about 64 samples, in whole runs of the network."""
    runs_of = model.batch
    batch = max(1, _BATCH_SAMPLES // runs_of) * runs_of
    return Settings(
        batch=batch,
        seed=request.seed,
        distillation=Distillation(),
        time_limit_s=request.retrain_time_s,
    )
