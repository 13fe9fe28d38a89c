"""Train what recipes leave of a network together, on shared weights, before anything is built."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import AdaspringError
from ...passes import Compressed
from ...training import find_loss, train_together
from ..compressor import Compressor, Passes, name_of
from ..plan import Plan
from ..progress import Progress
from ..recipes import Recipe
from .recover import training_settings


def train_recipes(
    recipes: Sequence[Recipe], compressor: Compressor, plan: Plan, progress: Progress
) -> None:
    """Let recipes go on from networks that were trained as members of one ensemble.

    The dense network is the teacher and stays what it is; roundings come after. The best epoch is
    chosen on the calibration split. What cannot be compressed is left for its recipe to say.
    """
    data, dense = plan.training, plan.model
    assert plan.splits is not None, "training together is asked for with held-out data"
    assert data is not None, "and with training data"
    made: dict[Passes, Compressed] = {}
    for recipe in recipes:
        floats = recipe.float_passes
        try:
            made |= {floats: compressor.compress(floats)} if floats else {}
        except AdaspringError:
            continue
    if not made:
        return
    named = {name_of(floats): floats for floats in made}
    trained = train_together(
        dense,
        {name: made[floats].steps for name, floats in named.items()},
        data,
        plan.splits.calibration,
        training_settings(dense, plan.request),
        metric=plan.metric,
        loss=find_loss(plan.request.loss),
        teacher=dense,
        progress=progress,
    )
    how = (
        f"trained together with {len(made) - 1} others on shared weights and {len(data)} samples, "
        f"distilled from dense: best epoch {trained.best.epoch} of {len(trained.history) - 1} "
        f"({trained.stopped})"
    )
    compressor.replace(
        {
            floats: Compressed(model=trained.members[name], steps=made[floats].steps)
            for name, floats in named.items()
        },
        how,
    )
