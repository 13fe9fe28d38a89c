"""Which compressed networks are worth building, by what the reference executor says of them."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import AdaspringError
from ..library import manifest as record
from ..targets import Board
from .compressor import Compressor
from .gate import metric_refusal
from .plan import Plan, RecipePlan
from .progress import Progress
from .recipes import Recipe, why_unsuited
from .retrain.recover import retrain_variant
from .retrain.together import train_recipes
from .variants import Probe, Variant, make_variant


def find_variants(
    plan: Plan, probe: Probe, progress: Progress
) -> tuple[tuple[Variant, ...], tuple[record.Dropped, ...]]:
    """The dense network and every planned one that is good enough in the reference.

    What is retrained is compressed anew from the trained weights.
    """
    done = {each.recipe.passes: each.compressed for each in plan.recipes if each.compressed}
    compressor = Compressor(plan.model, plan.calibration, done)
    if plan.request.together:
        tried = [each.recipe for each in plan.recipes if each.skipped is None]
        train_recipes(tried, compressor, plan, progress)
    found: list[Variant] = []
    dropped: list[record.Dropped] = []
    for index, planned in enumerate(plan.recipes):
        progress.step("run in the reference", index, len(plan.recipes), planned.recipe.name)
        made = _variant_of(plan, planned, compressor, probe, found, progress)
        if isinstance(made, Variant):
            found.append(made)
        else:
            dropped.append(dropped_record(planned.recipe, made))
    progress.step("run in the reference", len(plan.recipes), len(plan.recipes), "done")
    return tuple(found), tuple(dropped)


def _variant_of(
    plan: Plan,
    planned: RecipePlan,
    compressor: Compressor,
    probe: Probe,
    found: Sequence[Variant],
    progress: Progress,
) -> Variant | str:
    """A recipe's network, or why it need not be built; the dense one is `found` first."""
    if planned.skipped is not None:
        return planned.skipped
    recipe = planned.recipe
    training = compressor.training_of(recipe.passes)
    try:
        variant = make_variant(recipe, compressor.compress(recipe.passes), probe, training)
        if not found:
            return variant
        lost = _lost(found[0], variant, plan)
        if lost is None or plan.training is None:
            return variant if lost is None else _with_training(lost, training)
        variant = retrain_variant(variant, compressor, plan, probe, progress)
    except AdaspringError as error:
        if not recipe.passes:
            raise
        return str(error)
    lost = _lost(found[0], variant, plan)
    return variant if lost is None else _with_training(lost, variant.training)


def _lost(dense: Variant, variant: Variant, plan: Plan) -> str | None:
    values = dense.validation_metric, variant.validation_metric
    return metric_refusal(plan.metric, *values, plan.bounds)


def _with_training(reason: str, training: str | None) -> str:
    return reason if training is None else f"{reason}, after retraining"


def select_for_board(
    variants: Sequence[Variant], board: Board
) -> tuple[tuple[Variant, ...], tuple[record.Dropped, ...]]:
    """Those that a board can gain by; the others are dropped, with the reason."""
    reasons = [(each, why_unsuited(each.recipe, board)) for each in variants]
    return (
        tuple(each for each, why in reasons if why is None),
        tuple(dropped_record(each.recipe, why) for each, why in reasons if why is not None),
    )


def dropped_record(recipe: Recipe, reason: str, cost: record.Cost | None = None) -> record.Dropped:
    """Why a recipe's network is not in the library, as the manifest records it."""
    return record.Dropped(
        name=recipe.name, recipe=recipe.describe(), reason=reason[:200], cost=cost
    )
